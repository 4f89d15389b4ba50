//! How far one connection has been served, and with what.

use std::sync::Arc;

use hubbub_lifecycle::metric;
use hubbub_log::ring::{Audience, Entry, Ring};
use hubbub_protocol::{CloseReason, Frame, HEARTBEAT_INTERVAL, RoomId, Seq};
use metrics::Gauge;
use tokio::time::Instant;

use super::{
    seating::Seating,
    seats::Seats,
    write_batch::{WriteBatch, Written},
};
use crate::socket::{Ending, Link, Transport};

/// Upper bound in bytes for one step of catching up.
const STEP_BYTES: usize = 64 * 1024;

/// Delivery state: mode, cursor, seats.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) mode: Mode,
    /// Everything up to here is sent. Stale while live: use the worker's position.
    pub(super) cursor: Seq,
    /// Closed seats stay until the cursor has passed their end.
    pub(super) seats: Seats,
    /// Of a connection of an account.
    pub(super) seating: Option<Box<Seating>>,
    /// The cursor when it crossed the last epoch marker. It already has every re-appended message with `was` <= this.
    pub(super) crossed_at: Seq,
    /// `live` has been sent.
    announced_live: bool,
    /// true: send the newest count and status when the connection is live. Starts true: a new connection has neither.
    pub(super) missed_notice: bool,
    pub(super) heartbeat_due: Instant,
    /// Gauge of all connections that are not live.
    catching_up: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its conversation task reads the ring from the cursor.
    CatchingUp,
    /// It has caught up and waits for its worker.
    HandingOver,
    /// Its worker writes to it.
    Live,
}

/// The outcome of one step of catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything up to the bound is sent.
    Reached,
    /// There is more to read.
    More,
    /// The socket is not writable.
    Blocked,
    /// The connection is closed, or has just been closed as a slow consumer.
    Ended,
}

impl Delivery {
    pub(super) fn new(rooms: impl IntoIterator<Item = RoomId>, cursor: Seq) -> Self {
        let catching_up = metrics::gauge!(metric::CATCHING_UP);
        catching_up.increment(1);
        Self {
            mode: Mode::CatchingUp,
            cursor,
            seats: Seats::open_in(rooms, cursor),
            seating: None,
            crossed_at: 0,
            announced_live: false,
            missed_notice: true,
            heartbeat_due: Instant::now() + HEARTBEAT_INTERVAL,
            catching_up,
        }
    }

    /// The seq up to which everything is sent. `position` is the worker's position.
    pub(super) fn cursor(&self, position: Seq) -> Seq {
        if self.mode == Mode::Live { position } else { self.cursor }
    }

    /// Whether nothing may be sent: the seats must be read, or the hello is not answered.
    pub(super) fn is_held(&self) -> bool {
        self.seating.as_ref().is_some_and(|seating| seating.is_held())
    }

    /// Whether its conversation task has something to read for it.
    pub(super) fn is_catching_up(&self) -> bool {
        self.mode == Mode::CatchingUp && !self.is_held()
    }

    pub(super) fn close_seat(&mut self, room: &RoomId, until: Seq, position: Seq) -> bool {
        let was_open = self.seats.close(room, until);
        if was_open {
            self.seats.drop_past(self.cursor(position));
        }
        was_open
    }

    pub(super) fn fall_behind(&mut self, cursor: Seq) {
        self.catching_up.increment(1);
        (self.mode, self.cursor) = (Mode::CatchingUp, cursor);
    }

    /// Returns true the first time: then `live` must be sent.
    pub(super) fn go_live(&mut self) -> bool {
        self.mode = Mode::Live;
        self.catching_up.decrement(1);
        !std::mem::replace(&mut self.announced_live, true)
    }

    pub(super) fn send_missed_notices<'a>(
        &mut self,
        link: &Link<impl Transport>,
        latest_notices: impl Iterator<Item = &'a Frame>,
    ) {
        if std::mem::take(&mut self.missed_notice) {
            latest_notices.for_each(|frame| link.reply(frame));
        }
    }

    /// Writes at most [`STEP_BYTES`] of the entries between the cursor and `upto`. Stops in front of an epoch marker: a
    /// step that begins with a marker only crosses it.
    pub(super) fn step(&mut self, link: &Link<impl Transport>, ring: &Ring, upto: Seq) -> Progress {
        let before = self.cursor;
        if before >= upto {
            return Progress::Reached;
        }
        let Ok(page) = ring.read(before, upto, self.seats.intervals(), STEP_BYTES) else {
            link.close(Ending::Ours(CloseReason::SlowConsumer));
            return Progress::Ended;
        };
        let is_marker = |entry: &Arc<Entry>| entry.audience == Audience::Nobody;
        let (after, batch) = match page.entries.iter().position(is_marker) {
            // cross it: the cursor before it decides which re-appended messages behind it are sent
            Some(0) => {
                let marker = page.entries.first();
                self.crossed_at = marker.map_or(before, |marker| marker.crossed_at(before));
                (marker.map_or(before, |marker| marker.seq), WriteBatch::default())
            }
            Some(marker) => {
                let ahead = page.entries.get(..marker).unwrap_or_default();
                (ahead.last().map_or(before, |last| last.seq), self.batch(ahead))
            }
            None => (page.cursor, self.batch(&page.entries)),
        };
        let (cursor, progress) = match batch.write(link, before) {
            Written::All if after >= upto => (after, Progress::Reached),
            Written::All => (after, Progress::More),
            Written::UpTo(cursor) => (cursor, Progress::Blocked),
            Written::Closed => (before, Progress::Ended),
        };
        (self.mode, self.cursor) = (Mode::CatchingUp, cursor);
        self.seats.drop_past(cursor);
        progress
    }

    /// These entries, without the re-appended messages that the connection already has.
    pub(super) fn batch(&self, entries: &[Arc<Entry>]) -> WriteBatch {
        WriteBatch::of(entries.iter().filter(|entry| entry.was == 0 || entry.was > self.crossed_at))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.mode != Mode::Live {
            self.catching_up.decrement(1);
        }
    }
}
