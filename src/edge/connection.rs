//! One admitted connection: the state that its fan-out worker and its conversation task share.
//!
//! Resuming and slow clients are served by the same code path. Messages that a client has not been sent yet stay in the
//! ring. The connection keeps a cursor and at most the rest of one frame. A connection is either live (its worker
//! writes to it) or catching up (its conversation task reads the ring from its cursor).
//!
//! Seats, cursor and mode are kept once, under the connection's lock. Only the worker opens and closes seats and makes
//! a connection live. While a connection catches up, its conversation task moves the cursor.

mod account;
mod delivery;
mod seating;
mod seats;
mod write_batch;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hubbub_log::ring::{Entry, Rights, Ring};
use hubbub_protocol::{ConnectionId, Frame, HEARTBEAT_INTERVAL, MAX_UNACKED_PUBLISHES, RoomId, Seq};
use parking_lot::Mutex;
use tokio::{net::TcpStream, time::Instant};

pub use self::seating::Admitted;
use self::{
    delivery::{Delivery, Mode, Progress},
    write_batch::Written,
};
pub(crate) use self::{seating::Moved, write_batch::WriteBatch};
use crate::{
    notice::{Encode, Notice},
    ports::Sitter,
    socket::{Link, Transport},
};

/// An admitted connection.
#[derive(Debug)]
pub struct Connection<T = TcpStream> {
    id: ConnectionId,
    link: Arc<Link<T>>,
    delivery: Mutex<Delivery>,
    unacked: AtomicUsize,
    closing: OnceLock<Duration>,
    /// The session of an account that it belongs to.
    sitter: Option<Sitter>,
    /// Its seats are being read again.
    is_in_doubt: AtomicBool,
}

impl<T: Transport> Connection<T> {
    /// A connection that has received everything up to `cursor`, with seats in these rooms that begin above it.
    pub fn new(id: ConnectionId, link: Arc<Link<T>>, rooms: impl IntoIterator<Item = RoomId>, cursor: Seq) -> Self {
        Self::with_delivery(id, link, Delivery::new(rooms, cursor), None)
    }

    fn with_delivery(id: ConnectionId, link: Arc<Link<T>>, delivery: Delivery, sitter: Option<Sitter>) -> Self {
        Self {
            id,
            link,
            delivery: Mutex::new(delivery),
            unacked: AtomicUsize::new(0),
            closing: OnceLock::new(),
            sitter,
            is_in_doubt: AtomicBool::new(false),
        }
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
        self.rights(room).is_some()
    }

    /// What the person may do in this room. None: there is no open seat.
    pub fn rights(&self, room: &RoomId) -> Option<Rights> {
        self.delivery.lock().seats.rights(room)
    }

    /// The rooms in which it has an open seat.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.delivery.lock().seats.rooms().cloned().collect()
    }

    /// The number of public rooms in which it has an open seat.
    pub fn public_rooms(&self) -> usize {
        self.delivery.lock().seats.public()
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
    /// their answer, and while its seats are being read again: nobody publishes in a room that it may have left.
    pub fn is_reading(&self) -> bool {
        self.unacked() < MAX_UNACKED_PUBLISHES && !self.is_in_doubt.load(Ordering::Acquire)
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
            if !delivery.is_catching_up() {
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

    /// Switches a live connection to catching up from `position`. Its conversation task continues there. Returns true
    /// if it was live.
    pub(crate) fn fall_behind(&self, position: Seq) -> bool {
        let mut delivery = self.delivery.lock();
        let was_live = delivery.mode == Mode::Live;
        if was_live {
            delivery.fall_behind(position);
            drop(delivery);
            self.link.wake();
        }
        was_live
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
        if delivery.mode == Mode::Live || delivery.is_held() {
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
            _ if delivery.is_held() => false,
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
        let is_new = delivery.seats.open(room, seq);
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
        self.delivery.lock().seats.open(room, since)
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
