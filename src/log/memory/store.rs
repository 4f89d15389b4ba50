//! The log itself, with the rules of append.lua, sync.lua, lease.lua and rewind.lua.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use hubbub_lifecycle::metric::count;
use hubbub_protocol::{DEDUPE_WINDOW, Seq};
use tokio::time::Instant;

use crate::{
    backend::{
        AppendOutcome, BackendError, Fence, LogBounds, LogEntry, Placement, Snapshot, Submission, SyncRequest,
        Unrecorded,
    },
    identity::ContentHash,
    kind::Kind,
    marker::Marker,
    sequencer, wire,
};

/// Latest markers that are kept, for dedupe keys in lost ranges and for readers that have missed some.
const MARKERS: usize = 32;

#[derive(Default)]
pub(crate) struct Store {
    log: VecDeque<LogEntry>,
    /// Marker of the open epoch; None while no epoch is open.
    open: Option<Marker>,
    seq: Seq,
    markers: VecDeque<Marker>,
    log_id: Option<Arc<str>>,
    recorded: Seq,
    /// Bytes of the records above `recorded`.
    unrecorded_bytes: u64,
    /// The message of each key. Several if messages that the log had lost were appended again under one key.
    seen: HashMap<Arc<str>, Vec<(Seq, ContentHash)>>,
    expiries: VecDeque<(Instant, Arc<str>, Seq)>,
}

impl Store {
    /// Appends a batch and trims the log. Returns the payloads to publish.
    pub(crate) fn append(
        &mut self,
        fence: Fence,
        bounds: LogBounds,
        batch: &[Submission],
    ) -> (AppendOutcome, Vec<Bytes>) {
        let Fence { epoch, last } = fence;
        if self.open.is_none_or(|marker| marker.base != epoch) || last > self.seq {
            return (AppendOutcome::Fenced, Vec::new());
        }
        self.expire();
        if bounds.unrecorded.is_some_and(|unrecorded| self.is_full(unrecorded, batch)) {
            return (AppendOutcome::Full, Vec::new());
        }
        let first = self.seq + 1;
        let (mut placements, mut new) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for submission in batch {
            let placement = self.known(submission).unwrap_or(Placement::Appended(self.seq + 1));
            placements.push(placement);
            if matches!(placement, Placement::Appended(_)) {
                self.add(submission);
                new.push(submission);
            }
        }
        self.trim(bounds);
        (AppendOutcome::Placed(placements), wire::events(epoch, first, &new))
    }

    /// Whether more than allowed would wait for the recorder. Only what is new counts.
    fn is_full(&self, unrecorded: Unrecorded, batch: &[Submission]) -> bool {
        let new = batch.iter().filter(|submission| submission.was == 0 && self.known(submission).is_none());
        let waiting = count(self.log.len() - self.recorded_entries());
        let (events, bytes) =
            new.fold((0, 0), |(events, bytes), submission| (events + 1, bytes + count(submission.record.len())));
        let exceeds = waiting + events > unrecorded.events || self.unrecorded_bytes + bytes > unrecorded.bytes;
        events > 0 && waiting > 0 && exceeds
    }

    fn trim(&mut self, LogBounds { entries, unrecorded }: LogBounds) {
        let surplus = self.log.len().saturating_sub(entries);
        let trimmed = if unrecorded.is_some() { surplus.min(self.recorded_entries()) } else { surplus };
        let above = |entry: &LogEntry| entry.seq() > self.recorded;
        self.unrecorded_bytes -= self.log.drain(..trimmed).filter(above).map(|entry| bytes(&entry)).sum::<u64>();
    }

    /// How many entries are recorded and still there.
    fn recorded_entries(&self) -> usize {
        self.log.partition_point(|entry| entry.seq() <= self.recorded)
    }

    pub(super) fn log_id(&self) -> Option<Arc<str>> {
        self.log_id.clone()
    }

    pub(super) const fn recorded(&self) -> Seq {
        self.recorded
    }

    /// The database has everything up to `recorded`. Less than before, and more than the log has, changes nothing.
    pub(super) fn record(&mut self, recorded: Seq) {
        if recorded <= self.recorded || recorded > self.seq {
            return;
        }
        let before = self.recorded_entries();
        self.recorded = recorded;
        self.unrecorded_bytes -= self.log.range(before..self.recorded_entries()).map(bytes).sum::<u64>();
    }

