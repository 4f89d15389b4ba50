//! How far back a person can resume.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use hubbub_client::{Connection, Upgrade};
use hubbub_protocol::{ClientFrame, Hello, Resume, Seq, ServerFrame, Welcome};
use hubbub_testbed::dial;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often a cursor is taken, and the oldest is tried.
const PACE: Duration = Duration::from_secs(1);
/// How long to wait for a welcome.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where these people come from.
const FROM: [u8; 4] = [127, 0, 0, 251];

/// Takes a cursor each second, and returns the age of the youngest that could not be resumed from. None if every one could.
pub(crate) async fn watch(address: &str, over: CancellationToken) -> Option<Duration> {
    let mut cursors: VecDeque<(Instant, Seq)> = VecDeque::new();
    let mut shortest: Option<Duration> = None;
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(welcome) = enter(address, None).await {
            cursors.push_back((Instant::now(), welcome.seq));
        }
        while let Some((taken, cursor)) = cursors.front().copied() {
            // whoever cannot come in is counted by the crowd
            let Some(welcome) = enter(address, Some(Resume { seq: cursor })).await else { break };
            if welcome.resumed {
                break;
            }
            shortest = Some(shortest.map_or(taken.elapsed(), |shortest| shortest.min(taken.elapsed())));
            cursors.pop_front();
        }
    }
    shortest
}

/// The welcome of somebody in a room without messages.
async fn enter(address: &str, resume: Option<Resume>) -> Option<Welcome> {
    let entered = async {
        let stream = dial(IpAddr::from(FROM), address).await.ok()?;
        let mut connection = Connection::over(stream, address, &Upgrade::default()).await.ok()?;
        let rooms = vec!["nobody-writes-here".parse().ok()?];
        let hello = Hello { name: "Late".parse().ok()?, session: None, rooms, resume };
        connection.send(&ClientFrame::Hello(hello)).await.ok()?;
        match connection.next().await.ok()? {
            ServerFrame::Welcome(welcome) => Some(*welcome),
            _ => None,
        }
    };
    timeout(PATIENCE, entered).await.ok().flatten()
}
