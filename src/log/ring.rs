//! The newest part of the log, in memory, with every entry encoded as the frame that clients get.
//!
//! It is the only queue of the server: live fan-out, returning clients, slow clients, history calls and what has to be
//! offered again after Redis lost it all read it. One writer (the relay) appends; readers hold nothing but a cursor.
//! The lock is held for memory operations only, never across an await, and the writer takes it once a batch.

mod entry;
mod marker;
mod window;

use std::{fmt, sync::Arc};

use hubbub_protocol::{ResetReason, RoomId, Seq, UnixMillis};
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;
use window::Window;

pub(crate) use entry::Draft;
pub use entry::{Audience, Entry};
pub use marker::Marker;

/// How much of the log is kept: whichever is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Entries.
    pub messages: usize,
    /// Bytes of frames and what holds them.
    pub bytes: usize,
}

impl Default for Retention {
    /// 100 000 messages, 64 MiB.
    fn default() -> Self {
        Self { messages: 100_000, bytes: 64 * 1024 * 1024 }
    }
}

/// The interval of places in which a reader gets the messages of a room: above `since`, up to `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The room.
    pub room: RoomId,
    /// The place above which the seat begins.
    pub since: Seq,
    /// The last place of the seat; none while it is open.
    pub until: Option<Seq>,
}

impl Seat {
    /// A seat in this room from `since` on.
    pub const fn open(room: RoomId, since: Seq) -> Self {
        Self { room, since, until: None }
    }
}

/// What one call of [`Ring::read`] found.
#[derive(Clone, Debug)]
pub struct Page {
    /// In ascending order of `seq`.
    pub entries: Vec<Arc<Entry>>,
    /// Everything up to here that concerns the reader is in `entries` or was before.
    pub cursor: Seq,
}

/// A page of a room's history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In ascending order of `seq`.
    pub entries: Vec<Arc<Entry>>,
    /// `before` of the next older page, if there is one.
    pub next: Option<Seq>,
    /// The highest place walked when this was read: what is above it may be in the log and not here.
    pub seq: Seq,
}

/// The cursor fell out of the ring: something may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor fell out of the ring")]
pub struct Fallen;

/// What becomes of a cursor that a client brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Read on after the cursor.
    Replay,
    /// It lies above everything known here: sync and ask again; if it stays so, reset.
    Ahead,
    /// Nobody can prove that a replay would be complete.
    Reset(ResetReason),
}

/// The newest part of the log. Shared by reference; one writer, many readers.
pub struct Ring {
    window: RwLock<Window>,
    /// What readers are told: moves once a batch, after the lock is free again.
    tip: watch::Sender<Seq>,
}

impl Ring {
    /// An empty ring.
    pub fn new(retention: Retention) -> Self {
        Self { window: RwLock::new(Window::new(retention)), tip: watch::Sender::new(0) }
    }

    /// The highest place that readers have been told of; 0 before the first. Takes no lock of the ring.
    pub fn last(&self) -> Seq {
        *self.tip.borrow()
    }

    /// Changes when the ring has grown.
    pub fn watch(&self) -> watch::Receiver<Seq> {
        self.tip.subscribe()
    }

    /// Every entry above `after`, in order, at most `max` of them. Costs O(log n + max).
    ///
    /// A cursor of 0 stands for the end of the first fill: where this instance began to be live.
    ///
    /// # Errors
    ///
    /// [`Fallen`] if entries above `after` have been evicted, or are known to be lost for good.
    pub fn run(&self, after: Seq, max: usize) -> Result<Vec<Arc<Entry>>, Fallen> {
        self.window.read().run(after, max)
    }

    /// What concerns one connection above `after` and up to `upto`: messages within its seats, holes and markers, in order
    /// of `seq`; at least one if there is any, then at most `max_bytes` of frames. Entries of other rooms cost nothing.
    ///
    /// The page ends before what a marker above `upto` took: the reader goes on there when it may cross that marker.
    ///
    /// A cursor of 0 stands for the end of the first fill.
    ///
    /// # Errors
    ///
    /// [`Fallen`] if entries above `after` have been evicted, or are known to be lost for good.
    pub fn read(&self, after: Seq, upto: Seq, seats: &[Seat], max_bytes: usize) -> Result<Page, Fallen> {
        self.window.read().read(after, upto, seats, max_bytes)
    }

