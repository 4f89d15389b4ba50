//! One admitted connection: the state that its fan-out worker and its conversation task share.
//!
//! Resuming and slow clients are served by the same code path. Messages that a client has not been sent yet stay in the
//! ring. The connection keeps a cursor and at most the rest of one frame. A connection is either live (its worker
//! writes to it) or catching up (its conversation task reads the ring from its cursor).
//!
//! Seats, cursor and mode are kept once, under the connection's lock. Only the worker opens and closes seats and makes
//! a connection live. While a connection catches up, its conversation task moves the cursor.

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

/// An admitted connection.
#[derive(Debug)]
pub struct Connection<T = TcpStream> {
    id: ConnectionId,
    link: Arc<Link<T>>,
    delivery: Mutex<Delivery>,
    unacked: AtomicUsize,
    closing: OnceLock<Duration>,
}

/// Delivery state: mode, cursor, seats.
#[derive(Debug)]
struct Delivery {
    mode: Mode,
    /// Everything up to here is sent. Stale while live: use the worker's position.
    cursor: Seq,
    /// Closed seats stay until the cursor has passed their end.
    seats: Vec<Seat>,
    /// The cursor when it crossed the last epoch marker. It already has every re-appended message with `was` <= this.
    crossed_at: Seq,
    /// `live` has been sent.
    announced_live: bool,
    /// true: send the newest count and status when the connection is live. Starts true: a new connection has neither.
    missed_notice: bool,
    heartbeat_due: Instant,
    /// Gauge of all connections that are not live.
    catching_up: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Its conversation task reads the ring from the cursor.
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
    /// The socket is not writable.
    Blocked,
    /// The connection is closed, or has just been closed as a slow consumer.
    Ended,
}

impl<T: Transport> Connection<T> {
    /// A connection that has received everything up to `cursor`, with seats in these rooms that begin above it.
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

    /// Whether it has caught up and its worker writes to it.
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

    /// Whether the conversation task reads its socket. It stops while [`MAX_UNACKED_PUBLISHES`] publishes wait for
    /// their answer.
    pub fn is_reading(&self) -> bool {
        self.unacked() < MAX_UNACKED_PUBLISHES
    }

    /// Asks the conversation task to close the connection, because this instance stops. The client is asked to
    /// reconnect after `pause`. A second call changes nothing.
    pub fn request_close(&self, pause: Duration) {
        if self.closing.set(pause).is_ok() {
            self.link.wake();
        }
    }

    /// The pause of [`request_close`](Self::request_close), once it was called.
    pub fn closing(&self) -> Option<Duration> {
        self.closing.get().copied()
    }

