//! What the fan-out allocates depends on the messages, not on the number of receivers.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement is printed")]

use hubbub_edge::fanout::Coalescing;
use hubbub_testbed::memory::Instance;
use tokio::runtime::{Builder, Runtime};

const MESSAGES: usize = 1_000;

/// One thread: the counter counts its own only.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Allocations for [`MESSAGES`] messages to all of so many guests in one room, from the log to the sockets, so many at a
/// time.
fn allocations(connections: usize, together: usize) -> u64 {
    let runtime = runtime();
    let instance = runtime.block_on(Instance::start(1, connections, Coalescing::OFF));
    count(&runtime, instance, together)
}

/// The same to so many accounts, each of which is in all of the rooms, from one room to the next.
fn allocations_of_accounts(rooms: usize, connections: usize, together: usize) -> u64 {
    let runtime = runtime();
    let instance = runtime.block_on(Instance::start_with_accounts(rooms, connections, Coalescing::OFF));
    count(&runtime, instance, together)
}

fn count(runtime: &Runtime, mut instance: Instance, together: usize) -> u64 {
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

#[test]
fn people_that_hear_the_same_rooms_share_what_is_written_however_many_rooms_they_are_in() {
    for (rooms, together) in [(50, 1), (50, 50)] {
        let few = allocations_of_accounts(rooms, 100, together);
        let many = allocations_of_accounts(rooms, 1_000, together);
        println!("{MESSAGES} messages, {together} at a time: {few} allocations for 100 accounts, {many} for 1000");
        assert!(many < few + u64::try_from(MESSAGES).unwrap(), "{many} allocations instead of {few}");
    }
}

/// Of a connection that is in a thousand rooms, beside the rooms themselves.
#[test]
fn a_seat_takes_at_most_sixty_bytes() {
    const ROOMS: usize = 1_000;
    const ACCOUNTS: usize = 200;
    let taken = |rooms| {
        let runtime = runtime();
        let mut instance = None;
        let counted = allocation_counter::measure(|| {
            instance = Some(runtime.block_on(Instance::start_with_accounts(rooms, ACCOUNTS, Coalescing::OFF)));
        });
        drop(instance);
        counted.bytes_current
    };
    let seats = i64::try_from(ROOMS * ACCOUNTS).unwrap();
    let bytes = (taken(ROOMS) - taken(1)) / seats;
    println!("{bytes} bytes a seat, the rooms in it");
    assert!(bytes <= 60, "{bytes}");
}
