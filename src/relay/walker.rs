//! Walks entries of the log into the ring, whether the channel brought them or a sync.

use std::{borrow::Cow, sync::Arc};

use metrics::{Counter, counter};
use tracing::{error, info, warn};

use super::{
    LogEntry, Position, Shared, Snapshot,
    sequencer::{self, Place, Step},
    unix_millis,
    wire::{Messages, Outline},
};
use crate::{
    protocol::{DEDUPE_WINDOW, Frame, Seq},
    ring::{Draft, Entry, Marker},
    telemetry::{RELAY_DUPLICATES, RELAY_EPOCHS, RELAY_GAPS, RELAY_HOLES, RELAY_REOFFERED},
};

/// Entries that one sync reads.
const SYNC_COUNT: usize = 1000;

/// How much younger than the dedupe window an entry must be before its return is promised to cursors: what lies
/// between the promise and the offer, clocks that differ included.
const PROMISE_MARGIN_MS: u64 = 10_000;

/// The one writer of the ring.
pub(super) struct Walker {
    pub(super) shared: Arc<Shared>,
    /// The open epoch as the last sync told it, and how far this instance had walked when it first heard of it: what
    /// it read after that stood in the log when the epoch was open already.
    as_of: (Seq, Seq),
    /// The ring has been filled from the log.
    filled: bool,
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
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            as_of: (0, 0),
            filled: false,
            gaps: counter!(RELAY_GAPS),
            holes: counter!(RELAY_HOLES),
            duplicates: counter!(RELAY_DUPLICATES),
            epochs: counter!(RELAY_EPOCHS),
            reoffered: counter!(RELAY_REOFFERED),
        }
    }

    /// Where the next sync begins.
    pub(super) fn position(&self) -> Position {
        let window = u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap_or(u64::MAX);
        let young = unix_millis().saturating_sub(window.saturating_sub(PROMISE_MARGIN_MS));
        let (last, low) = self.shared.ring.position(young);
        Position { last, low, count: SYNC_COUNT }
    }

    /// A batch from the channel. False: something is missing in front of it, the log has to be asked.
    #[must_use]
    pub(super) fn push(&mut self, batch: Messages<'_>) -> bool {
        let (last, epoch) = self.shared.ring.walked();
        // of an epoch that is over, even if this reader has not crossed its marker yet
        if batch.epoch < epoch.max(self.as_of.0) {
            return true;
        }
        if batch.epoch > epoch || batch.first > last + 1 {
            self.gaps.increment(u64::from(batch.epoch == epoch));
            return false;
        }
        self.walk(batch.iter().map(|(seq, was, record)| message(seq, was, record)).collect());
        true
    }

    /// A picture of the log. True: this reader is at its end.
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot) -> bool {
        let (last, _) = self.shared.ring.walked();
        if self.as_of.0 != snapshot.base {
            self.as_of = (snapshot.base, last);
        }
        let mut entries: Vec<_> = snapshot.entries.iter().map(prepare).collect();
        let first = entries.first().map(Prepared::place);
        if last < snapshot.base && matches!(first, Some(Place::Message(seq)) if seq > snapshot.base) {
            // the log no longer has the marker of the epoch it is in
            let marker = Marker { base: snapshot.base, cut: snapshot.cut, low: 0 };
            if last == 0 { self.adopt(marker) } else { entries.insert(0, Prepared::Marker(marker)) }
        }
        let empty = entries.is_empty();
        self.walk(entries);
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
                    self.holes.increment(1);
                    warn!(hole, "a part of the log is gone: connections are reset");
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
