//! The log itself: its entries in memory, behind their [`Head`].

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use hubbub_protocol::Seq;

use crate::{
    backend::{AppendOutcome, BackendError, Fence, LogEntry, Snapshot, Submission, SyncRequest},
    head::Head,
};

#[derive(Default)]
pub(crate) struct Store {
    log: VecDeque<LogEntry>,
    head: Head,
}

impl Store {
    /// Appends a batch and keeps the newest `capacity` entries. Returns the payloads to publish.
    pub(crate) fn append(
        &mut self,
        fence: Fence,
        capacity: usize,
        batch: &[Submission],
    ) -> (AppendOutcome, Vec<Bytes>) {
        let Some(plan) = self.head.plan(fence, batch) else { return (AppendOutcome::Fenced, Vec::new()) };
        for (seq, submission) in (plan.first..).zip(&plan.new) {
            let Submission { kind, record, was, .. } = (*submission).clone();
            self.log.push_back(LogEntry::of_kind(kind, seq, was, record));
        }
        self.head.advance(&plan);
        self.log.drain(..self.log.len().saturating_sub(capacity));
        let payloads = plan.payloads();
        (AppendOutcome::Placed(plan.placements), payloads)
    }

    /// Opens an epoch if none is open, or if the reader is ahead of the log. Returns its base.
    pub(crate) fn open(&mut self, request: SyncRequest, now_us: u64) -> Result<Option<Seq>, BackendError> {
        let Some(marker) = self.head.next_marker(request, now_us)? else { return Ok(None) };
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
    }

    /// Another server process takes over with these entries.
    #[cfg(test)]
    pub(crate) fn restart(&mut self, log: VecDeque<LogEntry>) {
        self.head.restart(log.back().map_or(0, LogEntry::seq));
        self.replace(log);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("head", &self.head).field("entries", &self.log.len()).finish()
    }
}
