//! Graceful shutdown (drain). Connections close one after another over a time window, so that their clients do not
//! reconnect to the other instances all at once.

use std::{future::Future, time::Duration};

use rand::{RngExt, seq::SliceRandom};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::node::{Node, Phase};

/// Upper bound for the pause that a client is asked to make before it reconnects, in milliseconds.
const MAX_RECONNECT_PAUSE_MS: u64 = 1000;
/// Timeout for leaving the census and the channel after the last connection is closed.
const LEAVE_DEADLINE: Duration = Duration::from_secs(2);

/// How long the parts of a drain take.
#[derive(Clone, Copy, Debug)]
pub struct DrainTimes {
    /// From "not ready" to refusing new connections, so that load balancers notice.
    pub delay: Duration,
    /// The time over which the connections are closed, each at its own close time.
    pub window: Duration,
    /// The time after which the drain ends in any case, counted from its beginning.
    pub timeout: Duration,
}

/// The drain ended with connections left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the drain timeout passed: the last {0} connections were closed at once")]
pub struct ConnectionsCut(pub usize);

/// Drains the instance: reports "not ready", refuses new connections, closes every connection at its close time, and
/// leaves the census and the channel. `before_leaving` is done when the last connection is closed, while the log can
/// still be reached. It must end in bounded time.
///
/// # Errors
///
/// The number of connections that were left at the timeout.
pub async fn drain(
    node: &Node,
    times: DrainTimes,
    before_leaving: impl Future<Output = ()>,
) -> Result<(), ConnectionsCut> {
    let deadline = Instant::now() + times.timeout;
    node.enter(Phase::Retiring);
    sleep(times.delay.min(times.timeout)).await;
    node.enter(Phase::Closed);
    if times.delay + times.window >= times.timeout {
        warn!(
            "the drain timeout is not above delay and window together: connections may be closed before their close time"
        );
    }
    info!(connections = node.fanout().connections().len(), window = ?times.window, "draining");

    let mut connections = node.fanout().count();
    let emptied = async {
        request_closes(node, times.window).await;
        // connections that were admitted meanwhile
        while *connections.borrow_and_update() > 0 {
            request_closes(node, Duration::ZERO).await;
            if connections.changed().await.is_err() {
                return;
            }
        }
    };
    let outcome = timeout_at(deadline, emptied).await.map_err(|_| ConnectionsCut(node.close_all()));
    before_leaving.await;
    node.leave(LEAVE_DEADLINE).await;
    outcome
}

/// Asks every connection to close. The close times are spread evenly over the window. Until its close time a connection
/// is served as before.
async fn request_closes(node: &Node, window: Duration) {
    let mut connections = node.fanout().connections();
    connections.shuffle(&mut rand::rng());
    let (start, count) = (Instant::now(), u32::try_from(connections.len()).unwrap_or(u32::MAX));
    for (index, connection) in (0_u32..).zip(connections) {
        sleep_until(start + window * index / count).await;
        let pause = rand::rng().random_range(0..=MAX_RECONNECT_PAUSE_MS);
        connection.request_close(Duration::from_millis(pause));
    }
}
