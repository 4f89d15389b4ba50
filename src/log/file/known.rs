//! What this process knows of the file without reading it. Pure: no file.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{DEDUPE_WINDOW, Seq, UnixMillis};
use tokio::time::Instant;

use super::{
    extent::Extent,
    table::{KeyRow, State},
};
use crate::{
    backend::{AppendOutcome, BackendError, Fence, LogBounds, LogEntry, Snapshot, Submission, SyncRequest},
    head::{Head, Plan, Waiting},
    marker::Marker,
};

/// Trimmed entries that gather before they are deleted.
const DUE_ENTRIES: u64 = 500;
/// Pages that gather in the write-ahead log before they are moved into the file.
const DUE_PAGES: u64 = 1000;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// What the log has, and what is to be done about the file.
#[derive(Debug)]
pub(super) struct Known {
    head: Head,
    extent: Extent,
    /// Bytes of all records that were ever appended.
    written: u64,
    recorded: Recorded,
    /// A statement has begun, and what it has changed is not known.
    in_doubt: bool,
    due: Due,
}

/// How far the log is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) seq: Seq,
    /// Bytes of all records up to there.
    pub(super) bytes: u64,
}

/// What gathers until it is worth the while.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    trimmed: u64,
    pages: u64,
}

/// A part of the log that is to be read.
#[derive(Debug)]
pub(super) struct View {
    snapshot: Snapshot,
    /// Above which place to read.
    pub(super) after: Seq,
    limit: usize,
    markers: Vec<Marker>,
}

impl Known {
    /// A file with these markers and its last row, if any, at `last`.
    pub(super) fn found(state: &State, markers: Vec<Marker>, last: Seq, written: u64) -> Self {
        let mut extent = Extent::default();
        for marker in &markers {
            extent.grow_to(marker.cut);
            extent.begin(*marker);
        }
        extent.grow_to(last);
        extent.trim(state.trimmed);
        let top = markers.last().map_or(last, |marker| marker.base.max(last));
        let recorded = Recorded { seq: state.recorded, bytes: written };
        let head = Head::found(markers, top);
        Self { head, extent, written, recorded, in_doubt: false, due: Due::default() }
    }

    /// Whether a statement has begun, and what it has changed is not known.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// A statement is about to change the file. Returns the bytes of all records before it.
    pub(super) const fn begin(&mut self) -> u64 {
        self.in_doubt = true;
        self.written
    }

    /// The keys of rows, ascending, and what time it is.
    pub(super) fn take_keys(&mut self, rows: impl IntoIterator<Item = KeyRow>, now_ms: UnixMillis) {
        let now = Instant::now();
        for (seq, at, hash, key) in rows {
            let age = Duration::from_millis(now_ms.saturating_sub(at));
            self.head.take(Arc::from(key), seq, hash, now + DEDUPE_WINDOW.saturating_sub(age));
        }
    }

    /// What the last statement has changed is known now: the file has rows up to here.
    pub(super) fn settle(&mut self, last: Seq, written: u64) {
        self.head.reach(last);
        self.extent.grow_to(last);
        self.written = written;
        self.in_doubt = false;
    }

