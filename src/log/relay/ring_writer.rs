//! Applies entries of the log to the ring, whether they come through the channel or from a sync.

use std::sync::Arc;

use hubbub_lifecycle::clock::steady_millis;
use hubbub_lifecycle::metric::{self, RELAY_DUPLICATES, RELAY_EPOCHS, RELAY_GAPS, RELAY_HOLES, RELAY_REOFFERED};
use hubbub_protocol::Seq;
use metrics::{Counter, counter};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::publish_queue::{Change, PublishQueue};
use crate::{
    backend::{LogEntry, Snapshot, SyncRequest},
    marker::Marker,
    ring::{Draft, Hole, Ring},
    sequencer::{self, Step},
    wire::Events,
};

/// Upper bound for the entries of one sync.
const SYNC_LIMIT: usize = 1000;

/// The one writer of the ring. It takes the ring's lock and the queue's lock one after the other, never together.
pub(crate) struct RingWriter {
    ring: Arc<Ring>,
    queue: Arc<PublishQueue>,
    /// A `seq` that the database has.
    floor: Seq,
    /// Base of the last marker applied. Changes after the queue has the messages that the marker's epoch has lost.
    epoch: watch::Sender<Seq>,
    latest_epoch: LatestEpoch,
    /// The initial sync is done: the ring has been filled from the log.
    filled: bool,
    /// The `seq` after which a gap was found last. Each batch after a gap finds it again, but it counts once.
    gap: Seq,
    gaps: Counter,
    holes: Counter,
    duplicates: Counter,
    epochs: Counter,
    reoffered: Counter,
}

/// Where entries come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// They have just been placed.
    Channel,
    /// They may be old.
    Log,
}

/// The epoch of the last snapshot. Its marker may not have been applied yet.
#[derive(Debug, Default)]
struct LatestEpoch {
    base: Seq,
    /// The last `seq` applied when a snapshot first had this epoch. Entries applied after that were read while the
    /// epoch was open, so they are in the log, and its marker must not remove them from the ring.
    applied_when_seen: Seq,
}

impl RingWriter {
    pub(crate) fn new(ring: Arc<Ring>, queue: Arc<PublishQueue>, floor: Seq) -> Self {
        Self {
            ring,
            queue,
            floor,
            epoch: watch::Sender::new(0),
            latest_epoch: LatestEpoch::default(),
            filled: false,
            gap: 0,
            gaps: counter!(RELAY_GAPS),
            holes: counter!(RELAY_HOLES),
            duplicates: counter!(RELAY_DUPLICATES),
            epochs: counter!(RELAY_EPOCHS),
            reoffered: counter!(RELAY_REOFFERED),
        }
    }

    /// The epoch to append in; 0 before the first is known.
    pub(crate) fn epoch(&self) -> watch::Receiver<Seq> {
        self.epoch.subscribe()
    }

    /// The last `seq` applied.
    pub(crate) fn applied(&self) -> Seq {
        self.ring.applied().0
    }

    /// The next sync, beginning after what has been applied.
    pub(crate) fn sync_request(&self) -> SyncRequest {
        let (after, low) = self.ring.recoverable();
        SyncRequest { after, low, floor: self.floor, limit: SYNC_LIMIT }
    }

    /// Applies events from the channel. False: entries before these are missing; sync first.
    #[must_use]
    pub(crate) fn apply_events(&mut self, events: Events<'_>) -> bool {
        let (last, epoch) = self.ring.applied();
        // late messages of an old epoch; the marker of the new one may not have been applied yet
        if events.epoch < epoch.max(self.latest_epoch.base) {
            return true;
        }
        if events.epoch > epoch || events.first > last + 1 {
            if events.epoch == epoch && self.gap != last {
                self.gap = last;
                self.gaps.increment(1);
            }
            return false;
        }
        self.apply(events.drafts(), Source::Channel);
        true
    }

