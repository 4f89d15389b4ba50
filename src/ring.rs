//! The newest part of the log, in memory, with every entry encoded as the frame that clients get.
//!
//! It is the only queue of the server: live fan-out, returning clients, slow clients, history calls and what has to be
//! offered again after Redis lost it all read it. One writer (the relay) appends; readers hold nothing but a cursor.
//! The lock is held for memory operations only, never across an await, and the writer takes it once a batch.

mod entry;
mod marker;
mod window;

use std::{fmt, sync::Arc};

use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;

pub(crate) use entry::Draft;
pub use entry::{Audience, Entry};
pub use marker::Marker;
use window::Window;

use crate::protocol::{ResetReason, RoomId, Seq, UnixMillis};

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

/// A room that a reader hears, and from where on.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The room.
    pub room: RoomId,
    /// Only messages above this.
    pub since: Seq,
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

    /// What concerns one connection above `after` and up to `upto`: messages of its rooms, holes and markers, in order
    /// of `seq`; at least one if there is any, then at most `max_bytes` of frames. Entries of other rooms cost nothing.
    ///
    /// A cursor of 0 stands for the end of the first fill.
    ///
    /// # Errors
    ///
    /// [`Fallen`] if entries above `after` have been evicted, or are known to be lost for good.
    pub fn read(&self, after: Seq, upto: Seq, rooms: &[Membership], max_bytes: usize) -> Result<Page, Fallen> {
        self.window.read().read(after, upto, rooms, max_bytes)
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
            .finish()
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
        let (last, held) = (self.window.last(), self.window.low(0));
        let lost = self.window.take_lost(marker.cut, keep);
        if last != 0 && last < marker.low && marker.low < marker.base {
            self.window.push_hole(marker.base - 1);
        }
        self.window.push_marker(marker, held);
        lost
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
