//! The newest part of the log in memory, with every entry encoded as the frame that clients get.
//!
//! It is the only queue between the log and the clients: live fan-out, reconnected clients, slow clients and history
//! requests read it, and lost messages are appended to the log again from it. One writer (the relay's `RingWriter`)
//! appends; readers keep nothing but a cursor.
//!
//! The lock is held for memory operations only, never across an await. The writer takes it once a batch, after it has
//! parsed and encoded everything (`Draft`).

mod draft;
mod entry;
mod told;
mod window;

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use hubbub_lifecycle::clock::steady_millis;
use hubbub_protocol::{DEDUPE_WINDOW, ResetReason, RoomId, Seq};
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;
use window::Window;

pub(crate) use draft::{Draft, Hole, NewEvent};
pub use entry::{Audience, Entry};
pub use told::{Change, Rights, Rules};

use crate::backend::LogEntry;

/// An entry counts as recoverable until this long before the end of the dedupe window. The margin covers the time
/// until it is appended again, and instances that received it at different times.
const REOFFER_MARGIN_MS: u64 = 10_000;

/// Upper bounds for the ring, and for the log behind it. Whichever is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Entries: messages, markers and holes.
    pub messages: usize,
    /// Bytes of frames, with an estimate of the memory for each entry.
    pub bytes: usize,
}

impl Default for Retention {
    /// 100 000 messages, 64 MiB.
    fn default() -> Self {
        Self { messages: 100_000, bytes: 64 * 1024 * 1024 }
    }
}

/// The interval of the log in which a reader gets the messages of a room: above `since`, up to `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The room.
    pub room: RoomId,
    /// The seat begins above this `seq`.
    pub since: Seq,
    /// The last `seq` of the seat; [`Seq::MAX`] while it is open.
    pub until: Seq,
}

impl Seat {
    /// A seat in this room from `since` on.
    pub const fn open(room: RoomId, since: Seq) -> Self {
        Self { room, since, until: Seq::MAX }
    }

    /// Whether it has no end yet.
    pub const fn is_open(&self) -> bool {
        self.until == Seq::MAX
    }
}

/// The result of [`Ring::read`].
#[derive(Clone, Debug)]
pub struct Page {
    /// In ascending order of `seq`.
    pub entries: Vec<Arc<Entry>>,
    /// Where the next call goes on: everything up to here that concerns the reader is in `entries` or was in earlier
    /// pages.
    pub cursor: Seq,
}

/// A page of a room's history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In ascending order of `seq`.
    pub entries: Vec<Arc<Entry>>,
    /// `before` of the next older page, if there is one.
    pub next: Option<Seq>,
    /// The last `seq` applied when this was read. The log may have more.
    pub seq: Seq,
}

/// The newest messages of a room, for a reader that has the older ones from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// In ascending order of `seq`.
    pub entries: Vec<Arc<Entry>>,
    /// The ring has everything above this `seq`.
    pub complete_above: Seq,
    /// The lowest `cut` of the markers in the ring. A message that was appended again has its place above it.
    pub lowest_cut: Option<Seq>,
    /// The last `seq` applied when this was read; 0 before the first.
    pub seq: Seq,
}

/// The cursor fell out of the ring: something may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor fell out of the ring")]
pub struct Fallen;

/// Whether a client can go on from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorCheck {
    /// Yes: read on after the cursor.
    Replay,
    /// It is above everything applied here. Sync the relay and check again; if it stays so, reset the client.
    Ahead,
    /// No: a replay could be incomplete.
    Reset(ResetReason),
}

/// The newest part of the log. Shared by reference; one writer, many readers.
pub struct Ring {
    window: RwLock<Window>,
    /// The last `seq` that readers know of. Moves once a batch, before the lock is free: a cursor that
    /// [`check_cursor`](Self::check_cursor) accepts is never above it.
    tip: watch::Sender<Seq>,
}

impl Ring {
    /// An empty ring.
    pub fn new(retention: Retention) -> Self {
        Self { window: RwLock::new(Window::new(retention)), tip: watch::Sender::new(0) }
    }

    /// The last `seq` that readers know of; 0 before the first. Does not take the lock.
    pub fn last(&self) -> Seq {
        *self.tip.borrow()
    }

    /// Changes when the ring has grown.
    pub fn watch(&self) -> watch::Receiver<Seq> {
        self.tip.subscribe()
    }