    /// Whether a client with this cursor can be given exactly what it missed. Costs O(log n + markers).
    ///
    /// On [`Resume::Replay`] the cursor itself is the one to [`read`](Self::read) after, also when it names a place
    /// that the log has lost since.
    pub fn resume(&self, cursor: Seq) -> Resume {
        self.window.read().resume(cursor)
    }

    /// The newest `limit` messages of a room between `after` and `before`, both exclusive, ascending.
    pub fn history(&self, room: &RoomId, before: Option<Seq>, after: Option<Seq>, limit: usize) -> History {
        self.window.read().history(room, before, after, limit)
    }

    /// The highest place walked, which readers may not have been told of yet, and the base of the last marker walked.
    pub(crate) fn walked(&self) -> (Seq, Seq) {
        let window = self.window.read();
        (window.last(), window.epoch())
    }

    /// The highest place walked, and the lowest cursor that what is here can complete if nothing from before `young`
    /// counts; None when the ring is empty.
    pub(crate) fn position(&self, young: UnixMillis) -> (Seq, Option<Seq>) {
        let window = self.window.read();
        (window.last(), window.low(young))
    }

    /// How many entries the retention has room for, as large as those here are; at least one.
    pub(crate) fn capacity(&self) -> usize {
        self.window.read().capacity()
    }

    /// Takes the lock for one batch.
    pub(crate) fn write(&self, now: UnixMillis) -> Writer<'_> {
        Writer { window: self.window.write(), tip: &self.tip, now }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.window.read();
        f.debug_struct("Ring")
            .field("last", &window.last())
            .field("epoch", &window.epoch())
            .field("entries", &window.len())
            .field("rooms", &window.rooms())
            .field("bytes", &window.bytes())
            .finish_non_exhaustive()
    }
}

/// The ring's lock, held for one batch. Readers hear of the batch at [`commit`](Self::commit).
pub(crate) struct Writer<'a> {
    window: RwLockWriteGuard<'a, Window>,
    tip: &'a watch::Sender<Seq>,
    now: UnixMillis,
}

