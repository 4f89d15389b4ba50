//! One connection that has been admitted, as its worker and its own task share it.
//!
//! Resuming clients and slow clients are the same thing. What a client has not been sent yet stays in the ring; the
//! connection keeps a cursor and, at most, the rest of one frame. So a connection is live (its worker writes to it) or it
//! catches up (its own task reads the ring from its cursor).
//!
//! Its seats, its cursor and its mode are kept once, under the connection's lock. Only the worker opens and closes seats
//! and makes a connection live. While a connection catches up, its own task moves the cursor.

mod write_batch;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hubbub_log::ring::{Audience, Entry, Ring, Seat};
use hubbub_protocol::{CloseReason, ConnectionId, Frame, HEARTBEAT_INTERVAL, MAX_UNACKED_PUBLISHES, RoomId, Seq};
use metrics::Gauge;
use parking_lot::Mutex;
use tokio::{net::TcpStream, time::Instant};

pub(crate) use self::write_batch::WriteBatch;
use self::write_batch::Written;
use crate::{
    notice::{Encode, Notice},
    socket::{Ending, Link, Transport},
};

/// Upper bound in bytes for one step of catching up.
const STEP_BYTES: usize = 64 * 1024;

/// A connection that has been admitted.
#[derive(Debug)]
pub struct Connection<T = TcpStream> {
    id: ConnectionId,
    link: Arc<Link<T>>,
    delivery: Mutex<Delivery>,
    unacked: AtomicUsize,
    closing: OnceLock<Duration>,
}

/// How far the connection has been served, and with what.
#[derive(Debug)]
struct Delivery {
    mode: Mode,
    /// Everything up to here is sent. Not kept while it is live: then it is the worker's position.
    cursor: Seq,
    /// Closed seats stay until the cursor has passed their end.
    seats: Vec<Seat>,
    /// The cursor with which it crossed the last epoch marker. It has had returned messages whose former place is not
    /// above this.
    crossed_at: Seq,
    /// `live` has been sent.
    announced_live: bool,
    /// The connection could not take the newest count or status.
    missed_notice: bool,
    heartbeat_due: Instant,
    /// Connections that are not live.
    catching_up: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Its own task reads the ring from the cursor.
    CatchingUp,
    /// It has caught up and waits for its worker.
    HandingOver,
    /// Its worker writes to it.
    Live,
}

/// The outcome of one step of catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Everything up to the bound is sent.
    Reached,
    /// There is more to read.
    More,
    /// The kernel takes no more for now.
    Blocked,
    /// The connection is closed, or has just been closed as a slow consumer.
    Ended,
}

impl<T: Transport> Connection<T> {
    /// A connection that has had everything up to `cursor`, with open seats in these rooms from there on.
    pub fn new(id: ConnectionId, link: Arc<Link<T>>, rooms: impl IntoIterator<Item = RoomId>, cursor: Seq) -> Self {
        let catching_up = metrics::gauge!(hubbub_lifecycle::metric::CATCHING_UP);
        catching_up.increment(1);
        let delivery = Delivery {
            mode: Mode::CatchingUp,
            cursor,
            seats: rooms.into_iter().map(|room| Seat::open(room, cursor)).collect(),
            crossed_at: 0,
            announced_live: false,
            missed_notice: true,
            heartbeat_due: Instant::now() + HEARTBEAT_INTERVAL,
            catching_up,
        };
        let (unacked, closing) = (AtomicUsize::new(0), OnceLock::new());
        Self { id, link, delivery: Mutex::new(delivery), unacked, closing }
    }

    /// Its id.
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Its write side.
    pub const fn link(&self) -> &Arc<Link<T>> {
        &self.link
    }

    /// Whether its worker writes to it: everything has been sent.
    pub fn is_live(&self) -> bool {
        self.delivery.lock().mode == Mode::Live
    }

