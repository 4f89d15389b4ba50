//! The log itself: the rules of the scripts, on plain collections.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use hubbub_protocol::{DEDUPE_WINDOW, Seq};
use tokio::time::Instant;

use crate::ring::Marker;
use crate::{
    backend::{Appended, BackendError, Known, LogEntry, Position, Receipt, Snapshot, Submission},
    sequencer, wire,
};

/// Latest markers that are kept: for dedupe keys in lost ranges, and for readers that missed some.
const MARKERS: usize = 32;

#[derive(Default)]
pub(crate) struct Store {
    log: VecDeque<LogEntry>,
    /// Marker of the open epoch; None: there is none.
    open: Option<Marker>,
    seq: Seq,
    markers: VecDeque<Marker>,
    seen: HashMap<Arc<str>, Seq>,
    expiries: VecDeque<(Instant, Arc<str>, Seq)>,
}

impl LogEntry {
    pub(crate) const fn seq(&self) -> Seq {
        match self {
            Self::Message { seq, .. } => *seq,
            Self::Marker(marker) => marker.base,
        }
    }
}

impl Store {
    /// Appends a batch and keeps `capacity` entries. Returns what the channel has to carry, if anything was new.
    pub(crate) fn append(&mut self, known: Known, capacity: usize, batch: &[Submission]) -> (Receipt, Option<Bytes>) {
        let Known { epoch, last } = known;
        if self.open.is_none_or(|marker| marker.base != epoch) || last > self.seq {
            return (Receipt::Fenced, None);
        }
        self.expire();
        let first = self.seq + 1;
        let (mut receipt, mut new) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for submission in batch {
            let known = self.seen.get(&submission.key).copied();
            let known = known.filter(|seq| sequencer::survives(*seq, &self.markers));
            receipt.push(Appended { seq: known.unwrap_or(self.seq + 1), duplicate: known.is_some() });
            if known.is_none() {
                self.add(submission);
                new.push(submission);
            }
        }
        self.log.drain(..self.log.len().saturating_sub(capacity));
        let payload = (!new.is_empty()).then(|| wire::messages(epoch, first, new.into_iter()));
        (Receipt::Placed(receipt), payload)
    }

    fn add(&mut self, submission: &Submission) {
        let Submission { key, record, was } = submission.clone();
        self.seq += 1;
        self.log.push_back(LogEntry::Message { seq: self.seq, was, record });
        self.expiries.push_back((Instant::now() + DEDUPE_WINDOW, Arc::clone(&key), self.seq));
        self.seen.insert(key, self.seq);
    }

    /// Opens an epoch if none is open, or if the reader has seen more than there is. Returns its base.
    pub(crate) fn open(&mut self, position: Position, now_us: u64) -> Result<Option<Seq>, BackendError> {
        if self.open.is_some() && position.last <= self.seq {
            return Ok(None);
        }
        let base = sequencer::open_at(self.seq.max(position.last), now_us)
            .ok_or_else(|| BackendError("the clock or the position is absurd".into()))?;
        let cut = self.log.back().map_or(0, LogEntry::seq);
        let marker = Marker { base, cut, low: position.low.unwrap_or(base) };
        self.log.push_back(LogEntry::Marker(marker));
        self.markers.push_back(marker);
        if self.markers.len() > MARKERS {
            self.markers.pop_front();
        }
        self.open = Some(marker);
        self.seq = base;
        Ok(Some(base))
    }

    pub(crate) fn read(&self, position: Position) -> Snapshot {
        let start = self.log.partition_point(|entry| entry.seq() <= position.last);
        let entries = self.log.range(start..).take(position.count).cloned().collect();
        let base = self.open.map_or(0, |marker| marker.base);
        Snapshot { base, seq: self.seq, markers: self.markers.iter().copied().collect(), entries }
    }

    #[cfg(test)]
    pub(crate) const fn log(&self) -> &VecDeque<LogEntry> {
        &self.log
    }

    /// The log is this from now on.
    #[cfg(test)]
    pub(crate) fn replace(&mut self, log: VecDeque<LogEntry>) {
        self.log = log;
    }

    /// Another server process takes over, with this log.
    #[cfg(test)]
    pub(crate) fn restart(&mut self, log: VecDeque<LogEntry>) {
        self.open = None;
        self.seq = log.back().map_or(0, LogEntry::seq);
        self.replace(log);
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((_, key, seq)) = self.expiries.pop_front_if(|(until, ..)| *until <= now) {
            if self.seen.get(&key) == Some(&seq) {
                self.seen.remove(&key);
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("seq", &self.seq).field("entries", &self.log.len()).finish_non_exhaustive()
    }
}
