//! From the ring to the sockets of this instance.
//!
//! [`Fanout`] knows who is connected here: a map from connection id to its handle, whose length is this instance's count.
//! The rest is done by a few workers (see [`worker`]), each with a fixed share of the connections.

mod batch;
mod member;
mod rest;
mod roster;
mod served;
mod worker;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread::available_parallelism,
};

use dashmap::DashMap;
use hubbub_lifecycle::{Shutdown, metric};
use hubbub_log::ring::Ring;
use hubbub_protocol::{CloseReason, ConnectionId, Frame, MAX_TYPING_AUDIENCE, RoomId, Seq, User};
use metrics::Gauge;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

pub use member::Member;
pub use rest::Rest;
pub use worker::Notice;

use self::worker::{Command, Worker};
use crate::socket::{Link, Transport};

/// Commands that may wait for a worker.
const QUEUE: usize = 4096;

/// The registry of this instance's connections, and the way to the workers that serve them. Cloning shares it.
#[derive(Debug)]
pub struct Fanout<T = TcpStream> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    ring: Arc<Ring>,
    registry: DashMap<ConnectionId, Arc<Member<T>>>,
    rooms: DashMap<RoomId, usize>,
    workers: Vec<Queue<T>>,
    connections: watch::Sender<usize>,
    gauge: Gauge,
    catching_up: Gauge,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Queue<T> {
    commands: mpsc::Sender<Command<T>>,
    position: Arc<AtomicU64>,
}

