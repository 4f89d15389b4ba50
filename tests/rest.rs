//! The workers' rest after a long pass, on sockets in memory and a clock that stands still.

use std::time::Duration;

use hubbub_edge::fanout::Rest;
use hubbub_testbed::memory::{Instance, until};
use tokio::{task::yield_now, time::advance};

const CONNECTIONS: usize = 100;
/// Shorter than the interval of heartbeats, which are writes too.
const REST: Rest = Rest { per_write: Duration::from_secs(1), longest: Duration::from_secs(5) };

/// An instance whose workers rest, since everybody has just had a message; and how many writes that took.
async fn resting() -> (Instance, u64) {
    let mut instance = Instance::start(1, CONNECTIONS, REST).await;
    let before = instance.sockets().writes();
    let first = instance.compose(1, 200);
    instance.deliver(&first).await;
    let writes = instance.sockets().writes() - before;
    (instance, writes)
}

/// Says nine messages, one after the other, while the workers rest. Returns how many bytes they come to in all.
async fn append_nine(instance: &mut Instance) -> u64 {
    let mut due = 0;
    for _ in 0..9 {
        let message = instance.compose(1, 200);
        due += instance.due(&message);
        instance.append(&message).await;
    }
    // whoever does not rest has had its turn by now
    for _ in 0..1_000 {
        yield_now().await;
    }
    due
}

#[tokio::test(start_paused = true)]
async fn what_gathers_while_a_worker_rests_goes_out_in_one_write_a_client() {
    let (mut instance, first) = resting().await;
    assert_eq!(first, 100, "a message after silence goes at once, to each");
    let (taken, writes) = (instance.sockets().taken(), instance.sockets().writes());
    let due = append_nine(&mut instance).await;
    assert_eq!(instance.sockets().taken(), taken, "the workers did not rest");
    advance(REST.longest).await;
    until(|| instance.sockets().taken() >= taken + due).await;
    assert_eq!(instance.sockets().writes() - writes, 100, "nine messages took more than a write a client");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_joins_a_room_does_not_wait_for_the_rest_to_end() {
    let (mut instance, _) = resting().await;
    append_nine(&mut instance).await;
    let before = instance.sockets().taken();
    let seat = instance.seats().first_mut().unwrap();
    seat.join("another".parse().unwrap()).await;
    let link = std::sync::Arc::clone(seat.member().link());
    // the reply joins what its own task would write
    until(|| {
        link.flush();
        instance.sockets().taken() > before
    })
    .await;
}
