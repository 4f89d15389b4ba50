//! What waits for its place in the log: new messages, and those the log has lost.
//!
//! A message of this instance is in exactly one place: waiting here, acked here until the channel has shown it, or in
//! the ring. So a marker that cuts the log knows where to look for what has to be offered again.

mod acked;
mod offer;

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use acked::Acked;
use hubbub_protocol::{DEDUPE_WINDOW, Seq, UnixMillis};
use offer::Offer;
use tokio::time::Instant;

use super::Overloaded;
use crate::{
    backend::{Appended, Submission},
    ring::{Entry, Marker},
    sequencer,
};

/// Messages that one append carries.
const BATCH_MESSAGES: usize = 256;
/// Bytes of records that one append carries, unless its first message alone is larger.
const BATCH_BYTES: usize = 256 * 1024;
/// Markers that an append in flight is checked against.
const MARKERS: usize = 64;

/// What runs when a message has its place.
pub(crate) type Done = Box<dyn FnOnce(Appended) + Send>;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// How long the instances wait at most to see whether another one offers again what all of them hold.
    pub(crate) jitter: Duration,
}

struct Pending {
    submission: Submission,
    at: UnixMillis,
    done: Done,
}

/// What one append carries, and where it came from.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) submissions: Vec<Submission>,
    /// The former places of what is offered again, and when it was accepted; empty for new messages.
    places: Vec<(Seq, UnixMillis)>,
}

impl Batch {
    pub(crate) const fn is_offer(&self) -> bool {
        !self.places.is_empty()
    }
}

/// What the publisher does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Append this.
    Append(Batch),
    /// Another instance may be offering the same: look again then.
    Wait(Instant),
    /// Nothing waits.
    Idle,
}