impl<T> Clone for Fanout<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Transport> Fanout<T> {
    /// Starts one worker per processor.
    pub fn start(ring: &Arc<Ring>, rest: Rest, shutdown: &Shutdown) -> Self {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = (0..processors).map(|_| start_worker(ring, rest, shutdown));
        let shared = Shared {
            ring: Arc::clone(ring),
            registry: DashMap::new(),
            rooms: DashMap::new(),
            workers: workers.collect(),
            connections: watch::Sender::new(0),
            gauge: metrics::gauge!(metric::CONNECTIONS),
            catching_up: metrics::gauge!(metric::CATCHING_UP),
            next_id: AtomicU64::new(1),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A number for a new connection.
    pub fn next_id(&self) -> ConnectionId {
        ConnectionId::new(self.shared.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Connections of this instance.
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.shared.connections.subscribe()
    }

    /// Rooms with a connection on this instance.
    pub fn rooms(&self) -> usize {
        self.shared.rooms.len()
    }

    /// The handles of all connections of this instance, in no particular order.
    pub fn members(&self) -> Vec<Arc<Member<T>>> {
        self.shared.registry.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Registers a connection that has had everything up to `cursor`, and serves it from there on until the returned
    /// seat is dropped. `live` is said once it has caught up. Cancel safe: nothing stays registered.
    pub async fn attach(
        &self,
        id: ConnectionId,
        user: User,
        link: &Arc<Link<T>>,
        rooms: &[RoomId],
        cursor: Seq,
    ) -> Seat<T> {
        let catching_up = self.shared.catching_up.clone();
        let member = Arc::new(Member::new(id, user, Arc::clone(link), rooms, cursor, catching_up));
        let seat = Seat { fanout: self.clone(), member, rooms: rooms.to_vec() };
        self.shared.registry.insert(id, Arc::clone(&seat.member));
        for room in rooms {
            self.shared.enter_room(room);
        }
        self.shared.count();
        self.command(id, Command::Attach(Arc::clone(&seat.member))).await;
        seat
    }

    /// Tells every connection. Waits while the workers' queues are full.
    pub async fn notify(&self, notice: Notice) {
        for queue in &self.shared.workers {
            // fails only after shutdown
            let _stopped = queue.commands.send(Command::Notify(notice.clone())).await;
        }
    }

    /// Lets those in a room hear something that may be missed, unless the room is so large that it would be noise.
    pub fn whisper(&self, room: &RoomId, frame: &Frame) {
        if self.shared.rooms.get(room).is_none_or(|members| *members > MAX_TYPING_AUDIENCE) {
            return;
        }
        for queue in &self.shared.workers {
            // what finds a full queue may be missed
            let _missed = queue.commands.try_send(Command::Whisper(room.clone(), frame.clone()));
        }
    }

    async fn command(&self, id: ConnectionId, command: Command<T>) {
        if let Some(queue) = self.shared.queue(id) {
            // fails only after shutdown
            let _stopped = queue.commands.send(command).await;
        }
    }
}

impl<T> Shared<T> {
    fn queue(&self, id: ConnectionId) -> Option<&Queue<T>> {
        let index = usize::try_from(id.number()).unwrap_or_default().checked_rem(self.workers.len())?;
        self.workers.get(index)
    }

    fn count(&self) {
        // under the watch's lock, or an older count could overtake a newer one
        self.connections.send_modify(|connections| {
            *connections = self.registry.len();
            self.gauge.set(f64::from(u32::try_from(*connections).unwrap_or(u32::MAX)));
        });
    }

    fn enter_room(&self, room: &RoomId) {
        *self.rooms.entry(room.clone()).or_default() += 1;
    }

    fn leave_room(&self, room: &RoomId) {
        if let Some(mut members) = self.rooms.get_mut(room) {
            *members -= 1;
        }
        self.rooms.remove_if(room, |_, members| *members == 0);
    }
}

fn start_worker<T: Transport>(ring: &Arc<Ring>, rest: Rest, shutdown: &Shutdown) -> Queue<T> {
    let (commands, queue) = mpsc::channel(QUEUE);
    let position = Arc::new(AtomicU64::new(ring.last()));
    let worker = Worker::new(Arc::clone(ring), Arc::clone(&position), rest);
    shutdown.spawn_until_shutdown(worker.run(queue, ring.watch()));
    Queue { commands, position }
}

/// A connection's place here. Dropping it is leaving, whatever the reason.
#[derive(Debug)]
pub struct Seat<T: Transport = TcpStream> {
    fanout: Fanout<T>,
    member: Arc<Member<T>>,
    rooms: Vec<RoomId>,
}

impl<T: Transport> Seat<T> {
    /// The connection.
    pub const fn member(&self) -> &Arc<Member<T>> {
        &self.member
    }

    /// Goes on with catching up, if the connection is behind. To be polled by the connection's task.
    pub fn poll_catch_up(&self, cx: &mut Context<'_>) {
        let shared = &self.fanout.shared;
        let Some(queue) = shared.queue(self.member.id()) else { return };
        let position = queue.position.load(Ordering::Acquire);
        if let Poll::Ready(true) = self.member.poll_catch_up(cx, &shared.ring, position) {
            // a full queue is no loss: the worker's sweep finds those who wait
            let _full = queue.commands.try_send(Command::TakeOver(self.member.id()));
        }
    }

    /// Whether the connection is in this room.
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.rooms.contains(room)
    }

    /// Rooms it is in.
    pub const fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Enters a room; `joined` is said once it is heard. Being there already is no error.
    pub async fn join(&mut self, room: RoomId) {
        if !self.is_in(&room) {
            self.fanout.shared.enter_room(&room);
            self.rooms.push(room.clone());
        }
        self.fanout.command(self.member.id(), Command::Join(self.member.id(), room)).await;
    }

    /// Leaves a room; `left` is said once it is no longer heard. Not being there is no error.
    pub async fn leave(&mut self, room: RoomId) {
        if let Some(index) = self.rooms.iter().position(|known| *known == room) {
            self.rooms.swap_remove(index);
            self.fanout.shared.leave_room(&room);
        }
        self.fanout.command(self.member.id(), Command::Leave(self.member.id(), room)).await;
    }

    /// Says a last frame, behind everything that is due, and closes.
    pub async fn dismiss(&self, last: Frame, reason: CloseReason) {
        self.fanout.command(self.member.id(), Command::Dismiss(self.member.id(), last, reason)).await;
    }
}

impl<T: Transport> Drop for Seat<T> {
    fn drop(&mut self) {
        let shared = &self.fanout.shared;
        shared.registry.remove(&self.member.id());
        for room in &self.rooms {
            shared.leave_room(room);
        }
        shared.count();
        if let Some(queue) = shared.queue(self.member.id()) {
            // a full queue is no loss: the worker's sweep finds those who have ended
            let _full = queue.commands.try_send(Command::Detach(self.member.id()));
        }
    }
}
