//! Follows the channel, and reads the log whenever the channel may have lost something.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use hubbub_lifecycle::metric::{RELAY_BEHIND, RELAY_PENDING, count};
use hubbub_protocol::Seq;
use metrics::{Gauge, gauge};
use tokio::{
    sync::broadcast,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    latest_count::LatestCount, liveness::Liveness, publish_queue::PublishQueue, ring_writer::RingWriter,
    sync_requests::SyncRequests,
};
use crate::{
    backend::{Backend, BackendError, Event, Snapshot},
    wire::{self, Announcement, Payload},
};

/// How often the log is read although nothing seems missing: the loss of the last message leaves no gap.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// A sync under way. It is never dropped before it has ended, and ends in bounded time.
type Syncing = BoxFuture<'static, Result<Snapshot, BackendError>>;

/// What the subscriber needs of the relay.
pub(super) struct Subscriber {
    pub(super) instance: Arc<str>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) writer: RingWriter,
    pub(super) queue: Arc<PublishQueue>,
    pub(super) syncs: Arc<SyncRequests>,
    pub(super) liveness: Arc<Liveness>,
    pub(super) announcements: broadcast::Sender<Announcement>,
    pub(super) count: LatestCount,
    pub(super) closed: CancellationToken,
}

/// How far the reading of the log has come.
struct Syncs {
    under_way: Option<Syncing>,
    /// Another sync must follow the one under way.
    wanted: bool,
    /// Number of the sync under way or of the last one. One that takes several round trips keeps it.
    number: u64,
    behind: Gauge,
}

impl Subscriber {
    /// Runs until the relay closes.
    pub(super) async fn run(mut self, mut events: BoxStream<'static, Event>) {
        let mut syncs = Syncs { under_way: None, wanted: true, number: 0, behind: gauge!(RELAY_BEHIND) };
        let backlog = gauge!(RELAY_PENDING);
        let mut tick = interval(SYNC_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if syncs.wanted && syncs.under_way.is_none() {
                syncs.wanted = false;
                syncs.number = self.syncs.begin();
                syncs.under_way = Some(self.sync());
            }
            tokio::select! {
                () = self.closed.cancelled() => break,
                Some(event) = events.next() => syncs.wanted |= self.receive(&event),
                result = ended(&mut syncs.under_way) => syncs.under_way = self.synced(result, &syncs),
                () = self.syncs.requested() => syncs.wanted = true,
                _ = tick.tick() => {
                    syncs.wanted = true;
                    self.liveness.check();
                    // set here and not on each append: it grows while no append succeeds
                    backlog.set(level(count(self.queue.new_count())));
                }
            }
        }
        if let Some(syncing) = syncs.under_way {
            // its result does not matter any more, but it must not be dropped
            drop(syncing.await);
        }
    }

    fn sync(&self) -> Syncing {
        let (backend, request) = (Arc::clone(&self.backend), self.writer.sync_request());
        Box::pin(async move { backend.sync(request).await })
    }

    /// True: the log must be read.
    fn receive(&mut self, event: &Event) -> bool {
        match event {
            Event::Payload(payload) => match wire::parse(payload) {
                Some(Payload::Events(events)) => return !self.writer.apply_events(events),
                Some(Payload::Epoch) => return true,
                Some(Payload::Count(count)) => self.count.update(count),
                // an error means there is no subscriber
                Some(Payload::Announcement(announcement)) => drop(self.announcements.send(announcement)),
                Some(Payload::Probe { instance, number }) if instance == &*self.instance => {
                    self.liveness.probe_returned(number);
                }
                Some(Payload::Probe { .. }) | None => (),
            },
            Event::Lagged => return true,
            Event::Subscribed => {
                self.liveness.subscribed();
                return true;
            }
            Event::Disconnected(reason) => self.liveness.disconnected(reason),
        }
        false
    }

    /// Returns the next round trip if the log has more.
    fn synced(&mut self, result: Result<Snapshot, BackendError>, syncs: &Syncs) -> Option<Syncing> {
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.liveness.sync_failed(&error.to_string());
                return None;
            }
        };
        let at_end = self.writer.apply_snapshot(&snapshot);
        syncs.behind.set(level(behind(&snapshot, self.writer.applied())));
        if !at_end {
            return Some(self.sync());
        }
        self.syncs.finish(syncs.number);
        self.liveness.synced();
        None
    }
}

/// Completes when the sync does. Cancel safe: the sync stays where it is.
async fn ended(syncing: &mut Option<Syncing>) -> Result<Snapshot, BackendError> {
    match syncing {
        Some(syncing) => syncing.await,
        None => pending().await,
    }
}

/// How many entries the log had above `last`. Only those of the open epoch count, with its marker: between epochs the
/// numbers leap.
fn behind(snapshot: &Snapshot, last: Seq) -> u64 {
    snapshot.seq.saturating_sub(last.max(snapshot.base.saturating_sub(1)))
}

/// A count as the value of a gauge.
fn level(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_is_how_many_entries_the_log_has_more() {
        let snapshot = Snapshot { base: 1000, seq: 1250, markers: Vec::new(), entries: Vec::new() };
        for (last, messages) in [(1250, 0), (1249, 1), (1000, 250), (40, 251), (7, 251), (1300, 0), (0, 251)] {
            assert_eq!(behind(&snapshot, last), messages, "{last}");
        }
    }
}
