//! The log itself, with the rules of append.lua and sync.lua.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use hubbub_protocol::{DEDUPE_WINDOW, Seq};
use tokio::time::Instant;

use crate::marker::Marker;
use crate::{
    backend::{AppendOutcome, BackendError, Fence, LogEntry, Placement, Snapshot, Submission, SyncRequest},
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
    seen: HashMap<Arc<str>, Seq>,
    expiries: VecDeque<(Instant, Arc<str>, Seq)>,
}

impl Store {
    /// Appends a batch and keeps the newest `capacity` entries. Returns the payload to publish, if anything was new.
    pub(crate) fn append(
        &mut self,
        fence: Fence,
        capacity: usize,
        batch: &[Submission],
    ) -> (AppendOutcome, Option<Bytes>) {
        let Fence { epoch, last } = fence;
        if self.open.is_none_or(|marker| marker.base != epoch) || last > self.seq {
            return (AppendOutcome::Fenced, None);
        }
        self.expire();
        let first = self.seq + 1;
        let (mut placements, mut new) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for submission in batch {
            let known = self.seen.get(&submission.key).copied();
            let known = known.filter(|seq| sequencer::survives(*seq, &self.markers));
            placements.push(Placement { seq: known.unwrap_or(self.seq + 1), duplicate: known.is_some() });
            if known.is_none() {
                self.add(submission);
                new.push(submission);
            }
        }
        self.log.drain(..self.log.len().saturating_sub(capacity));
        let payload = (!new.is_empty()).then(|| wire::messages(epoch, first, new.into_iter()));
        (AppendOutcome::Placed(placements), payload)
    }

    fn add(&mut self, submission: &Submission) {
        let Submission { key, record, was, at: _ } = submission.clone();
        self.seq += 1;
        self.log.push_back(LogEntry::Message { seq: self.seq, was, record });
        self.expiries.push_back((Instant::now() + DEDUPE_WINDOW, Arc::clone(&key), self.seq));
        self.seen.insert(key, self.seq);
    }

    /// Opens an epoch if none is open, or if the reader is ahead of the log. Returns its base.
    pub(crate) fn open(&mut self, request: SyncRequest, now_us: u64) -> Result<Option<Seq>, BackendError> {
        if self.open.is_some() && request.after <= self.seq {
            return Ok(None);
        }
        let base = sequencer::open_at(self.seq.max(request.after), now_us)
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