    /// Whether it has an open seat in this room.
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.delivery.lock().open_rooms().any(|open| open == room)
    }

    /// The rooms in which it has an open seat.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.delivery.lock().open_rooms().cloned().collect()
    }

    /// Counts a publish that waits for its answer.
    pub fn expect_answer(&self) {
        self.unacked.fetch_add(1, Ordering::AcqRel);
    }

    /// Sends the answer to a publish.
    pub fn answer(&self, frame: &Frame) {
        self.link.reply(frame);
        self.unacked.fetch_sub(1, Ordering::AcqRel);
        self.link.wake();
    }

    /// Publishes that wait for their answer.
    pub fn unacked(&self) -> usize {
        self.unacked.load(Ordering::Acquire)
    }

    /// Whether its socket is read. It is not while too many publishes wait for their answer.
    pub fn is_read(&self) -> bool {
        self.unacked() < MAX_UNACKED_PUBLISHES
    }

    /// Asks the connection's task to close the connection, because this instance stops. The client is to come back after
    /// `pause`. A second call changes nothing.
    pub fn ask_to_close(&self, pause: Duration) {
        if self.closing.set(pause).is_ok() {
            self.link.wake();
        }
    }

    /// The pause with which it has been asked to close.
    pub fn closing(&self) -> Option<Duration> {
        self.closing.get().copied()
    }

    /// Reads the ring on to `upto` and writes what concerns this connection. Ready with true once it has caught up, and
    /// then again only after it fell behind again. To be polled by the connection's task.
    pub(crate) fn poll_catch_up(&self, cx: &mut Context<'_>, ring: &Ring, upto: Seq) -> Poll<bool> {
        // before the look at the mode: whoever changes it wakes the registered task
        self.link.register(cx);
        let mut delivery = self.delivery.lock();
        loop {
            if delivery.mode != Mode::CatchingUp {
                return Poll::Ready(false);
            }
            match delivery.step(&self.link, ring, upto) {
                Progress::Reached => {
                    delivery.mode = Mode::HandingOver;
                    return Poll::Ready(true);
                }
                Progress::More => {
                    // others get their turn between two steps, also the worker whose position is behind a marker
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Progress::Blocked if self.link.poll_writable(cx).is_ready() => {}
                Progress::Blocked => return Poll::Pending,
                Progress::Ended => return Poll::Ready(false),
            }
        }
    }
}

/// The part of the worker.
impl<T: Transport> Connection<T> {
    /// Writes a batch of its rooms, if the connection is live. `position` is the place in front of the batch. Says
    /// whether the kernel was asked.
    pub(crate) fn deliver(&self, batch: &WriteBatch, position: Seq) -> bool {
        let mut delivery = self.delivery.lock();
        if delivery.mode != Mode::Live || batch.was_delivered_before(delivery.crossed_at) {
            return false;
        }
        if let Written::UpTo(cursor) = batch.write(&self.link, position) {
            delivery.fall_behind(cursor);
            drop(delivery);
            self.link.wake();
        }
        true
    }

    /// Crosses an epoch marker, if the connection is live. `position` is the place in front of the marker.
    pub(crate) fn cross(&self, marker: &Entry, position: Seq) {
        let mut delivery = self.delivery.lock();
        if delivery.mode == Mode::Live {
            delivery.crossed_at = marker.crossed_at(position);
        }
    }

    /// Leaves it to the connection's task to go on from `position`, if the connection is live.
    pub(crate) fn fall_behind(&self, position: Seq) {
        let mut delivery = self.delivery.lock();
        if delivery.mode == Mode::Live {
            delivery.fall_behind(position);
            drop(delivery);
            self.link.wake();
        }
    }

