//! The end of a log inside this process, with the rules of append.lua and sync.lua. What is behind it, the entries
//! themselves, is kept by the backend.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use hubbub_lifecycle::metric::count;
use hubbub_protocol::{DEDUPE_WINDOW, Seq};
use tokio::time::Instant;

use crate::{
    backend::{BackendError, Fence, Placement, Submission, SyncRequest, Unrecorded},
    identity::ContentHash,
    marker::Marker,
    seen::Seen,
    sequencer, wire,
};

/// Latest markers that are kept, for dedupe keys in lost ranges and for readers that have missed some.
const MARKERS: usize = 32;

/// Where a log ends: its last `seq`, its epoch, its latest markers, and the keys of its newest entries.
#[derive(Default)]
pub(crate) struct Head {
    /// Marker of the open epoch; None while no epoch is open.
    open: Option<Marker>,
    seq: Seq,
    markers: VecDeque<Marker>,
    seen: Seen,
}

/// What an append is going to do. It is done when [`Head::advance`] is called.
pub(crate) struct Plan<'a> {
    epoch: Seq,
    /// The `seq` of the first new entry.
    pub(crate) first: Seq,
    /// What to answer.
    pub(crate) placements: Vec<Placement>,
    /// What is to be appended. Their places follow each other.
    pub(crate) new: Vec<&'a Submission>,
}

impl Head {
    /// The end of a log that was found with these markers and its last entry at this `seq`. No epoch is open.
    pub(crate) fn found(markers: impl IntoIterator<Item = Marker>, seq: Seq) -> Self {
        let mut head = Self { seq, ..Self::default() };
        markers.into_iter().for_each(|marker| head.keep(marker));
        head
    }

    /// The last `seq` given out.
    pub(crate) const fn seq(&self) -> Seq {
        self.seq
    }

    /// Base of the open epoch; 0 while none is open.
    pub(crate) fn base(&self) -> Seq {
        self.open.map_or(0, |marker| marker.base)
    }

    /// The latest markers, ascending.
    pub(crate) const fn markers(&self) -> &VecDeque<Marker> {
        &self.markers
    }

    /// Base of the epoch of this `seq`; 0 if it is older than the markers.
    pub(crate) fn epoch_of(&self, seq: Seq) -> Seq {
        sequencer::epoch_of(seq, &self.markers)
    }

    /// Whether the log has this `seq`, in this epoch.
    pub(crate) fn has(&self, seq: Seq, base: Seq) -> bool {
        seq <= self.seq && self.epoch_of(seq) == base
    }

    /// What an append of this batch does. None: the log does not match the fence.
    pub(crate) fn plan<'a>(&mut self, fence: Fence, batch: &'a [Submission]) -> Option<Plan<'a>> {
        let Fence { epoch, last } = fence;
        if self.open.is_none_or(|marker| marker.base != epoch) || last > self.seq {
            return None;
        }
        self.seen.expire();
        let mut plan = Plan {
            epoch,
            first: self.seq + 1,
            placements: Vec::with_capacity(batch.len()),
            new: Vec::with_capacity(batch.len()),
        };
        let (mut next, mut in_batch) = (plan.first, HashMap::<&str, Vec<_>>::new());
        for submission in batch {
            let named = in_batch.get(&*submission.key).map_or(&[][..], Vec::as_slice);
            let placement = self.known(submission, named).unwrap_or(Placement::Appended(next));
            if placement == Placement::Appended(next) {
                in_batch.entry(&submission.key).or_default().push((next, submission.hash));
                plan.new.push(submission);
                next += 1;
            }
            plan.placements.push(placement);
        }
        Some(plan)
    }

    /// What becomes of a submission whose key names an entry of the log, or one of those that the same batch puts there.
    /// None: it is to be appended.
    fn known(&self, submission: &Submission, in_batch: &[(Seq, ContentHash)]) -> Option<Placement> {
        let Submission { key, hash, was, .. } = submission;
        let known = self.seen.of(key).iter().chain(in_batch);
        let mut named = known.filter(|(seq, _)| sequencer::survives(*seq, &self.markers));
        let same = named.clone().find(|(_, said)| said == hash).map(|(seq, _)| Placement::Duplicate(*seq));
        let refused = || named.next_back().filter(|_| *was == 0).map(|(seq, _)| Placement::IdReused(*seq));
        same.or_else(refused)
    }

    /// The log has entries up to here.
    pub(crate) fn reach(&mut self, seq: Seq) {
        self.seq = self.seq.max(seq);
    }

    /// The new entries of the plan are in the log.
    pub(crate) fn advance(&mut self, plan: &Plan<'_>) {
        let until = Instant::now() + DEDUPE_WINDOW;
        for submission in &plan.new {
            self.take(Arc::clone(&submission.key), self.seq + 1, submission.hash, until);
        }
    }

    /// An entry that the log has, and until when its key counts. Call it in the order of the log.
    pub(crate) fn take(&mut self, key: Arc<str>, seq: Seq, hash: ContentHash, until: Instant) {
        self.reach(seq);
        self.seen.insert(key, seq, hash, until);
    }

    /// The marker of the epoch that must be opened for this reader: none is open, or the reader is ahead of the log.
    /// None: the log can be read as it is.
    pub(crate) fn next_marker(&self, request: SyncRequest, now_us: u64) -> Result<Option<Marker>, BackendError> {
        let SyncRequest { after, low, floor, .. } = request;
        let reached = after.max(floor);
        if self.open.is_some() && reached <= self.seq {
            return Ok(None);
        }
        let base = sequencer::open_at(self.seq.max(reached), now_us)
            .ok_or_else(|| BackendError("the clock or the requested seq is out of range".into()))?;
        Ok(Some(Marker { base, cut: self.seq, low: low.unwrap_or(base) }))
    }

    /// This marker is in the log: its epoch is open.
    pub(crate) fn open(&mut self, marker: Marker) {
        self.keep(marker);
        self.seq = marker.base;
        self.open = Some(marker);
    }

    fn keep(&mut self, marker: Marker) {
        self.markers.push_back(marker);
        if self.markers.len() > MARKERS {
            self.markers.pop_front();
        }
    }

    /// Another server process takes over. The last entry that it has is at this `seq`.
    #[cfg(test)]
    pub(crate) fn restart(&mut self, seq: Seq) {
        (self.open, self.seq) = (None, seq);
    }
}

/// What waits for the recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Plan<'_> {
    /// Whether more than allowed would wait for the recorder. Only what is new counts: a re-appended event has been counted
    /// before.
    pub(crate) fn exceeds(&self, bounds: Unrecorded, waiting: Waiting) -> bool {
        let new = self.new.iter().filter(|submission| submission.was == 0);
        let (events, bytes) = new.fold((0, 0), |(events, bytes), new| (events + 1, bytes + count(new.record.len())));
        let exceeds = waiting.events + events > bounds.events || waiting.bytes + bytes > bounds.bytes;
        events > 0 && waiting.events > 0 && exceeds
    }

    /// The payloads that tell of the new entries.
    pub(crate) fn payloads(&self) -> Vec<Bytes> {
        wire::events(self.epoch, self.first, &self.new)
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("seq", &self.seq).field("open", &self.open).finish_non_exhaustive()
    }
}