    /// Every entry above `after`, in order, at most `max` of them. Costs O(log n + max).
    ///
    /// A cursor of 0 means the end of the initial sync, where this instance became live.
    ///
    /// # Errors
    ///
    /// [`Fallen`] if entries above `after` have been evicted, or are known to be lost for good.
    pub fn run(&self, after: Seq, max: usize) -> Result<Vec<Arc<Entry>>, Fallen> {
        self.window.read().run(after, max)
    }

    /// The entries above `after` and up to `upto` that concern one connection: messages within its seats, holes and
    /// markers, in order of `seq`. At most `max_bytes` of frames, but at least one entry if there is any. Entries of other
    /// rooms cost nothing.
    ///
    /// The page ends before the entries that a marker above `upto` has cut off: the reader goes on from there when it
    /// may cross that marker.
    ///
    /// A cursor of 0 means the end of the initial sync.
    ///
    /// # Errors
    ///
    /// [`Fallen`] if entries above `after` have been evicted, or are known to be lost for good.
    pub fn read<'a>(
        &self,
        after: Seq,
        upto: Seq,
        seats: impl IntoIterator<Item = &'a Seat>,
        max_bytes: usize,
    ) -> Result<Page, Fallen> {
        self.window.read().read(after, upto, seats, max_bytes)
    }

    /// Whether a client with this cursor can get exactly what it missed. Costs O(log n + markers).
    ///
    /// After [`CursorCheck::Replay`] pass the same cursor to [`read`](Self::read), even if the log has lost that `seq`.
    pub fn check_cursor(&self, cursor: Seq) -> CursorCheck {
        self.window.read().check_cursor(cursor)
    }

    /// The newest `limit` messages of a room between `after` and `before`, both exclusive, ascending.
    pub fn history(&self, room: &RoomId, before: Option<Seq>, after: Option<Seq>, limit: usize) -> History {
        self.window.read().history(room, before, after, limit)
    }

    /// The messages of a room above a `seq`.
    pub fn recent(&self, room: &RoomId, above: Seq) -> Recent {
        self.window.read().recent(room, above)
    }

    /// The last `seq` applied, which readers may not know of yet, and the base of the last marker applied.
    pub(crate) fn applied(&self) -> (Seq, Seq) {
        let window = self.window.read();
        (window.last(), window.epoch())
    }

    /// The last `seq` applied, and the lowest cursor after which the ring has everything and can append it again. None
    /// when the ring is empty.
    pub(crate) fn recoverable(&self) -> (Seq, Option<Seq>) {
        let window = u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap_or(u64::MAX);
        self.bounds(steady_millis().saturating_sub(window.saturating_sub(REOFFER_MARGIN_MS)))
    }

    /// The last `seq` applied, and the lowest cursor after which the ring has everything; messages older than `young`
    /// count as missing. None when the ring is empty.
    fn bounds(&self, young: u64) -> (Seq, Option<Seq>) {
        let window = self.window.read();
        (window.last(), window.low(young))
    }

    /// How many entries of the present mean size the retention has room for; at least one.
    pub(crate) fn capacity(&self) -> usize {
        self.window.read().capacity()
    }

    /// Applies entries of the log that follow each other, without the checks of the relay. For tests and benches of
    /// readers, which need no relay.
    pub fn append(&self, entries: &[LogEntry]) {
        let drafts: Vec<_> = entries.iter().map(Draft::from).collect();
        let mut writer = self.write();
        for draft in drafts {
            match draft {
                Draft::Event(event) => {
                    let at = event.at;
                    writer.push_event(event, at);
                }
                Draft::Hole(hole) => writer.push_hole(hole),
                Draft::Marker { marker, hole } => drop(writer.push_marker(marker, hole, 0)),
            }
        }
        writer.commit();
    }

    /// Takes the lock for one batch.
    pub(crate) fn write(&self) -> Writer<'_> {
        Writer { window: self.window.write(), tip: &self.tip }
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

/// The ring's lock, held for one batch. Readers learn of the batch at [`commit`](Self::commit).
pub(crate) struct Writer<'a> {
    window: RwLockWriteGuard<'a, Window>,
    tip: &'a watch::Sender<Seq>,
}

impl Writer<'_> {
    /// Wakes the readers and frees the lock.
    pub(crate) fn commit(self) {
        let last = self.window.last();
        self.tip.send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    /// Ends the initial sync: readers without a cursor begin here.
    pub(crate) fn begin_here(mut self) {
        self.window.begin_here();
        self.commit();
    }
}

impl Deref for Writer<'_> {
    type Target = Window;

    fn deref(&self) -> &Window {
        &self.window
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut Window {
        &mut self.window
    }
}

#[cfg(test)]
mod tests;
