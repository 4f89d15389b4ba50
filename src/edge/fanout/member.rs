//! One connection as the fan-out sees it: live, or catching up from the ring.
//!
//! Resuming and slow clients are the same thing. What a client has not been sent yet stays in the ring; the connection
//! keeps a cursor and, at most, the rest of one frame. A live connection has no cursor of its own: it has had everything
//! up to its worker's position.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hubbub_log::ring::{Audience, Entry, Ring, Seat};
use hubbub_protocol::{CloseReason, ConnectionId, Frame, MAX_UNACKED_PUBLISHES, RoomId, Seq, ServerFrame, User};
use metrics::Gauge;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::batch::{Batch, Delivery};
use crate::socket::{Ending, Link, Transport};

/// What one step of catching up reads from the ring, in bytes.
const STEP_BYTES: usize = 64 * 1024;

/// A connection that has said hello.
#[derive(Debug)]
pub struct Member<T = TcpStream> {
    id: ConnectionId,
    user: User,
    link: Arc<Link<T>>,
    feed: Mutex<Feed>,
    unacked: AtomicUsize,
    leaving: OnceLock<Duration>,
}

/// How far the connection has been served.
#[derive(Debug)]
pub(super) struct Feed {
    stage: Stage,
    seats: Vec<Seat>,
    /// The cursor with which it crossed the last epoch marker: returned messages up to here it has had.
    pub(super) crossed_at: Seq,
    /// `live` is still to be said.
    announce_live: bool,
    catching_up: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The worker writes to it.
    Live,
    /// Its own task reads the ring from this cursor.
    CatchingUp(Seq),
    /// It has caught up and waits for its worker to take over.
    Waiting(Seq),
}

/// What a step of catching up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left up to the bound.
    Reached,
    /// There is more to read.
    More,
    /// The kernel takes no more for now.
    Blocked,
    /// The connection is closed, or has just been closed as a slow consumer.
    Ended,
}

impl<T: Transport> Member<T> {
    /// A connection that has had everything up to `cursor` and hears `rooms` from there on.
    pub(super) fn new(
        id: ConnectionId,
        user: User,
        link: Arc<Link<T>>,
        rooms: &[RoomId],
        cursor: Seq,
        catching_up: Gauge,
    ) -> Self {
        catching_up.increment(1);
        let seats = rooms.iter().map(|room| Seat::open(room.clone(), cursor)).collect();
        let feed = Feed { stage: Stage::CatchingUp(cursor), seats, crossed_at: 0, announce_live: true, catching_up };
        let (unacked, leaving) = (AtomicUsize::new(0), OnceLock::new());
        Self { id, user, link, feed: Mutex::new(feed), unacked, leaving }
    }

    /// Its id.
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Who it speaks for.
    pub const fn user(&self) -> &User {
        &self.user
    }

    /// Its write side.
    pub const fn link(&self) -> &Arc<Link<T>> {
        &self.link
    }

    /// Whether its worker writes to it: it has been sent everything.
    pub fn is_live(&self) -> bool {
        self.feed.lock().stage == Stage::Live
    }

    /// Notes a publish that waits for its answer.
    pub fn expect_answer(&self) {
        self.unacked.fetch_add(1, Ordering::AcqRel);
    }

    /// Sends what a publish waited for.
    pub fn answer(&self, frame: &Frame) {
        self.link.reply(frame);
        self.unacked.fetch_sub(1, Ordering::AcqRel);
        self.link.wake();
    }

    /// Publishes that wait for their answer.
    pub fn unacked(&self) -> usize {
        self.unacked.load(Ordering::Acquire)
    }

    /// Whether its socket is read: not while too many publishes wait for their answer.
    pub fn is_read(&self) -> bool {
        self.unacked() < MAX_UNACKED_PUBLISHES
    }

    /// Asks the connection's task to bring the conversation to its end, because this instance stops. The client is to
    /// come back after `pause`.
    pub fn ask_to_leave(&self, pause: Duration) {
        if self.leaving.set(pause).is_ok() {
            self.link.wake();
        }
    }

    /// The pause with which it has been asked to leave.
    pub fn leave_pause(&self) -> Option<Duration> {
        self.leaving.get().copied()
    }