    /// Reads the ring up to `upto` and writes the messages of this connection's seats. Returns true once each time it
    /// has caught up. Polled by the conversation task.
    pub(crate) fn poll_catch_up(&self, cx: &mut Context<'_>, ring: &Ring, upto: Seq) -> Poll<bool> {
        // register before reading the mode: a change of the mode wakes the registered task
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
                    // yield between two steps to other tasks, also to a worker that has not reached this marker yet
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

/// Methods that only the worker calls.
impl<T: Transport> Connection<T> {
    /// Writes a batch of its rooms, if the connection is live. `position` is the worker's position before the batch.
    /// Returns true if it tried to write to the socket.
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

    /// Crosses an epoch marker, if the connection is live. `position` is the worker's position before the marker.
    pub(crate) fn cross(&self, marker: &Entry, position: Seq) {
        let mut delivery = self.delivery.lock();
        if delivery.mode == Mode::Live {
            delivery.crossed_at = marker.crossed_at(position);
        }
    }

    /// Switches a live connection to catching up from `position`. Its conversation task continues there.
    pub(crate) fn fall_behind(&self, position: Seq) {
        let mut delivery = self.delivery.lock();
        if delivery.mode == Mode::Live {
            delivery.fall_behind(position);
            drop(delivery);
            self.link.wake();
        }
    }

    /// Makes a caught-up connection live. First writes the entries between its cursor and `position` under the same
    /// lock, so that no message is lost or sent twice. `latest_notices` are the newest count and status.
    pub(crate) fn take_over<'a>(
        &self,
        ring: &Ring,
        position: Seq,
        encode: Encode,
        latest_notices: impl Iterator<Item = &'a Frame>,
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
                delivery.send_missed_notices(&self.link, latest_notices);
                // `close_for_drain` waits until the connection is live
                self.link.wake();
            }
            // the conversation task continues
            Progress::More | Progress::Blocked => self.link.wake(),
            Progress::Ended => {}
        }
    }

    /// Whether it has caught up with `position` and is not live yet, even if the worker's queue was full when it caught
    /// up.
    pub(crate) fn can_go_live(&self, position: Seq) -> bool {
        let delivery = self.delivery.lock();
        match delivery.mode {
            Mode::Live => false,
            Mode::HandingOver => true,
            Mode::CatchingUp => delivery.cursor >= position,
        }
    }

    /// Opens a seat in a room at the connection's cursor and confirms it to the client. Returns true if the seat is
    /// new.
    pub(crate) fn open_seat(&self, room: &RoomId, position: Seq, encode: Encode) -> bool {
        let mut delivery = self.delivery.lock();
        let seq = delivery.cursor(position);
        let is_new = delivery.open_seat(room, seq);
        self.link.reply(&encode(&Notice::Joined { room: room.clone(), seq }));
        is_new
    }

    /// Closes the seat in a room at the connection's cursor and confirms it to the client. Returns true if there was
    /// one.
    pub(crate) fn close_seat(&self, room: &RoomId, position: Seq, encode: Encode) -> bool {
        let mut delivery = self.delivery.lock();
        let seq = delivery.cursor(position);
        let was_open = delivery.close_seat(room, seq, position);
        self.link.reply(&encode(&Notice::Left { room: room.clone(), seq }));
        was_open
    }

    /// Opens a seat that begins above `since`, without a frame to the client.
    #[cfg(test)]
    pub(crate) fn open_seat_at(&self, room: &RoomId, since: Seq) -> bool {
        self.delivery.lock().open_seat(room, since)
    }

    /// Closes a seat that ends with `until`, which is the worker's position, without a frame to the client.
    #[cfg(test)]
    pub(crate) fn close_seat_at(&self, room: &RoomId, until: Seq) -> bool {
        self.delivery.lock().close_seat(room, until, until)
    }

    /// Sends the newest count or status if the socket takes it now; else marks it as missed.
    pub(crate) fn try_send(&self, frame: &Frame) {
        let mut delivery = self.delivery.lock();
        delivery.missed_notice |= !(delivery.mode == Mode::Live && self.link.try_send(frame));
    }

    /// Sends a frame that may be lost, if the connection is live and its socket takes it now.
    pub(crate) fn try_send_ephemeral(&self, frame: &Frame) {
        if self.is_live() {
            // never sent later
            let _sent = self.link.try_send(frame);
        }
    }

    /// Sends a heartbeat and a ping if they are due, and the notices that it missed.
    pub(crate) fn beat<'a>(
        &self,
        now: Instant,
        position: Seq,
        encode: Encode,
        latest_notices: impl Iterator<Item = &'a Frame>,
    ) {
        // under the lock: the conversation task must not move the cursor before the heartbeat with it is queued
        let mut delivery = self.delivery.lock();
        if delivery.heartbeat_due <= now {
            delivery.heartbeat_due += HEARTBEAT_INTERVAL;
            self.link.reply(&encode(&Notice::Heartbeat { seq: delivery.cursor(position) }));
            self.link.reply(&Frame::ping());
        }
        if delivery.mode == Mode::Live {
            delivery.send_missed_notices(&self.link, latest_notices);
        }
    }
}

impl Delivery {
    /// The seq up to which everything is sent. `position` is the worker's position.
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

    /// Returns true the first time: then `live` must be sent.
    fn go_live(&mut self) -> bool {
        self.mode = Mode::Live;
        self.catching_up.decrement(1);
        !std::mem::replace(&mut self.announced_live, true)
    }

    fn send_missed_notices<'a>(
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
        self.drop_past_seats(cursor);
        progress
    }

    /// These entries, without the re-appended messages that the connection already has.
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