pub(crate) struct Outbox {
    bounds: Bounds,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// In the order in which the log had them, but for those in front that a later marker took.
    offers: VecDeque<Offer>,
    /// Places of the offers that are not back yet; the others are skipped when they come up.
    missing: HashSet<Seq>,
    in_flight: HashSet<Seq>,
    hold_until: Instant,
    /// Has a place that the channel has not shown yet.
    acked: Acked,
    walked: Seq,
    markers: VecDeque<Marker>,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            pending: VecDeque::new(),
            pending_bytes: 0,
            offers: VecDeque::new(),
            missing: HashSet::new(),
            in_flight: HashSet::new(),
            hold_until: Instant::now(),
            acked: Acked::default(),
            walked: 0,
            markers: VecDeque::new(),
        }
    }

    /// New messages that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.pending.len()
    }

    /// Messages that wait, new or lost.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len() + self.missing.len()
    }

    /// Gives up what waits. Nobody is told.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.bounds);
    }

    /// What has to be offered again.
    #[cfg(test)]
    pub(crate) fn missing(&self) -> impl Iterator<Item = Submission> {
        let missing = self.offers.iter().filter(|offer| self.missing.contains(&offer.place));
        missing.chain(self.acked.iter()).filter_map(Offer::submission)
    }

    /// Queues a new message.
    pub(crate) fn queue(&mut self, submission: Submission, at: UnixMillis, done: Done) -> Result<(), Overloaded> {
        let bytes = self.pending_bytes + submission.record.len();
        if self.pending.len() >= self.bounds.messages || bytes > self.bounds.bytes {
            return Err(Overloaded { retry_after_ms: 1000 });
        }
        self.pending_bytes = bytes;
        self.pending.push_back(Pending { submission, at, done });
        Ok(())
    }

    /// What to append next. It stays here until [`placed`](Self::placed): a marker walked meanwhile may put older
    /// messages in front of it.
    pub(crate) fn next(&mut self, now: UnixMillis) -> Next {
        let oldest = now.saturating_sub(u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap_or(u64::MAX));
        self.drop_settled(oldest);
        if !self.offers.is_empty() {
            return if Instant::now() < self.hold_until {
                Next::Wait(self.hold_until)
            } else {
                self.next_offers(oldest)
            };
        }
        if self.pending.is_empty() || self.is_full_of_acked() {
            return Next::Idle;
        }
        let mut bytes = 0;
        let fits = |pending: &&Pending| {
            bytes += pending.submission.record.len();
            bytes <= BATCH_BYTES || bytes == pending.submission.record.len()
        };
        let batch = self.pending.iter().take(BATCH_MESSAGES).take_while(fits);
        Next::Append(Batch { submissions: batch.map(|p| p.submission.clone()).collect(), places: Vec::new() })
    }

    /// Acked messages that the channel does not show are held too: a deaf subscriber must not pile them up.
    fn is_full_of_acked(&self) -> bool {
        self.acked.len() >= self.bounds.messages || self.acked.bytes() >= self.bounds.bytes
    }

    /// Forgets offers in front that are back, or too old to be recognised as repetitions.
    fn drop_settled(&mut self, oldest: UnixMillis) {
        while let Some(offer) = self.offers.front() {
            if self.missing.contains(&offer.place) && offer.at >= oldest {
                return;
            }
            self.missing.remove(&offer.place);
            self.offers.pop_front();
        }
    }

    /// What is too old stays until it comes to the front: after a second loss it may stand behind what is younger.
    fn next_offers(&mut self, oldest: UnixMillis) -> Next {
        let (mut batch, mut bytes) = (Batch { submissions: Vec::new(), places: Vec::new() }, 0);
        let wanted = |offer: &&Offer| self.missing.contains(&offer.place) && offer.at >= oldest;
        for offer in self.offers.iter().filter(wanted) {
            let Some(submission) = offer.submission() else {
                // no record of ours: nothing to offer, look at the rest
                self.missing.remove(&offer.place);
                return Next::Wait(Instant::now());
            };
            bytes += submission.record.len();
            if batch.places.len() >= BATCH_MESSAGES || (bytes > BATCH_BYTES && batch.is_offer()) {
                break;
            }
            batch.submissions.push(submission);
            batch.places.push((offer.place, offer.at));
        }
        self.in_flight = batch.places.iter().map(|(place, _)| *place).collect();
        Next::Append(batch)
    }

    /// Ends a batch. Returns who has to be told of which place; None if no place is one.
    ///
    /// A place that a marker walked meanwhile has taken again is none: its message and all behind it stay queued.
    pub(crate) fn placed(&mut self, batch: Batch, receipt: &[Appended]) -> Option<Vec<(Done, Appended)>> {
        self.in_flight.clear();
        let survivors = receipt.iter().take_while(|a| sequencer::survives(a.seq, &self.markers)).count();
        if batch.is_offer() {
            let settled = batch.places.into_iter().zip(batch.submissions).zip(receipt).take(survivors);
            for (((place, at), submission), appended) in settled {
                self.missing.remove(&place);
                self.hold(appended.seq, submission, at);
            }
            return (survivors > 0).then(Vec::new);
        }
        let mut told = Vec::with_capacity(survivors);
        for appended in receipt.iter().take(survivors) {
            let Some(Pending { submission, at, done }) = self.pending.pop_front() else { break };
            self.pending_bytes -= submission.record.len();
            self.hold(appended.seq, submission, at);
            told.push((done, *appended));
        }
        for (pending, taken) in self.pending.iter_mut().zip(receipt.iter().skip(survivors)) {
            // other instances may have shown it there
            pending.submission.was = taken.seq;
        }
        (survivors > 0).then_some(told)
    }

    /// The append did not end well; its batch is still here.
    pub(crate) fn failed(&mut self) {
        self.in_flight.clear();
    }

    /// Keeps a message until the channel has shown it.
    fn hold(&mut self, seq: Seq, submission: Submission, at: UnixMillis) {
        if seq > self.walked {
            self.acked.hold(Offer::acked(seq, at, submission));
        }
    }

    /// The channel or the log has shown everything up to here. Says whether the publisher had to wait for that.
    pub(crate) fn walked(&mut self, seq: Seq) -> bool {
        let full = self.is_full_of_acked();
        self.walked = seq;
        self.acked.shown(seq);
        full && !self.is_full_of_acked()
    }

    /// A message is back that was at this place. If another instance brought it back, it may bring the rest too.
    pub(crate) fn returned(&mut self, was: Seq) {
        if self.missing.remove(&was) && !self.in_flight.contains(&was) {
            self.hold_until = Instant::now() + self.bounds.jitter.mul_f64(rand::random_range(0.5..1.0));
        }
    }

    /// A marker was walked that took these entries. They go to the front, before what an earlier marker took.
    pub(crate) fn lost(&mut self, marker: Marker, entries: Vec<Arc<Entry>>) -> usize {
        let acked = self.acked.take_above(marker.cut);
        let lost: Vec<_> = entries.into_iter().filter_map(Offer::lost).chain(acked).collect();
        let count = lost.len();
        for offer in lost.into_iter().rev() {
            self.missing.insert(offer.place);
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

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("pending", &self.pending.len())
            .field("missing", &self.missing.len())
            .field("acked", &self.acked.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_000_000;

    fn outbox() -> Outbox {
        Outbox::new(Bounds { messages: 1000, bytes: 1 << 20, jitter: Duration::ZERO })
    }

    fn submission(id: u64, size: usize) -> Submission {
        let record = format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}},"at":1,"body":"{}"}}"#, "x".repeat(size));
        Submission { key: format!("u:{id}").into(), record: record.into(), was: 0 }
    }

    /// Messages `1..=count` that have the places `101..`, none of them shown by the channel.
    fn acked(count: u64, at: UnixMillis) -> Outbox {
        let mut outbox = outbox();
        for id in 1..=count {
            outbox.queue(submission(id, 0), at, Box::new(|_| ())).unwrap();
        }
        let batch = batch(&mut outbox);
        let receipt: Vec<_> = (1..=count).map(|id| Appended { seq: 100 + id, duplicate: false }).collect();
        assert_eq!(outbox.placed(batch, &receipt).unwrap().len(), receipt.len());
        outbox
    }

    fn batch(outbox: &mut Outbox) -> Batch {
        match outbox.next(NOW) {
            Next::Append(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    fn former(batch: &Batch) -> Vec<Seq> {
        batch.submissions.iter().map(|submission| submission.was).collect()
    }

    const LOST: Marker = Marker { base: 1000, cut: 100, low: 100 };

    #[test]
    fn a_batch_has_bounds_but_takes_a_large_message_alone() {
        let mut outbox = outbox();
        for (id, size) in [(1, 200 * 1024), (2, 100 * 1024), (3, 300 * 1024)] {
            outbox.queue(submission(id, size), NOW, Box::new(|_| ())).unwrap();
        }
        assert_eq!(batch(&mut outbox).submissions.len(), 1);
        assert!(outbox.queue(submission(4, 500 * 1024), NOW, Box::new(|_| ())).is_err(), "too many bytes");
        for _ in 4..=1000 {
            outbox.queue(submission(4, 0), NOW, Box::new(|_| ())).unwrap();
        }
        assert!(outbox.queue(submission(4, 0), NOW, Box::new(|_| ())).is_err(), "too many messages");
    }

    #[test]
    fn what_was_acked_and_lost_goes_before_anything_new() {
        let mut outbox = acked(3, NOW);
        outbox.queue(submission(9, 0), NOW, Box::new(|_| ())).unwrap();
        assert_eq!(outbox.lost(Marker { cut: 101, ..LOST }, Vec::new()), 2);
        assert_eq!(former(&batch(&mut outbox)), [102, 103]);
    }

    #[test]
    fn what_another_instance_has_brought_back_is_not_offered_again() {
        let mut outbox = acked(3, NOW);
        outbox.lost(LOST, Vec::new());
        outbox.returned(101);
        outbox.returned(103);
        assert_eq!(former(&batch(&mut outbox)), [102]);
        outbox.failed();
        outbox.returned(102);
        assert!(matches!(outbox.next(NOW), Next::Idle));
        assert_eq!(outbox.waiting(), 0);
    }

    #[test]
    fn what_is_older_than_the_dedupe_window_is_not_offered() {
        let window = u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap();
        let mut outbox = acked(1, NOW - window - 1);
        outbox.lost(LOST, Vec::new());
        assert!(matches!(outbox.next(NOW), Next::Idle));
    }

    #[test]
    fn what_is_too_old_does_not_ride_along_behind_what_is_younger() {
        let window = u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap();
        let mut outbox = acked(1, NOW - window - 1);
        let young = Submission { was: 0, ..submission(2, 0) };
        outbox.queue(young, NOW, Box::new(|_| ())).unwrap();
        let in_flight = batch(&mut outbox);
        outbox.lost(LOST, Vec::new());
        outbox.placed(in_flight, &[Appended { seq: 1001, duplicate: false }]);
        outbox.lost(Marker { base: 2000, cut: 1000, low: 100 }, Vec::new());
        assert_eq!(former(&batch(&mut outbox)), [1001]);
    }

    #[test]
    fn what_is_acked_twice_is_held_once() {
        let mut outbox = outbox();
        let (first, again) = (submission(1, 0), submission(1, 1000));
        for submission in [first.clone(), again] {
            outbox.queue(submission, NOW, Box::new(|_| ())).unwrap();
        }
        let in_flight = batch(&mut outbox);
        let receipt = [false, true].map(|duplicate| Appended { seq: 101, duplicate });
        assert_eq!(outbox.placed(in_flight, &receipt).unwrap().len(), 2);
        assert_eq!((outbox.acked.len(), outbox.acked.bytes()), (1, first.record.len()));
        outbox.walked(101);
        assert_eq!((outbox.acked.len(), outbox.acked.bytes()), (0, 0));
    }

    #[test]
    fn what_the_channel_does_not_show_is_bounded_in_bytes_too() {
        let mut outbox = outbox();
        let mut seq = 100;
        while let Next::Append(batch) = {
            outbox.queue(submission(seq, 100 * 1024), NOW, Box::new(|_| ())).unwrap();
            outbox.next(NOW)
        } {
            seq += 1;
            outbox.placed(batch, &[Appended { seq, duplicate: false }]);
        }
        assert_eq!((seq, outbox.backlog()), (111, 1), "11 of 100 KiB reach the bound of 1 MiB");
        assert!(outbox.walked(105), "the publisher has waited for that");
        assert!(matches!(outbox.next(NOW), Next::Append(_)));
    }

    #[test]
    fn a_place_that_a_marker_took_while_the_reply_was_on_its_way_is_none() {
        let mut outbox = outbox();
        for id in 1..=2 {
            outbox.queue(submission(id, 0), NOW, Box::new(|_| ())).unwrap();
        }
        let in_flight = batch(&mut outbox);
        outbox.lost(Marker { cut: 101, ..LOST }, Vec::new());
        let receipt = [101, 102].map(|seq| Appended { seq, duplicate: false });
        assert_eq!(outbox.placed(in_flight, &receipt).unwrap().len(), 1);
        assert_eq!(former(&batch(&mut outbox)), [102]);
    }

    #[test]
    fn what_is_lost_twice_goes_behind_what_was_lost_later() {
        let mut outbox = acked(3, NOW);
        outbox.lost(LOST, Vec::new());
        let in_flight = batch(&mut outbox);
        outbox.placed(in_flight, &[Appended { seq: 1001, duplicate: false }]);
        outbox.lost(Marker { base: 2000, cut: 1000, low: 100 }, Vec::new());
        assert_eq!(former(&batch(&mut outbox)), [1001, 102, 103]);
    }
}