    pub(super) fn feed(&self) -> parking_lot::MutexGuard<'_, Feed> {
        self.feed.lock()
    }

    /// Reads the ring on to `upto` and writes what concerns this connection. Ready with true once it has caught up, and
    /// then again only after it fell behind anew.
    pub(super) fn poll_catch_up(&self, cx: &mut Context<'_>, ring: &Ring, upto: Seq) -> Poll<bool> {
        // before the look at the stage: who changes it wakes whoever is registered
        self.link.register(cx);
        let mut feed = self.feed.lock();
        loop {
            if !matches!(feed.stage, Stage::CatchingUp(_)) {
                return Poll::Ready(false);
            }
            match feed.step(&self.link, ring, upto) {
                Progress::Reached => {
                    feed.wait();
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

impl Feed {
    /// The place up to which the connection has been served; `position` is its worker's.
    pub(super) fn cursor(&self, position: Seq) -> Seq {
        match self.stage {
            Stage::Live => position,
            Stage::CatchingUp(cursor) | Stage::Waiting(cursor) => cursor,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Whether it waits for its worker, or would if the queue had not been full.
    pub(super) fn has_reached(&self, position: Seq) -> bool {
        match self.stage {
            Stage::Live => false,
            Stage::Waiting(_) => true,
            Stage::CatchingUp(cursor) => cursor >= position,
        }
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.seats.iter().map(|seat| &seat.room)
    }

    /// Adds a room, from `since` on.
    pub(super) fn join(&mut self, room: RoomId, since: Seq) {
        if self.rooms().all(|known| *known != room) {
            self.seats.push(Seat::open(room, since));
        }
    }

    pub(super) fn leave(&mut self, room: &RoomId) {
        self.seats.retain(|seat| seat.room != *room);
    }

    /// From live to catching up: everything up to `cursor` is sent.
    pub(super) fn fall_behind(&mut self, cursor: Seq) {
        if self.stage == Stage::Live {
            self.catching_up.increment(1);
        }
        self.stage = Stage::CatchingUp(cursor);
    }

    fn wait(&mut self) {
        if let Stage::CatchingUp(cursor) = self.stage {
            self.stage = Stage::Waiting(cursor);
        }
    }

    /// From catching up to live: everything up to `position` is sent.
    pub(super) fn go_live(&mut self, link: &Link<impl Transport>, position: Seq) {
        self.stage = Stage::Live;
        self.catching_up.decrement(1);
        if std::mem::take(&mut self.announce_live) {
            link.reply(&Frame::json(&ServerFrame::Live { seq: position }));
        }
    }

    /// Writes at most [`STEP_BYTES`] of what lies between the cursor and `upto`.
    pub(super) fn step(&mut self, link: &Link<impl Transport>, ring: &Ring, upto: Seq) -> Progress {
        let before = self.cursor(upto);
        if before >= upto {
            return Progress::Reached;
        }
        let Ok(page) = ring.read(before, upto, &self.seats, STEP_BYTES) else {
            link.close(Ending::Ours(CloseReason::SlowConsumer));
            return Progress::Ended;
        };
        let is_marker = |entry: &Arc<Entry>| entry.audience == Audience::Nobody;
        let (after, batch) = match page.entries.iter().position(is_marker) {
            // cross it: what comes behind is judged by the cursor of before
            Some(0) => {
                let marker = page.entries.first();
                self.crossed_at = marker.map_or(before, |marker| marker.crossed_at(before));
                (marker.map_or(before, |marker| marker.seq), Batch::default())
            }
            Some(marker) => {
                let ahead = page.entries.get(..marker).unwrap_or_default();
                (ahead.last().map_or(before, |last| last.seq), self.batch(ahead))
            }
            None => (page.cursor, self.batch(&page.entries)),
        };
        let (cursor, progress) = match batch.write(link, before) {
            Delivery::Done if after >= upto => (after, Progress::Reached),
            Delivery::Done => (after, Progress::More),
            Delivery::Cut(cursor) => (cursor, Progress::Blocked),
            Delivery::Closed => (before, Progress::Ended),
        };
        self.stage = Stage::CatchingUp(cursor);
        progress
    }

    /// What this connection has not had.
    fn batch(&self, entries: &[Arc<Entry>]) -> Batch {
        Batch::of(entries.iter().filter(|entry| entry.was == 0 || entry.was > self.crossed_at))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.stage != Stage::Live {
            self.catching_up.decrement(1);
        }
    }
}