    /// Makes a connection live that has caught up. What lies between its cursor and `position` is written here, in the
    /// same step, so that nothing is missed or sent twice between the two. `standing` are the newest count and status.
    pub(crate) fn take_over<'a>(
        &self,
        ring: &Ring,
        position: Seq,
        encode: Encode,
        standing: impl Iterator<Item = &'a Frame>,
    ) {
        let mut delivery = self.delivery.lock();
        if delivery.mode == Mode::Live {
            return;
        }
        match delivery.step(&self.link, ring, position) {
            Progress::Reached => {
                if delivery.go_live() {
                    self.link.reply(&encode(&Notice::Live { seq: position }));
                }
                delivery.catch_up_notices(&self.link, standing);
                // a conversation that waits until everything is sent looks again
                self.link.wake();
            }
            // its own task goes on
            Progress::More | Progress::Blocked => self.link.wake(),
            Progress::Ended => {}
        }
    }

    /// Whether it waits to be taken over, or would if the worker's queue had not been full.
    pub(crate) fn has_reached(&self, position: Seq) -> bool {
        let delivery = self.delivery.lock();
        match delivery.mode {
            Mode::Live => false,
            Mode::HandingOver => true,
            Mode::CatchingUp => delivery.cursor >= position,
        }
    }

    /// Opens a seat in a room at the connection's cursor and confirms it to the client. Says whether the seat is new.
    pub(crate) fn open_seat(&self, room: &RoomId, position: Seq, encode: Encode) -> bool {
        let mut delivery = self.delivery.lock();
        let seq = delivery.cursor(position);
        let is_new = delivery.open_seat(room, seq);
        self.link.reply(&encode(&Notice::Joined { room: room.clone(), seq }));
        is_new
    }

    /// Closes the seat in a room at the connection's cursor and confirms it to the client. Says whether there was one.
    pub(crate) fn close_seat(&self, room: &RoomId, position: Seq, encode: Encode) -> bool {
        let mut delivery = self.delivery.lock();
        let seq = delivery.cursor(position);
        let was_open = delivery.close_seat(room, seq, position);
        self.link.reply(&encode(&Notice::Left { room: room.clone(), seq }));
        was_open
    }

    /// Opens a seat that begins behind `since`, without a word to the client, as memberships will.
    #[cfg(test)]
    pub(crate) fn open_seat_at(&self, room: &RoomId, since: Seq) -> bool {
        self.delivery.lock().open_seat(room, since)
    }

    /// Closes a seat that ends with `until`, which is the worker's position, without a word to the client.
    #[cfg(test)]
    pub(crate) fn close_seat_at(&self, room: &RoomId, until: Seq) -> bool {
        self.delivery.lock().close_seat(room, until, until)
    }

    /// Sends the newest count or status, or notes that the connection missed it.
    pub(crate) fn offer(&self, frame: &Frame) {
        let mut delivery = self.delivery.lock();
        delivery.missed_notice |= !(delivery.mode == Mode::Live && self.link.offer(frame));
    }

    /// Sends something that may be lost, if the connection can take it now.
    pub(crate) fn offer_ephemeral(&self, frame: &Frame) {
        if self.is_live() {
            // a client that cannot take it now need not have it later
            let _sent = self.link.offer(frame);
        }
    }

    /// Sends a heartbeat and a ping when they are due, and the notices that it missed.
    pub(crate) fn beat<'a>(
        &self,
        now: Instant,
        position: Seq,
        encode: Encode,
        standing: impl Iterator<Item = &'a Frame>,
    ) {
        // under the lock: its own task must not get ahead of the cursor in the heartbeat
        let mut delivery = self.delivery.lock();
        if delivery.heartbeat_due <= now {
            delivery.heartbeat_due += HEARTBEAT_INTERVAL;
            self.link.reply(&encode(&Notice::Heartbeat { seq: delivery.cursor(position) }));
            self.link.reply(&Frame::ping());
        }
        if delivery.mode == Mode::Live {
            delivery.catch_up_notices(&self.link, standing);
        }
    }
}

impl Delivery {
    /// The place up to which the connection has been served; `position` is its worker's.
    fn cursor(&self, position: Seq) -> Seq {
        if self.mode == Mode::Live { position } else { self.cursor }
    }

    fn open_rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.seats.iter().filter(|seat| seat.until.is_none()).map(|seat| &seat.room)
    }

    fn open_seat(&mut self, room: &RoomId, since: Seq) -> bool {
        let is_new = self.open_rooms().all(|open| open != room);
        if is_new {
            self.seats.push(Seat::open(room.clone(), since));
        }
        is_new
    }

    fn close_seat(&mut self, room: &RoomId, until: Seq, position: Seq) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.until.is_none() && seat.room == *room) else {
            return false;
        };
        seat.until = Some(until);
        self.drop_past_seats(self.cursor(position));
        true
    }

    fn drop_past_seats(&mut self, cursor: Seq) {
        self.seats.retain(|seat| seat.until.is_none_or(|until| until > cursor));
    }

    fn fall_behind(&mut self, cursor: Seq) {
        self.catching_up.increment(1);
        (self.mode, self.cursor) = (Mode::CatchingUp, cursor);
    }

    /// Says whether `live` is to be sent.
    fn go_live(&mut self) -> bool {
        self.mode = Mode::Live;
        self.catching_up.decrement(1);
        !std::mem::replace(&mut self.announced_live, true)
    }

    fn catch_up_notices<'a>(&mut self, link: &Link<impl Transport>, standing: impl Iterator<Item = &'a Frame>) {
        if std::mem::take(&mut self.missed_notice) {
            standing.for_each(|frame| link.reply(frame));
        }
    }

    /// Writes at most [`STEP_BYTES`] of what lies between the cursor and `upto`.
    fn step(&mut self, link: &Link<impl Transport>, ring: &Ring, upto: Seq) -> Progress {
        let before = self.cursor;
        if before >= upto {
            return Progress::Reached;
        }
        let Ok(page) = ring.read(before, upto, &self.seats, STEP_BYTES) else {
            link.close(Ending::Ours(CloseReason::SlowConsumer));
            return Progress::Ended;
        };
        let is_marker = |entry: &Arc<Entry>| entry.audience == Audience::Nobody;
        let (after, batch) = match page.entries.iter().position(is_marker) {
            // cross it: returned messages behind it are judged by the cursor in front of it
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
        self.drop_past_seats(cursor);
        progress
    }

    /// The messages that this connection has not had.
    fn batch(&self, entries: &[Arc<Entry>]) -> WriteBatch {
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
