//! Walks entries of the log into the ring, whether the channel brought them or a sync.

use std::{borrow::Cow, sync::Arc};

use hubbub_lifecycle::clock::unix_millis;
use hubbub_lifecycle::metric::{RELAY_DUPLICATES, RELAY_EPOCHS, RELAY_GAPS, RELAY_HOLES, RELAY_REOFFERED};
use hubbub_protocol::{DEDUPE_WINDOW, Frame, Seq};
use metrics::{Counter, counter};
use tracing::{error, info, warn};

use super::Shared;
use crate::{
    backend::{LogEntry, Position, Snapshot},
    ring::{Draft, Entry, Marker},
    sequencer::{self, Place, Step},
    wire::{Messages, Outline},
};

/// Entries that one sync reads.
const SYNC_COUNT: usize = 1000;

/// How much younger than the dedupe window an entry must be before its return is promised to cursors: what lies
/// between the promise and the offer, clocks that differ included.
const PROMISE_MARGIN_MS: u64 = 10_000;

/// The one writer of the ring.
pub(crate) struct Walker {
    pub(crate) shared: Arc<Shared>,
    /// The open epoch as the last sync told it, and how far this instance had walked when it first heard of it: what
    /// it read after that stood in the log when the epoch was open already.
    as_of: (Seq, Seq),
    /// The ring has been filled from the log.
    filled: bool,
    /// The place behind which a gap was found last. Every push that comes behind it finds the same one.
    gap: Seq,
    gaps: Counter,
    holes: Counter,
    duplicates: Counter,
    epochs: Counter,
    reoffered: Counter,
}

/// An entry that is ready for the ring: everything that takes time is done without the lock.
enum Prepared<'a> {
    Message { seq: Seq, room: Cow<'a, str>, draft: Draft },
    Marker(Marker),
}

/// What the outbox has to hear, in order.
enum Effect {
    Returned(Seq),
    Lost { walked: Seq, marker: Marker, entries: Vec<Arc<Entry>> },
}

impl Prepared<'_> {
    const fn place(&self) -> Place {
        match self {
            Self::Message { seq, .. } => Place::Message(*seq),
            Self::Marker(marker) => Place::Marker(*marker),
        }
    }
}

fn message(seq: Seq, was: Seq, record: &str) -> Prepared<'_> {
    // a record of another release takes its place without being kept
    let (room, at) = serde_json::from_str(record).map_or((Cow::default(), 0), |Outline { room, at }| (room, at));
    Prepared::Message { seq, room, draft: Draft { frame: Frame::message(seq, record, was), was, at } }
}

fn prepare(entry: &LogEntry) -> Prepared<'_> {
    match entry {
        LogEntry::Message { seq, was, record } => message(*seq, *was, std::str::from_utf8(record).unwrap_or_default()),
        LogEntry::Marker(marker) => Prepared::Marker(*marker),
    }
}