    /// The database has everything up to `recorded`, which may be less than before.
    pub(super) fn rewind(&mut self, recorded: Seq) {
        self.recorded = recorded.min(self.seq);
        self.unrecorded_bytes = self.log.range(self.recorded_entries()..).map(bytes).sum();
    }

    /// What becomes of a submission whose key names a message in the log. None: it is to be appended.
    fn known(&self, Submission { key, hash, was, .. }: &Submission) -> Option<Placement> {
        let mut named =
            self.seen.get(key).into_iter().flatten().filter(|(seq, _)| sequencer::survives(*seq, &self.markers));
        let same = named.clone().find(|(_, said)| said == hash).map(|(seq, _)| Placement::Duplicate(*seq));
        let refused = || named.next_back().filter(|_| *was == 0).map(|(seq, _)| Placement::IdReused(*seq));
        same.or_else(refused)
    }

    fn add(&mut self, submission: &Submission) {
        let Submission { kind, key, hash, record, was, at: _ } = submission.clone();
        self.seq += 1;
        let seq = self.seq;
        self.unrecorded_bytes += count(record.len());
        self.log.push_back(match kind {
            Kind::Message => LogEntry::Message { seq, was, record },
            Kind::Other(_) => LogEntry::Event { seq, was, kind, record },
        });
        self.expiries.push_back((Instant::now() + DEDUPE_WINDOW, Arc::clone(&key), self.seq));
        self.seen.entry(key).or_default().push((self.seq, hash));
    }

    /// Opens an epoch if none is open, or if the reader or the database is ahead of the log. Returns its base.
    pub(crate) fn open(&mut self, request: SyncRequest, now_us: u64) -> Result<Option<Seq>, BackendError> {
        let known = request.after.max(request.floor);
        if self.open.is_some() && known <= self.seq {
            return Ok(None);
        }
        self.log_id.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>()).into());
        let base = sequencer::open_at(self.seq.max(known), now_us)
            .ok_or_else(|| BackendError("the clock or the requested seq is out of range".into()))?;
        let cut = self.log.back().map_or(0, LogEntry::seq);
        let marker = Marker { base, cut, low: request.low.unwrap_or(base) };
        self.log.push_back(LogEntry::Marker(marker));
        self.markers.push_back(marker);
        if self.markers.len() > MARKERS {
            self.markers.pop_front();
        }
        self.open = Some(marker);
        self.seq = base;
        Ok(Some(base))
    }

    pub(crate) fn read(&self, request: SyncRequest) -> Snapshot {
        let start = self.log.partition_point(|entry| entry.seq() <= request.after);
        let entries = self.log.range(start..).take(request.limit).cloned().collect();
        let base = self.open.map_or(0, |marker| marker.base);
        Snapshot { base, seq: self.seq, markers: self.markers.iter().copied().collect(), entries }
    }

    #[cfg(test)]
    pub(crate) const fn log(&self) -> &VecDeque<LogEntry> {
        &self.log
    }

    /// Replaces the entries.
    #[cfg(test)]
    pub(crate) fn replace(&mut self, log: VecDeque<LogEntry>) {
        self.log = log;
        self.rewind(self.recorded);
    }

    /// Another server process takes over with these entries.
    #[cfg(test)]
    pub(crate) fn restart(&mut self, log: VecDeque<LogEntry>) {
        self.open = None;
        self.seq = log.back().map_or(0, LogEntry::seq);
        self.replace(log);
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((_, key, seq)) = self.expiries.pop_front_if(|(until, ..)| *until <= now) {
            if let Entry::Occupied(mut named) = self.seen.entry(key) {
                named.get_mut().retain(|(other, _)| *other != seq);
                if named.get().is_empty() {
                    named.remove();
                }
            }
        }
    }
}

/// Bytes of the record.
fn bytes(entry: &LogEntry) -> u64 {
    match entry {
        LogEntry::Message { record, .. } | LogEntry::Event { record, .. } => count(record.len()),
        LogEntry::Marker(_) => 0,
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("seq", &self.seq).field("entries", &self.log.len()).finish_non_exhaustive()
    }
}
