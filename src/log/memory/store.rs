//! The log itself: its entries in memory, behind their [`Head`], and how far they are recorded.

use std::{collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;
use hubbub_lifecycle::metric::count;
use hubbub_protocol::Seq;

use crate::{
    backend::{AppendOutcome, BackendError, Fence, LogBounds, LogEntry, Snapshot, Submission, SyncRequest},
    head::{Head, Waiting},
    marker::Marker,
};

#[derive(Default)]
pub(crate) struct Store {
    log: VecDeque<LogEntry>,
    head: Head,
    log_id: Option<Arc<str>>,
    recorded: Seq,
    /// Bytes of the records above `recorded`.
    unrecorded_bytes: u64,
}

impl Store {
    /// Appends a batch and trims the log. Returns the payloads to publish.
    pub(crate) fn append(
        &mut self,
        fence: Fence,
        bounds: LogBounds,
        batch: &[Submission],
    ) -> (AppendOutcome, Vec<Bytes>) {
        let Some(plan) = self.head.plan(fence, batch) else { return (AppendOutcome::Fenced, Vec::new()) };
        let waiting = Waiting { events: count(self.log.len() - self.recorded_entries()), bytes: self.unrecorded_bytes };
        if bounds.unrecorded.is_some_and(|unrecorded| plan.exceeds(unrecorded, waiting)) {
            return (AppendOutcome::Full, Vec::new());
        }
        for (seq, submission) in (plan.first..).zip(&plan.new) {
            let Submission { kind, record, was, .. } = (*submission).clone();
            self.unrecorded_bytes += count(record.len());
            self.log.push_back(LogEntry::of_kind(kind, seq, was, record));
        }
        self.head.advance(&plan);
        self.trim(bounds);
        let payloads = plan.payloads();
        (AppendOutcome::Placed(plan.placements), payloads)
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

    /// How far it is recorded, and the base of that epoch.
    pub(super) fn recorded(&self) -> (Seq, Seq) {
        (self.recorded, self.head.epoch_of(self.recorded))
    }

    /// The database has everything up to `recorded`. Less than before, and what the log does not have in this epoch,
    /// changes nothing.
    pub(super) fn record(&mut self, recorded: Seq, base: Seq) {
        if recorded <= self.recorded || !self.head.has(recorded, base) {
            return;
        }
        let before = self.recorded_entries();
        self.recorded = recorded;
        self.unrecorded_bytes -= self.log.range(before..self.recorded_entries()).map(bytes).sum::<u64>();
    }

    /// The database has everything up to `recorded`, which may be less than before.
    pub(super) fn rewind(&mut self, recorded: Seq) {
        self.recorded = recorded.min(self.head.seq());
        self.unrecorded_bytes = self.log.range(self.recorded_entries()..).map(bytes).sum();
    }

    /// Opens an epoch if none is open, or if the reader or the database is ahead of the log. Returns its base.
    pub(crate) fn open(&mut self, request: SyncRequest, now_us: u64) -> Result<Option<Seq>, BackendError> {
        let Some(marker) = self.head.next_marker(request, now_us)? else { return Ok(None) };
        self.log_id.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>()).into());
        let marker = Marker { cut: self.log.back().map_or(0, LogEntry::seq), ..marker };
        self.log.push_back(LogEntry::Marker(marker));
        self.head.open(marker);
        Ok(Some(marker.base))
    }

    pub(crate) fn read(&self, request: SyncRequest) -> Snapshot {
        let start = self.log.partition_point(|entry| entry.seq() <= request.after);
        let entries = self.log.range(start..).take(request.limit).cloned().collect();
        let markers = self.head.markers().iter().copied().collect();
        Snapshot { base: self.head.base(), seq: self.head.seq(), markers, entries }
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
        self.head.restart(log.back().map_or(0, LogEntry::seq));
        self.replace(log);
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
        f.debug_struct("Store").field("head", &self.head).field("entries", &self.log.len()).finish_non_exhaustive()
    }
}
