//! What the queue's lock protects.
//!
//! A message of this instance is in exactly one place: waiting here, appending here, unconfirmed here, or in the
//! ring. So when a marker
//! cuts the log, every message that must be appended again is found in one of these.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
};

use hubbub_lifecycle::clock::{millis, steady_millis};
use hubbub_protocol::{DEDUPE_WINDOW, Seq};
use tokio::time::Instant;

use super::{
    AppendBatch, Bounds, OnPlaced, Origin,
    offer::Offer,
    unconfirmed::Unconfirmed,
    waiting::{Pending, Waiting},
};
use crate::{
    backend::{Placement, Submission},
    marker::Marker,
    relay::Overloaded,
    ring::Entry,
    sequencer,
};

/// Upper bound for the messages of one append.
const BATCH_MESSAGES: usize = 256;
/// Upper bound for the bytes of records of one append. A single larger message goes alone.
const BATCH_BYTES: usize = 256 * 1024;
/// Latest markers that the reply to an append is checked against.
const MARKERS: usize = 64;

/// What to append next, as it stands in the queue.
pub(super) enum Chosen {
    New(Vec<Submission>),
    Lost(Vec<Offer>),
    Wait(Instant),
    Idle,
}

pub(super) struct Contents {
    bounds: Bounds,
    waiting: Waiting,
    /// New messages whose append is under way, or has failed and is repeated.
    appending: VecDeque<Pending>,
    /// Lost messages, to be appended again. Those of a later loss are in front of those of an earlier one; within a
    /// loss they have the order of the log.
    offers: VecDeque<Offer>,
    /// The former `seq` of each offer that is not in the log again. The other offers are skipped.
    missing: HashSet<Seq>,
    /// The former `seq` of each offer in the append under way.
    in_flight: HashSet<Seq>,
    /// No offer is appended before this time.
    hold_until: Instant,
    unconfirmed: Unconfirmed,
    markers: VecDeque<Marker>,
}