    /// Applies a snapshot. True: this instance now has everything that the log had.
    pub(crate) fn apply_snapshot(&mut self, snapshot: &Snapshot) -> bool {
        let (last, _) = self.ring.applied();
        if self.latest_epoch.base != snapshot.base {
            self.latest_epoch = LatestEpoch { base: snapshot.base, applied_when_seen: last };
        }
        let first = snapshot.entries.first().map(LogEntry::seq);
        // markers that this instance has not applied and the log has trimmed, except those that a later marker has cut off
        let trimmed = |marker: &&Marker| marker.base > last && Some(marker.base) < first;
        let is_valid = |marker: &&Marker| sequencer::survives(marker.base, &snapshot.markers);
        let mut markers = snapshot.markers.iter().filter(trimmed).filter(is_valid);
        let entries = snapshot.entries.iter().map(Draft::from);
        if last == 0 {
            if let Some(open) = markers.next_back() {
                self.ring.write().adopt_epoch(open.base);
                self.epoch.send_replace(open.base);
            }
            self.apply(entries, Source::Log);
        } else {
            self.apply(markers.copied().map(Draft::from).chain(entries), Source::Log);
        }
        let (last, _) = self.ring.applied();
        if first.is_none() && last < snapshot.seq {
            error!(
                last,
                log.seq = snapshot.seq,
                "the log has no entries above `last`, although it has given out numbers up to `log.seq`: another \
                 program has trimmed or changed it. Clients may miss messages. Let no other program write to the log"
            );
        }
        let at_end = first.is_none() || last >= snapshot.seq;
        if at_end && !self.filled {
            self.filled = true;
            self.ring.write().begin_here();
            info!(log.seq = last, "initial sync done: the ring is filled from the log");
        }
        at_end
    }

