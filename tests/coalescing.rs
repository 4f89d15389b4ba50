//! The workers' pause after a long pass, on sockets in memory and a paused clock.

use std::time::Duration;

use hubbub_edge::fanout::Coalescing;
use hubbub_testbed::memory::{Instance, until};
use tokio::{task::yield_now, time::advance};

const CONNECTIONS: usize = 100;
/// Shorter than the interval of heartbeats, which are writes too.
const PAUSE: Coalescing = Coalescing { per_write: Duration::from_secs(1), longest: Duration::from_secs(5) };

/// An instance whose workers pause, since every connection has just had a message; and how many writes that took.
async fn pausing() -> (Instance, u64) {
    let mut instance = Instance::start(1, CONNECTIONS, PAUSE).await;
    let before = instance.sockets().writes();
    let first = instance.compose(1, 200);
    instance.deliver(&first).await;
    let writes = instance.sockets().writes() - before;
    (instance, writes)
}

/// Appends nine messages, one after the other, while the workers pause. Returns their bytes for all connections.
async fn append_nine(instance: &mut Instance) -> u64 {
    let mut due = 0;
    for _ in 0..9 {
        let message = instance.compose(1, 200);
        due += instance.due(&message);
        instance.append(&message).await;
    }
    // a worker that does not pause has had its turn by now
    for _ in 0..1_000 {
        yield_now().await;
    }
    due
}

#[tokio::test(start_paused = true)]
async fn messages_that_gather_during_a_pause_go_out_in_one_write_for_each_client() {
    let (mut instance, first) = pausing().await;
    assert_eq!(first, 100, "a message after silence goes to each at once");
    let (taken, writes) = (instance.sockets().taken(), instance.sockets().writes());
    let due = append_nine(&mut instance).await;
    assert_eq!(instance.sockets().taken(), taken, "the workers did not pause");
    advance(PAUSE.longest).await;
    until(|| instance.sockets().taken() >= taken + due).await;
    assert_eq!(instance.sockets().writes() - writes, 100, "nine messages took more than one write for a client");
}

#[tokio::test(start_paused = true)]
async fn a_join_does_not_wait_for_the_end_of_the_pause() {
    let (mut instance, _) = pausing().await;
    append_nine(&mut instance).await;
    let before = instance.sockets().taken();
    let connection = &instance.connections()[0];
    instance.fanout().join(connection, "another".parse().unwrap()).await;
    // the reply is one of the frames that the connection's own task writes
    connection.link().flush();
    assert!(instance.sockets().taken() > before, "the join is not confirmed");
}