impl Contents {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: Waiting::new(bounds),
            appending: VecDeque::new(),
            offers: VecDeque::new(),
            missing: HashSet::new(),
            in_flight: HashSet::new(),
            hold_until: Instant::now(),
            unconfirmed: Unconfirmed::default(),
            markers: VecDeque::new(),
        }
    }

    pub(super) fn new_count(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn total_count(&self) -> usize {
        self.new_count() + self.missing.len()
    }

    /// Returns its contents and is empty afterwards.
    pub(super) fn clear(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.bounds))
    }

    #[cfg(test)]
    pub(super) fn offers(&self) -> impl Iterator<Item = Submission> {
        let missing = self.offers.iter().filter(|offer| self.missing.contains(&offer.seq()));
        missing.cloned().chain(self.unconfirmed.iter()).filter_map(|offer| offer.submission())
    }

    pub(super) fn push(&mut self, pending: Pending) -> Result<(), Overloaded> {
        self.waiting.push(pending)
    }

    /// What to append next. The messages stay here until [`settle`](Self::settle): an epoch that opens meanwhile may put
    /// older messages in front of them.
    pub(super) fn next(&mut self, now: u64) -> Chosen {
        let oldest = now.saturating_sub(millis(DEDUPE_WINDOW));
        self.drop_settled_offers(oldest);
        if !self.offers.is_empty() {
            return if Instant::now() < self.hold_until {
                Chosen::Wait(self.hold_until)
            } else {
                Chosen::Lost(self.next_offers(oldest))
            };
        }
        if self.new_count() == 0 || self.is_full_of_unconfirmed() {
            return Chosen::Idle;
        }
        if self.appending.is_empty() {
            self.appending = self.waiting.take(BATCH_MESSAGES, BATCH_BYTES);
        }
        Chosen::New(self.appending.iter().map(|pending| pending.submission.clone()).collect())
    }

    /// Unconfirmed messages take memory too: they must not grow without bound while the channel delivers nothing.
    fn is_full_of_unconfirmed(&self) -> bool {
        self.unconfirmed.len() >= self.bounds.messages || self.unconfirmed.bytes() >= self.bounds.bytes
    }

    /// Drops offers in front that are in the log again, or so old that the log would not recognise a duplicate.
    fn drop_settled_offers(&mut self, oldest: u64) {
        while let Some(offer) = self.offers.front() {
            if self.missing.contains(&offer.seq()) && offer.placed() >= oldest {
                return;
            }
            self.missing.remove(&offer.seq());
            self.offers.pop_front();
        }
    }

    /// An offer that is too old is skipped, and dropped when it comes to the front: after a second loss it may be
    /// behind younger ones.
    fn next_offers(&mut self, oldest: u64) -> Vec<Offer> {
        let (mut offers, mut bytes) = (Vec::new(), 0);
        let wanted = |offer: &&Offer| self.missing.contains(&offer.seq()) && offer.placed() >= oldest;
        for offer in self.offers.iter().filter(wanted) {
            bytes += offer.size();
            if offers.len() >= BATCH_MESSAGES || (bytes > BATCH_BYTES && !offers.is_empty()) {
                break;
            }
            offers.push(offer.clone());
        }
        self.in_flight = offers.iter().map(Offer::seq).collect();
        offers
    }

    /// These offers can never be appended.
    pub(super) fn give_up(&mut self, unreadable: &[Seq]) {
        for seq in unreadable {
            self.missing.remove(seq);
            self.in_flight.remove(seq);
        }
    }

    /// Ends a batch. Returns the callbacks to run, with the placement for each; None if no placement is valid.
    ///
    /// A placement is not valid if an epoch has opened meanwhile and cut off its `seq`. Its message and all after it
    /// stay queued.
    pub(super) fn settle(
        &mut self,
        batch: AppendBatch,
        placements: &[Placement],
    ) -> Option<Vec<(OnPlaced, Placement)>> {
        self.in_flight.clear();
        let now = steady_millis();
        let valid = placements.iter().take_while(|p| sequencer::survives(p.seq(), &self.markers)).count();
        let (valid, lost) = placements.split_at_checked(valid)?;
        let mut settled = Vec::new();
        match batch.origin {
            Origin::New => {
                for placement in valid {
                    let Some(pending) = self.appending.pop_front() else { break };
                    self.waiting.release(&pending);
                    self.unconfirmed.insert(*placement, pending.submission, now);
                    settled.push((pending.on_placed, *placement));
                }
                for (pending, placement) in self.appending.iter_mut().zip(lost) {
                    if !matches!(placement, Placement::IdReused(_)) {
                        // other instances may have sent it to clients with this seq
                        pending.submission = pending.submission.clone().lost_at(placement.seq());
                    }
                }
            }
            Origin::Lost => {
                for (submission, placement) in batch.submissions.into_iter().zip(valid) {
                    self.missing.remove(&submission.was);
                    self.unconfirmed.insert(*placement, submission, now);
                }
            }
        }
        (!valid.is_empty()).then_some(settled)
    }

    /// The append failed or its result is unknown. The messages stay queued.
    pub(super) fn append_failed(&mut self) {
        self.in_flight.clear();
    }

    /// The ring has applied everything up to `seq`. True: there is room for unconfirmed messages again.
    pub(super) fn confirm(&mut self, seq: Seq) -> bool {
        let full = self.is_full_of_unconfirmed();
        self.unconfirmed.confirm(seq);
        full && !self.is_full_of_unconfirmed()
    }

    /// A re-appended message is in the ring. If another instance appended it, that one may append the rest too: wait
    /// for that.
    pub(super) fn reappended(&mut self, was: Seq) {
        if self.missing.remove(&was) && !self.in_flight.contains(&was) {
            self.hold_until = Instant::now() + self.bounds.jitter.mul_f64(rand::random_range(0.5..1.0));
        }
    }

    /// An epoch has opened, and the log has lost these entries of the ring. Queues them and the lost unconfirmed
    /// messages, in front of those lost before earlier epochs. Returns their number.
    pub(super) fn requeue_lost(&mut self, marker: Marker, entries: Vec<Arc<Entry>>) -> usize {
        let unconfirmed = self.unconfirmed.take_above(marker.cut);
        let lost: Vec<_> = entries.into_iter().filter_map(Offer::from_ring).chain(unconfirmed).collect();
        let count = lost.len();
        for offer in lost.into_iter().rev() {
            self.missing.insert(offer.seq());
            self.offers.push_front(offer);
        }
        if count > 0 {
            self.hold_until = Instant::now() + self.bounds.jitter.mul_f64(rand::random_range(0.0..1.0));
        }
        self.markers.push_back(marker);
        if self.markers.len() > MARKERS {
            self.markers.pop_front();
        }
        count
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishQueue")
            .field("new", &self.new_count())
            .field("missing", &self.missing.len())
            .field("unconfirmed", &self.unconfirmed.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