impl Walker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            as_of: (0, 0),
            filled: false,
            gap: 0,
            gaps: counter!(RELAY_GAPS),
            holes: counter!(RELAY_HOLES),
            duplicates: counter!(RELAY_DUPLICATES),
            epochs: counter!(RELAY_EPOCHS),
            reoffered: counter!(RELAY_REOFFERED),
        }
    }

    /// Where the next sync begins.
    pub(crate) fn position(&self) -> Position {
        let window = u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap_or(u64::MAX);
        let young = unix_millis().saturating_sub(window.saturating_sub(PROMISE_MARGIN_MS));
        let (last, low) = self.shared.ring.position(young);
        Position { last, low, count: SYNC_COUNT }
    }

    /// A batch from the channel. False: something is missing in front of it, the log has to be asked.
    #[must_use]
    pub(crate) fn push(&mut self, batch: Messages<'_>) -> bool {
        let (last, epoch) = self.shared.ring.walked();
        // of an epoch that is over, even if this reader has not crossed its marker yet
        if batch.epoch < epoch.max(self.as_of.0) {
            return true;
        }
        if batch.epoch > epoch || batch.first > last + 1 {
            if batch.epoch == epoch && self.gap != last {
                self.gap = last;
                self.gaps.increment(1);
            }
            return false;
        }
        self.walk(batch.iter().map(|(seq, was, record)| message(seq, was, record)).collect());
        true
    }

    /// A picture of the log. True: this reader is at its end.
    pub(crate) fn snapshot(&mut self, snapshot: &Snapshot) -> bool {
        let (last, _) = self.shared.ring.walked();
        if self.as_of.0 != snapshot.base {
            self.as_of = (snapshot.base, last);
        }
        let first = snapshot.entries.first().map(LogEntry::seq);
        let empty = first.is_none();
        // those that were trimmed before this reader came to them; what a later marker has taken is walked with that one
        let trimmed = |marker: &&Marker| marker.base > last && Some(marker.base) < first;
        let stands = |marker: &&Marker| sequencer::survives(marker.base, &snapshot.markers);
        let mut markers = snapshot.markers.iter().filter(trimmed).filter(stands);
        if last == 0 {
            if let Some(open) = markers.next_back() {
                self.adopt(*open);
            }
            self.walk(snapshot.entries.iter().map(prepare).collect());
        } else {
            self.walk(markers.copied().map(Prepared::Marker).chain(snapshot.entries.iter().map(prepare)).collect());
        }
        let (last, _) = self.shared.ring.walked();
        if empty && last < snapshot.seq {
            error!(last, log.seq = snapshot.seq, "the log says that it has entries, but does not show them");
        }
        let at_end = empty || last >= snapshot.seq;
        if at_end && !self.filled {
            self.filled = true;
            self.shared.ring.write(unix_millis()).begin_here();
            info!(log.seq = last, "the ring is filled from the log");
        }
        at_end
    }

    fn adopt(&self, marker: Marker) {
        self.shared.ring.write(unix_millis()).adopt_epoch(marker.base);
        self.shared.epoch.send_replace(marker.base);
    }

    fn walk(&mut self, entries: Vec<Prepared<'_>>) {
        if entries.is_empty() {
            return;
        }
        let mut effects = Vec::new();
        let mut ring = self.shared.ring.write(unix_millis());
        for entry in entries {
            match sequencer::step(ring.last(), entry.place()) {
                Step::Known => {
                    self.duplicates.increment(1);
                    continue;
                }
                Step::Gap { hole } => {
                    self.miss(hole);
                    ring.push_hole(hole);
                }
                Step::Next => (),
            }
            match entry {
                Prepared::Message { seq, room, draft } => {
                    effects.extend((draft.was != 0).then_some(Effect::Returned(draft.was)));
                    ring.push_message(seq, &room, draft);
                }
                Prepared::Marker(marker) => {
                    let walked = ring.last();
                    if marker.outruns(walked) {
                        self.miss(marker.low);
                    }
                    let entries = ring.push_marker(marker, self.as_of.1);
                    effects.push(Effect::Lost { walked, marker, entries });
                }
            }
        }
        let last = ring.last();
        if self.filled {
            ring.commit();
        } else {
            drop(ring);
        }
        self.settle(last, effects);
    }

    /// Counts what cannot be had any more: the ring has a hole there.
    fn miss(&self, hole: Seq) {
        self.holes.increment(1);
        warn!(hole, "a part of the log is gone: connections are reset");
    }

    /// Tells the outbox, then whoever waits for it.
    fn settle(&self, last: Seq, effects: Vec<Effect>) {
        let (mut epoch, mut changed) = (None, !effects.is_empty());
        let mut outbox = self.shared.outbox.lock();
        for effect in effects {
            match effect {
                Effect::Returned(was) => outbox.returned(was),
                Effect::Lost { walked, marker, entries } => {
                    outbox.walked(walked);
                    let count = outbox.lost(marker, entries);
                    self.epochs.increment(1);
                    self.reoffered.increment(u64::try_from(count).unwrap_or(u64::MAX));
                    info!(log.base = marker.base, log.cut = marker.cut, log.lost = count, "a new epoch of the log");
                    epoch = Some(marker.base);
                }
            }
        }
        changed |= outbox.walked(last);
        drop(outbox);
        if let Some(base) = epoch {
            self.shared.epoch.send_replace(base);
        }
        if changed {
            self.shared.work.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::{
        Local,
        relay::outbox::Bounds,
        ring::{Retention, Ring},
        wire,
    };

    fn walker() -> Walker {
        let bounds = Bounds { messages: 10, bytes: 1000, jitter: std::time::Duration::ZERO };
        let ring = Arc::new(Ring::new(Retention::default()));
        let backend = Arc::new(Local::new());
        Walker::new(Arc::new(Shared::new("a".into(), backend, ring, bounds, 1)))
    }

    fn push(walker: &mut Walker, first: Seq) -> bool {
        let payload = format!("1 messages 100 {first} 1\n0 {{}}\n");
        let Some(wire::Push::Messages(batch)) = wire::parse(payload.as_bytes()) else { panic!("no messages") };
        walker.push(batch)
    }

    fn snapshot(entries: Vec<LogEntry>) -> Snapshot {
        let markers = vec![Marker { base: 100, cut: 0, low: 100 }];
        Snapshot { base: 100, seq: entries.last().map_or(0, LogEntry::seq), markers, entries }
    }

    #[test]
    fn a_gap_counts_once_however_much_comes_behind_it_and_so_does_each_hole() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let count = |name: &str| {
            let page = recorder.handle().render();
            page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap()
        };
        metrics::with_local_recorder(&recorder, || {
            let mut walker = walker();
            let message = |seq| LogEntry::Message { seq, was: 0, record: "{}".into() };
            let opened = LogEntry::Marker(Marker { base: 100, cut: 0, low: 100 });
            assert!(walker.snapshot(&snapshot(vec![opened, message(101)])));
            for first in [103, 104, 105] {
                assert!(!push(&mut walker, first));
            }
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (1, 0));
            assert!(walker.snapshot(&snapshot((102..=105).map(message).collect())));
            assert!(push(&mut walker, 106));
            assert!(!push(&mut walker, 108));
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (2, 0));
            // the log has been trimmed beyond this instance
            assert!(walker.snapshot(&snapshot(vec![message(108)])));
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (2, 1));
            // the next epoch knows that what others have read is gone for good
            let lost = LogEntry::Marker(Marker { base: 200, cut: 108, low: 150 });
            assert!(walker.snapshot(&snapshot(vec![lost])));
            assert_eq!((count(RELAY_GAPS), count(RELAY_HOLES)), (2, 2));
        });
    }
}
