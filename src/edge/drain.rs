//! The drain: it closes connections at a pace, so that a deploy neither strands clients nor sends all of them to the next
//! instance at once.

use std::time::Duration;

use rand::{RngExt, seq::SliceRandom};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::node::{Node, Phase};

/// The longest pause that a client is asked to make before it connects again.
const MAX_RECONNECT_PAUSE_MS: u64 = 1000;
/// How long leaving the census and the channel may take after the last connection.
const LEAVE_DEADLINE: Duration = Duration::from_secs(2);

/// How long the parts of a drain take.
#[derive(Clone, Copy, Debug)]
pub struct DrainTimes {
    /// From not being ready to refusing new connections, so that load balancers notice.
    pub delay: Duration,
    /// The time over which the connections are closed, each in its slot.
    pub window: Duration,
    /// The time after which the drain ends in any case, counted from its beginning.
    pub timeout: Duration,
}

/// The drain ended with connections left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the drain timeout passed with {0} connections left; they were cut")]
pub struct ConnectionsCut(pub usize);

/// Brings the instance to its end: it is not ready, refuses new connections, closes every connection in its slot, and leaves
/// the census and the channel.
///
/// # Errors
///
/// The number of connections that were left at the timeout.
pub async fn drain(node: &Node, times: DrainTimes) -> Result<(), ConnectionsCut> {
    let deadline = Instant::now() + times.timeout;
    node.enter(Phase::Retiring);
    sleep(times.delay.min(times.timeout)).await;
    node.enter(Phase::Closed);
    if times.delay + times.window >= times.timeout {
        warn!("the drain timeout is not above delay and window together: connections may be cut");
    }
    info!(connections = node.fanout().connections().len(), window = ?times.window, "draining");

    let mut connections = node.fanout().count();
    let emptied = async {
        close_all(node, times.window).await;
        // connections that were being admitted meanwhile
        while *connections.borrow_and_update() > 0 {
            close_all(node, Duration::ZERO).await;
            if connections.changed().await.is_err() {
                return;
            }
        }
    };
    let outcome = timeout_at(deadline, emptied).await.map_err(|_| ConnectionsCut(node.cut()));
    node.leave(LEAVE_DEADLINE).await;
    outcome
}

/// Asks every connection to close, each at its slot in the window. Until then it is served as before.
async fn close_all(node: &Node, window: Duration) {
    let mut connections = node.fanout().connections();
    connections.shuffle(&mut rand::rng());
    let (start, slots) = (Instant::now(), u32::try_from(connections.len()).unwrap_or(u32::MAX));
    for (slot, connection) in (0_u32..).zip(connections) {
        sleep_until(start + window * slot / slots).await;
        let pause = rand::rng().random_range(0..=MAX_RECONNECT_PAUSE_MS);
        connection.ask_to_close(Duration::from_millis(pause));
    }
}
