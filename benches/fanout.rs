//! What the fan-out costs above the kernel's send: from the log inside the process to sockets that are memory.
//!
//! An item is one message at one connection. All of it runs on one thread, so that time is CPU time.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up")]

use std::cell::RefCell;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use hubbub_edge::fanout::Coalescing;
use hubbub_edge::socket::Transport;
use hubbub_protocol::Frame;
use hubbub_testbed::memory::{Instance, Socket};
use tokio::runtime::Builder;

/// Counts allocations.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Length of the bodies, in bytes.
const BODY: usize = 200;
/// Connections in a room.
const CONNECTIONS: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

/// One message to everyone in a room.
#[divan::bench(args = CONNECTIONS, max_time = 3)]
fn one_message(bencher: Bencher<'_, '_>, connections: usize) {
    deliver(bencher, 1, connections, 1);
}

/// Messages that have gathered while the last ones were written: one write a connection.
#[divan::bench(args = CONNECTIONS, consts = [16, 256], max_time = 3)]
fn batch<const MESSAGES: usize>(bencher: Bencher<'_, '_>, connections: usize) {
    deliver(bencher, 1, connections, MESSAGES);
}

/// Messages that have gathered, each for another room of five.
#[divan::bench(args = [1, 16, 256], max_time = 3)]
fn a_thousand_rooms_of_five(bencher: Bencher<'_, '_>, messages: usize) {
    deliver(bencher, 1_000, 5, messages);
}

/// The least: the same bytes to as many sockets, and nothing else.
#[divan::bench(args = CONNECTIONS)]
fn bare_loop(bencher: Bencher<'_, '_>, connections: usize) {
    let sockets = vec![Socket::default(); connections];
    let frame = Frame::text(&"x".repeat(BODY));
    bencher
        .counter(ItemsCount::new(connections))
        .bench_local(|| sockets.iter().filter_map(|socket| socket.try_write(frame.bytes()).ok()).sum::<usize>());
}

fn deliver(bencher: Bencher<'_, '_>, rooms: usize, members: usize, messages: usize) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let instance = RefCell::new(runtime.block_on(Instance::start(rooms, members, Coalescing::OFF)));
    bencher
        .counter(ItemsCount::new(members * messages))
        .with_inputs(|| instance.borrow_mut().compose(messages, BODY))
        .bench_local_refs(|batch| runtime.block_on(instance.borrow_mut().deliver(batch)));
}