    pub(super) const fn seq(&self) -> Seq {
        self.head.seq()
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// What an append of this batch does, or what to answer if nothing is to be written.
    pub(super) fn plan<'a>(
        &mut self,
        fence: Fence,
        bounds: LogBounds,
        batch: &'a [Submission],
    ) -> Result<Plan<'a>, AppendOutcome> {
        let plan = self.head.plan(fence, batch).ok_or(AppendOutcome::Fenced)?;
        let bytes = self.written.saturating_sub(self.recorded.bytes);
        let waiting = Waiting { events: self.extent.count_above(self.recorded.seq), bytes };
        let is_full = bounds.unrecorded.is_some_and(|unrecorded| plan.exceeds(unrecorded, waiting));
        if is_full { Err(AppendOutcome::Full) } else { Ok(plan) }
    }

    /// The plan is done.
    pub(super) fn advance(&mut self, plan: &Plan<'_>) {
        self.in_doubt = false;
        self.head.advance(plan);
        self.extent.grow_to(self.head.seq());
        let bytes: usize = plan.new.iter().map(|submission| submission.record.len()).sum();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(bytes);
        self.due.pages += 2 + bytes / PAGE;
    }

    /// Leaves the newest entries, and what is not recorded if anything is to be recorded. True: the keeper has something to
    /// do.
    pub(super) fn trim(&mut self, bounds: LogBounds) -> bool {
        let bound = self.extent.bound_of(bounds.entries);
        let bound = bounds.unrecorded.map_or(bound, |_| bound.min(self.recorded.seq));
        self.due.trimmed += self.extent.trim(bound);
        self.due.trimmed >= DUE_ENTRIES || self.due.pages >= DUE_PAGES
    }

    pub(super) fn next_marker(&self, request: SyncRequest, now_us: u64) -> Result<Option<Marker>, BackendError> {
        self.head.next_marker(request, now_us)
    }

    /// This marker is in the file.
    pub(super) fn open(&mut self, marker: Marker) {
        self.in_doubt = false;
        self.head.open(marker);
        self.extent.begin(marker);
    }

    pub(super) fn view(&self, request: SyncRequest) -> View {
        let markers = self.head.markers().iter().copied().collect();
        let (base, seq) = (self.head.base(), self.head.seq());
        let after = request.after.max(self.extent.trimmed());
        View {
            snapshot: Snapshot { base, seq, markers, entries: Vec::new() },
            after,
            limit: request.limit,
            markers: self.extent.markers(after, seq).take(request.limit).collect(),
        }
    }

    pub(super) const fn recorded(&self) -> Recorded {
        self.recorded
    }

    /// Base of the epoch of what is recorded.
    pub(super) fn recorded_epoch(&self) -> Seq {
        self.head.epoch_of(self.recorded.seq)
    }

    /// Whether the database has more than before, of what the log has in this epoch.
    pub(super) fn is_news(&self, recorded: Seq, base: Seq) -> bool {
        self.recorded.seq < recorded && self.head.has(recorded, base)
    }

    pub(super) const fn set_recorded(&mut self, recorded: Recorded) {
        self.recorded = recorded;
    }

    /// Up to where rows are to be deleted, and the oldest marker that is kept. None: it is not worth the while.
    pub(super) fn take_trimmed(&mut self) -> Option<(Seq, Seq)> {
        if self.due.trimmed < DUE_ENTRIES {
            return None;
        }
        self.due.trimmed = 0;
        Some((self.extent.trimmed(), self.head.markers().front().map_or(0, |marker| marker.base)))
    }

    /// Whether pages are to be moved.
    pub(super) const fn take_pages(&mut self) -> bool {
        let is_due = self.due.pages >= DUE_PAGES;
        if is_due {
            self.due.pages = 0;
        }
        is_due
    }
}

impl View {
    /// Up to which place to read.
    pub(super) const fn last(&self) -> Seq {
        self.snapshot.seq
    }

    /// How many rows to read. None if there are none.
    pub(super) const fn rows(&self) -> Option<usize> {
        if self.after < self.snapshot.seq && self.limit > 0 { Some(self.limit) } else { None }
    }

    /// The rows were read. None: they were deleted meanwhile.
    pub(super) fn with(mut self, mut rows: Vec<LogEntry>) -> Option<Snapshot> {
        rows.extend(self.markers.into_iter().map(LogEntry::Marker));
        rows.sort_by_key(LogEntry::seq);
        rows.truncate(self.limit);
        let is_there = !rows.is_empty() || self.limit == 0 || self.after >= self.snapshot.seq;
        self.snapshot.entries = rows;
        is_there.then_some(self.snapshot)
    }
}