    fn apply<'a>(&mut self, drafts: impl Iterator<Item = Draft<'a>>, source: Source) {
        let drafts = self.in_sequence(drafts);
        if drafts.is_empty() {
            return;
        }
        let (mut changes, now) = (Vec::new(), steady_millis());
        let mut ring = self.ring.write();
        for draft in drafts {
            match draft {
                Draft::Event(event) => {
                    changes.extend((event.was != 0).then_some(Change::Reappended(event.was)));
                    let placed = match source {
                        Source::Channel => now,
                        // not placed before it was accepted; the log does not say more
                        Source::Log => event.at.min(now),
                    };
                    ring.push_event(event, placed);
                }
                Draft::Hole(hole) => ring.push_hole(hole),
                Draft::Marker { marker, hole } => {
                    let applied = ring.last();
                    let lost = ring.push_marker(marker, hole, self.latest_epoch.applied_when_seen);
                    changes.push(Change::EpochOpened { applied, marker, lost });
                }
            }
        }
        let last = ring.last();
        if self.filled {
            ring.commit();
        } else {
            drop(ring);
        }
        let opened = self.queue.apply(changes, last);
        for (marker, lost) in &opened {
            self.epochs.increment(1);
            self.reoffered.increment(metric::count(*lost));
            info!(
                log.base = marker.base,
                log.cut = marker.cut,
                log.lost = lost,
                "a new epoch of the log begins at `log.base`: the log has lost what came after `log.cut`, and this \
                 instance has queued `log.lost` messages to append again"
            );
        }
        if let Some((open, _)) = opened.last() {
            self.epoch.send_replace(open.base);
        }
    }

    /// Drops entries that have been applied before, and inserts a hole where entries are gone for good. Needs no lock
    /// meanwhile: this is the only writer of the ring.
    fn in_sequence<'a>(&self, drafts: impl Iterator<Item = Draft<'a>>) -> Vec<Draft<'a>> {
        let (mut last, _) = self.ring.applied();
        let mut sequence = Vec::with_capacity(drafts.size_hint().0);
        for mut draft in drafts {
            let place = draft.place();
            match sequencer::step(last, place) {
                Step::Repeat => {
                    self.duplicates.increment(1);
                    continue;
                }
                Step::Gap { hole } => {
                    self.report_hole(hole);
                    sequence.push(Draft::Hole(Hole::up_to(hole)));
                    last = hole;
                }
                Step::Next => (),
            }
            if let Draft::Marker { marker, hole } = &mut draft
                && marker.leaves_hole_after(last)
            {
                self.report_hole(marker.low);
                *hole = Some(Hole::up_to(marker.base - 1));
            }
            last = place.seq();
            sequence.push(draft);
        }
        sequence
    }

    fn report_hole(&self, hole: Seq) {
        self.holes.increment(1);
        warn!(hole, "a part of the log is lost: every connection gets the reset frame (reason hole)");
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::{relay::publish_queue::Bounds, ring::Retention, wire};

    fn writer() -> RingWriter {
        let bounds = Bounds { messages: 10, bytes: 1000, jitter: std::time::Duration::ZERO };
        RingWriter::new(Arc::new(Ring::new(Retention::default())), Arc::new(PublishQueue::new(bounds)), 0)
    }

    fn push(writer: &mut RingWriter, first: Seq) -> bool {
        let payload = format!("1 messages 100 {first} 1\n0 {{}}\n");
        let Some(wire::Payload::Events(events)) = wire::parse(payload.as_bytes()) else { panic!("no messages") };
        writer.apply_events(events)
    }

    fn snapshot(entries: Vec<LogEntry>) -> Snapshot {
        let markers = vec![Marker { base: 100, cut: 0, low: 100 }];
        Snapshot { base: 100, seq: entries.last().map_or(0, LogEntry::seq), markers, entries }
    }

    #[test]
    fn a_gap_counts_once_however_many_batches_follow_it_and_so_does_each_hole() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let count = |name: &str| {
            let page = recorder.handle().render();
            page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap()
        };
        metrics::with_local_recorder(&recorder, || {
            let mut writer = writer();
            let message = |seq| LogEntry::Message { seq, was: 0, record: "{}".into() };
            let opened = LogEntry::Marker(Marker { base: 100, cut: 0, low: 100 });
            assert!(writer.apply_snapshot(&snapshot(vec![opened, message(101)])));
            for first in [103, 104, 105] {
                assert!(!push(&mut writer, first));
            }
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (1, 0));
            assert!(writer.apply_snapshot(&snapshot((102..=105).map(message).collect())));
            assert!(push(&mut writer, 106));
            assert!(!push(&mut writer, 108));
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (2, 0));
            // the log was trimmed: entries that this instance has not applied are gone
            assert!(writer.apply_snapshot(&snapshot(vec![message(108)])));
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (2, 1));
            // messages below `low` of the next epoch are gone for good, and this instance has not applied them
            let lost = LogEntry::Marker(Marker { base: 200, cut: 108, low: 150 });
            assert!(writer.apply_snapshot(&snapshot(vec![lost])));
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (2, 2));
        });
    }

    #[test]
    fn the_epoch_changes_after_the_queue_has_the_messages_that_the_log_has_lost() {
        let mut writer = writer();
        let epoch = writer.epoch();
        let record = r#"{"room":"a","id":"m","from":{"id":"u"},"at":1}"#;
        let message = LogEntry::Message { seq: 101, was: 0, record: record.into() };
        let opened = |base, cut| LogEntry::Marker(Marker { base, cut, low: 100 });
        assert!(writer.apply_snapshot(&snapshot(vec![opened(100, 0), message])));
        assert_eq!((*epoch.borrow(), writer.queue.total_count()), (100, 0));
        let flushed = Snapshot { base: 200, ..snapshot(vec![opened(200, 100)]) };
        assert!(writer.apply_snapshot(&flushed));
        assert_eq!((*epoch.borrow(), writer.queue.total_count()), (200, 1));
        assert_eq!(writer.queue.offers()[0].was, 101);
    }
}