impl Writer<'_> {
    /// The highest place walked, 0 before the first.
    pub(crate) fn last(&self) -> Seq {
        self.window.last()
    }

    /// Appends a message; `seq` must be above [`last`](Self::last).
    pub(crate) fn push_message(&mut self, seq: Seq, room: &str, draft: Draft) {
        self.window.push_message(seq, room, draft, self.now);
    }

    /// Appends a hole: what lies between the last entry and this place is lost to this instance.
    pub(crate) fn push_hole(&mut self, seq: Seq) {
        self.window.push_hole(seq);
    }

    /// Appends a marker and takes out what the log has lost: every entry above its `cut` but those above `keep`, which
    /// were read after the marker was written. Returns them in order.
    ///
    /// Where this instance lags behind what is known to be gone for good, a hole goes in front of the marker.
    pub(crate) fn push_marker(&mut self, marker: Marker, keep: Seq) -> Vec<Arc<Entry>> {
        let (walked, held) = (self.window.last(), self.window.low(0));
        let taken = self.window.take_lost(marker.cut, keep);
        if marker.outruns(walked) {
            self.window.push_hole(marker.base - 1);
        }
        self.window.push_marker(marker, held, walked);
        taken
    }

    /// Takes the open epoch from elsewhere: its marker was trimmed from the log before this ring was filled.
    pub(crate) fn adopt_epoch(&mut self, base: Seq) {
        self.window.adopt_epoch(base);
    }

    /// Frees the lock and tells the readers.
    pub(crate) fn commit(self) {
        let Self { window, tip, now: _ } = self;
        let last = window.last();
        drop(window);
        tip.send_if_modified(|told| std::mem::replace(told, last) != last);
    }

    /// Ends the first fill: readers without a cursor begin here, and all are told.
    pub(crate) fn begin_here(mut self) {
        self.window.begin_here();
        self.commit();
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("last", &self.last()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubbub_protocol::Frame;

    const ALL: usize = usize::MAX;

    fn ring(messages: usize) -> Ring {
        let ring = Ring::new(Retention { messages, bytes: usize::MAX });
        ring.write(0).push_marker(Marker { base: 100, cut: 0, low: 100 }, 0);
        ring
    }

    fn say(ring: &Ring, seq: Seq, room: &str) {
        let draft = Draft { frame: Frame::message(seq, r#"{"id":"m"}"#, 0), was: 0, at: 0 };
        let mut writer = ring.write(0);
        writer.push_message(seq, room, draft);
        writer.commit();
    }

    fn seqs(entries: &[Arc<Entry>]) -> Vec<Seq> {
        entries.iter().map(|entry| entry.seq).collect()
    }

    fn seat(room: &str, since: Seq) -> Seat {
        Seat::open(room.parse().unwrap(), since)
    }

    #[test]
    fn a_run_gives_what_comes_after_and_tells_what_fell_out() {
        let ring = ring(3);
        (101..=105).for_each(|seq| say(&ring, seq, "a"));
        assert_eq!(ring.last(), 105);
        assert_eq!(seqs(&ring.run(102, ALL).unwrap()), [103, 104, 105]);
        assert_eq!(seqs(&ring.run(103, 1).unwrap()), [104]);
        assert_eq!(seqs(&ring.run(105, ALL).unwrap()), [0; 0]);
        assert_eq!(ring.run(101, ALL).unwrap_err(), Fallen);
    }

    #[test]
    fn a_reader_gets_its_rooms_in_order_from_where_it_joined() {
        let ring = ring(ALL);
        for (seq, room) in (101..).zip(["a", "b", "c", "a", "b", "a"]) {
            say(&ring, seq, room);
        }
        let page = ring.read(100, 106, &[seat("a", 0), seat("b", 102)], ALL).unwrap();
        assert_eq!((seqs(&page.entries), page.cursor), (vec![101, 104, 105, 106], 106));
        let page = ring.read(101, 105, &[seat("a", 0), seat("x", 0)], ALL).unwrap();
        assert_eq!((seqs(&page.entries), page.cursor), (vec![104], 105));
        let page = ring.read(100, 106, &[seat("a", 0)], 1).unwrap();
        assert_eq!((seqs(&page.entries), page.cursor), (vec![101], 101));
        let page = ring.read(106, 106, &[seat("a", 0)], 1).unwrap();
        assert_eq!((seqs(&page.entries), page.cursor), (vec![], 106));
    }

    #[test]
    fn a_seat_ends_at_its_last_place() {
        let ring = ring(ALL);
        (101..=106).for_each(|seq| say(&ring, seq, "a"));
        let closed = |since, until| Seat { until: Some(until), ..seat("a", since) };
        let read = |seats: &[Seat]| seqs(&ring.read(100, 106, seats, ALL).unwrap().entries);
        assert_eq!(read(&[closed(101, 103)]), [102, 103]);
        assert_eq!(read(&[closed(101, 103), seat("a", 105)]), [102, 103, 106]);
        assert_eq!(read(&[closed(0, 100), closed(103, 103), closed(106, 200)]), [0; 0]);
    }

    #[test]
    fn a_room_without_entries_is_forgotten() {
        let ring = ring(2);
        (101..=103).for_each(|seq| say(&ring, seq, if seq == 101 { "a" } else { "b" }));
        let window = ring.window.read();
        assert_eq!((window.rooms(), window.len()), (1, 2));
        assert_eq!(window.bytes(), window.run(101, ALL).unwrap().iter().map(|entry| entry.size()).sum::<usize>());
    }

    #[test]
    fn history_pages_backwards() {
        let ring = ring(ALL);
        (101..=110).for_each(|seq| say(&ring, seq, if seq % 2 == 0 { "a" } else { "b" }));
        let page = |before, after, limit| {
            let History { entries, next, .. } = ring.history(&"a".parse().unwrap(), before, after, limit);
            (seqs(&entries), next)
        };
        assert_eq!(page(None, None, 2), (vec![108, 110], Some(108)));
        assert_eq!(page(Some(108), None, 2), (vec![104, 106], Some(104)));
        assert_eq!(page(Some(104), None, 2), (vec![102], None));
        assert_eq!(page(None, Some(104), 2), (vec![108, 110], Some(108)));
        assert_eq!(page(Some(108), Some(104), 9), (vec![106], None));
        assert_eq!(page(Some(102), None, 9), (vec![], None));
    }

    #[test]
    fn a_cursor_is_taken_up_only_if_the_replay_is_complete() {
        let ring = ring(ALL);
        (101..=103).for_each(|seq| say(&ring, seq, "a"));
        let lost = ring.write(0).push_marker(Marker { base: 200, cut: 102, low: 101 }, 103);
        assert_eq!(seqs(&lost), [103]);
        say(&ring, 201, "a");
        for cursor in [100, 101, 102, 103, 150, 200, 201] {
            assert_eq!(ring.resume(cursor), Resume::Replay, "{cursor}");
        }
        assert_eq!(ring.resume(0), Resume::Reset(ResetReason::UnknownCursor));
        assert_eq!(ring.resume(202), Resume::Ahead);
        assert_eq!(ring.resume(50), Resume::Reset(ResetReason::UnknownCursor));
        assert_eq!(seqs(&ring.run(103, ALL).unwrap()), [200, 201]);

        let mut writer = ring.write(0);
        writer.push_hole(299);
        writer.commit();
        say(&ring, 300, "a");
        assert_eq!(ring.resume(201), Resume::Reset(ResetReason::Hole));
        assert_eq!(ring.resume(299), Resume::Replay);
    }

    #[test]
    fn a_reader_does_not_pass_what_a_marker_took_before_it_crosses_that_marker() {
        let ring = ring(ALL);
        (101..=103).for_each(|seq| say(&ring, seq, "a"));
        drop(ring.write(0).push_marker(Marker { base: 200, cut: 101, low: 100 }, 103));
        let rooms = [seat("a", 0)];
        for (after, upto, seqs_read, cursor) in
            [(100, 103, vec![101], 101), (101, 103, vec![], 101), (102, 103, vec![], 102), (102, 200, vec![200], 200)]
        {
            let page = ring.read(after, upto, &rooms, ALL).unwrap();
            assert_eq!((seqs(&page.entries), page.cursor), (seqs_read, cursor), "after {after} up to {upto}");
        }
    }

    #[test]
    fn an_opener_promises_what_it_holds_and_no_more() {
        let ring = ring(ALL);
        (101..=103).for_each(|seq| say(&ring, seq, "a"));
        assert_eq!(ring.position(0), (103, Some(100)));
        drop(ring.write(0).push_marker(Marker { base: 200, cut: 103, low: 5 }, 0));
        assert_eq!(ring.position(0), (200, Some(100)));
        drop(ring.write(0).push_marker(Marker { base: 300, cut: 200, low: 300 }, 0));
        assert_eq!(ring.position(0), (300, Some(300)));
        assert_eq!(Ring::new(Retention::default()).position(0), (0, None));
    }

    #[test]
    fn what_is_too_old_to_be_offered_is_not_promised() {
        let ring = ring(ALL);
        for (seq, at) in [(101, 10), (102, 30), (103, 20), (104, 40)] {
            let draft = Draft { frame: Frame::message(seq, r#"{"id":"m"}"#, 0), was: 0, at };
            ring.write(35).push_message(seq, "a", draft);
        }
        for (young, low) in [(0, 100), (10, 100), (11, 101), (30, 101), (31, 103), (35, 103), (36, 104)] {
            assert_eq!(ring.position(young), (104, Some(low)), "{young}");
        }
    }

    #[test]
    fn what_was_promised_over_one_loss_of_everything_is_promised_over_the_next() {
        let ring = ring(ALL);
        let say = |seq, was| {
            let draft = Draft { frame: Frame::message(seq, r#"{"id":"m"}"#, was), was, at: 1000 };
            ring.write(1000).push_message(seq, "a", draft);
        };
        say(101, 0);
        ring.write(1000).push_marker(Marker { base: 200, cut: 0, low: 100 }, 101);
        say(201, 101);
        assert_eq!(ring.position(500), (201, Some(100)));
    }

    #[test]
    fn an_instance_behind_what_is_gone_for_good_resets_its_connections() {
        let ring = ring(ALL);
        say(&ring, 101, "a");
        ring.write(0).push_marker(Marker { base: 200, cut: 101, low: 150 }, 0);
        let entries = ring.run(101, ALL).unwrap();
        let audiences: Vec<_> = entries.iter().map(|entry| (entry.seq, &entry.audience)).collect();
        assert_eq!(audiences, [(199, &Audience::Everyone), (200, &Audience::Nobody)]);
    }

    #[test]
    fn a_reader_without_a_cursor_begins_behind_the_first_fill() {
        let ring = ring(ALL);
        say(&ring, 101, "a");
        ring.write(0).begin_here();
        say(&ring, 102, "a");
        assert_eq!(seqs(&ring.run(0, ALL).unwrap()), [102]);
    }

    #[tokio::test]
    async fn readers_hear_of_a_batch_at_its_end() {
        let ring = ring(ALL);
        let mut tip = ring.watch();
        let draft = Draft { frame: Frame::message(101, "{}", 0), was: 0, at: 0 };
        let mut writer = ring.write(0);
        writer.push_message(101, "a", draft);
        assert!(!tip.has_changed().unwrap());
        writer.commit();
        assert_eq!(*tip.wait_for(|seq| *seq == 101).await.unwrap(), 101);
    }
}
