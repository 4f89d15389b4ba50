//! What the fan-out allocates depends on the messages, not on the number of receivers.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement is printed")]

use hubbub_edge::fanout::Coalescing;
use hubbub_testbed::memory::Instance;
use tokio::runtime::Builder;

const MESSAGES: usize = 1_000;

/// Allocations for [`MESSAGES`] messages to so many connections, from the log to the sockets, so many at a time.
fn allocations(connections: usize, together: usize) -> u64 {
    // one thread: the counter counts its own only
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let mut instance = runtime.block_on(Instance::start(1, connections, Coalescing::OFF));
    let batches: Vec<_> = (0..MESSAGES / together).map(|_| instance.compose(together, 200)).collect();
    let counted = allocation_counter::measure(|| {
        for batch in &batches {
            let written = runtime.block_on(instance.deliver(batch));
            assert_eq!(written, instance.due(batch), "somebody got too much");
        }
    });
    counted.count_total
}

#[test]
fn a_message_to_ten_times_as_many_connections_allocates_no_more() {
    for together in [1, 50] {
        let (few, many) = (allocations(100, together), allocations(1_000, together));
        println!("{MESSAGES} messages, {together} at a time: {few} allocations for 100 connections, {many} for 1000");
        // a tick of the relay may fall into one of the two; an allocation a delivery would be 900 000 more
        assert!(many < few + u64::try_from(MESSAGES).unwrap(), "{many} allocations instead of {few}");
    }
}
