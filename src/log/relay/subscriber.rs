//! Listens to the channel, and asks the log whenever the channel may have lost something.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use hubbub_lifecycle::metric::{RELAY_BEHIND, RELAY_PENDING, count};
use hubbub_protocol::Seq;
use metrics::{Gauge, gauge};
use tokio::time::{MissedTickBehavior, interval};

use super::walker::Walker;
use crate::{
    backend::{BackendError, Event, Snapshot},
    wire,
};

/// How often the log is asked although nothing seems missing: a lost last message leaves no later gap.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// A sync in flight. It is never dropped before it has ended, and ends in bounded time.
type Syncing = BoxFuture<'static, Result<Snapshot, BackendError>>;

struct Subscriber {
    walker: Walker,
    syncing: Option<Syncing>,
    /// Another sync has to follow the one in flight.
    wanted: bool,
    /// Number of the sync in flight or of the last one. One that takes several round trips keeps it.
    number: u64,
    behind: Gauge,
    pending: Gauge,
}

/// Runs until the relay ends.
pub(super) async fn run(walker: Walker, mut events: BoxStream<'static, Event>) {
    let shared = Arc::clone(&walker.shared);
    let (behind, pending) = (gauge!(RELAY_BEHIND), gauge!(RELAY_PENDING));
    let mut subscriber = Subscriber { walker, syncing: None, wanted: true, number: 0, behind, pending };
    let mut tick = interval(SYNC_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if subscriber.wanted && subscriber.syncing.is_none() {
            subscriber.begin();
        }
        tokio::select! {
            () = shared.closed.cancelled() => break,
            Some(event) = events.next() => subscriber.on_event(&event),
            result = ended(&mut subscriber.syncing) => {
                subscriber.syncing = None;
                subscriber.on_synced(result);
            }
            () = shared.wants_sync.notified() => subscriber.wanted = true,
            _ = tick.tick() => {
                subscriber.wanted = true;
                shared.health.check();
                // what waits for a log that does not answer grows without a success to count it after
                subscriber.pending.set(level(count(shared.outbox.lock().backlog())));
            }
        }
    }
    if let Some(syncing) = subscriber.syncing {
        // nobody wants its outcome any more, but it must not be dropped
        drop(syncing.await);
    }
}

/// Completes when the sync does. Cancel safe: the sync stays where it is.
async fn ended(syncing: &mut Option<Syncing>) -> Result<Snapshot, BackendError> {
    match syncing {
        Some(syncing) => syncing.await,
        None => pending().await,
    }
}

impl Subscriber {
    fn begin(&mut self) {
        self.wanted = false;
        self.number += 1;
        self.walker.shared.syncs.send_modify(|syncs| syncs.begun = self.number);
        self.ask();
    }

    fn ask(&mut self) {
        let (backend, position) = (Arc::clone(&self.walker.shared.backend), self.walker.position());
        self.syncing = Some(Box::pin(async move { backend.sync(position).await }));
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Push(payload) => self.on_push(payload),
            Event::Lagged => self.wanted = true,
            Event::Reconnected => {
                self.walker.shared.health.subscribed();
                self.wanted = true;
            }
            Event::Lost(reason) => self.walker.shared.health.lost(reason),
        }
    }

    fn on_push(&mut self, payload: &[u8]) {
        let shared = &self.walker.shared;
        match wire::parse(payload) {
            Some(wire::Push::Messages(batch)) => self.wanted |= !self.walker.push(batch),
            Some(wire::Push::Epoch) => self.wanted = true,
            Some(wire::Push::Count(tally)) => shared.counted(tally),
            // nobody listens: nobody misses it
            Some(wire::Push::Announcement(announcement)) => drop(shared.announcements.send(announcement)),
            Some(wire::Push::Probe { instance, number }) if instance == &*shared.instance => {
                shared.health.heard(number);
            }
            Some(wire::Push::Probe { .. }) | None => (),
        }
    }

    fn on_synced(&mut self, result: Result<Snapshot, BackendError>) {
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.walker.shared.health.sync_failed(&error.to_string());
                return;
            }
        };
        let at_end = self.walker.snapshot(&snapshot);
        let (last, _) = self.walker.shared.ring.walked();
        self.behind.set(level(behind(&snapshot, last)));
        if !at_end {
            self.ask();
            return;
        }
        let number = self.number;
        self.walker.shared.syncs.send_modify(|syncs| syncs.done = number);
        self.walker.shared.health.synced();
    }
}

/// How many messages the log had more than a reader whose last entry is `last`. Places are dense within an epoch and
/// say nothing across its marker: of what stands in front of one that was not walked yet, only the marker counts.
fn behind(snapshot: &Snapshot, last: Seq) -> u64 {
    snapshot.seq.saturating_sub(last.max(snapshot.base.saturating_sub(1)))
}

/// A count as a gauge takes it.
fn level(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_is_what_the_log_has_more_and_nothing_at_its_end() {
        let snapshot = Snapshot { base: 1000, seq: 1250, markers: Vec::new(), entries: Vec::new() };
        for (last, messages) in [(1250, 0), (1249, 1), (1000, 250), (40, 251), (7, 251), (1300, 0), (0, 251)] {
            assert_eq!(behind(&snapshot, last), messages, "{last}");
        }
    }
}
