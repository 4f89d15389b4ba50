//! From the ring to the sockets of this instance.
//!
//! [`Fanout`] holds the map from connection id to connection; its length is this instance's count. One worker for each
//! processor (see [`worker`]) serves a fixed share of the connections.

mod coalescing;
mod roster;
mod rules;
mod usher;
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
use hubbub_protocol::{CloseReason, ConnectionId, Frame, MAX_TYPING_AUDIENCE, RoomId};
use metrics::Gauge;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
};

pub use self::coalescing::Coalescing;
use self::{
    usher::Usher,
    worker::{Command, Worker},
};
use crate::{
    connection::Connection,
    notice::{Encode, Notice},
    ports::Directory,
    socket::Transport,
};

/// Capacity of a worker's command queue.
const QUEUE: usize = 4096;

/// The registry of this instance's connections, and the command queues of the workers that serve them. Clones share it.
#[derive(Debug)]
pub struct Fanout<T = TcpStream> {
    registry: Arc<Registry<T>>,
}

#[derive(Debug)]
struct Registry<T> {
    ring: Arc<Ring>,
    connections: DashMap<ConnectionId, Arc<Connection<T>>>,
    /// Open seats of each room, kept by the workers.
    rooms: Arc<DashMap<RoomId, usize>>,
    workers: Vec<WorkerHandle<T>>,
    count: watch::Sender<usize>,
    gauge: Gauge,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct WorkerHandle<T> {
    commands: mpsc::Sender<Command<T>>,
    /// The last place that the worker has fanned out.
    position: Arc<AtomicU64>,
}

impl<T> Clone for Fanout<T> {
    fn clone(&self) -> Self {
        Self { registry: Arc::clone(&self.registry) }
    }
}

impl<T: Transport> Fanout<T> {
    /// Starts one worker for each processor, and the task that reads the seats of accounts from `directory`. `encode` builds
    /// the frames of notices.
    pub fn start(
        ring: &Arc<Ring>,
        directory: Arc<dyn Directory>,
        coalescing: Coalescing,
        encode: Encode,
        shutdown: &Shutdown,
    ) -> Self {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        let rooms = Arc::new(DashMap::new());
        let (questions, asked) = mpsc::channel(usher::QUEUE);
        let start_worker = |_| {
            let (commands, queue) = mpsc::channel(QUEUE);
            let worker = Worker::new(Arc::clone(ring), Arc::clone(&rooms), questions.clone(), coalescing, encode);
            let position = worker.shared_position();
            shutdown.spawn_until_shutdown(worker.run(queue, ring.watch()));
            WorkerHandle { commands, position }
        };
        let workers: Vec<WorkerHandle<T>> = (0..processors).map(start_worker).collect();
        let usher = Usher::new(directory, workers.iter().map(|worker| worker.commands.clone()).collect());
        shutdown.spawn_until_shutdown(usher.run(asked));
        let registry = Registry {
            ring: Arc::clone(ring),
            connections: DashMap::new(),
            rooms,
            workers,
            count: watch::Sender::new(0),
            gauge: metrics::gauge!(metric::CONNECTIONS),
            next_id: AtomicU64::new(1),
        };
        Self { registry: Arc::new(registry) }
    }

    /// An id for a new connection.
    pub fn next_id(&self) -> ConnectionId {
        ConnectionId::new(self.registry.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Number of connections of this instance.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.registry.count.subscribe()
    }

    /// Number of rooms in which a connection of this instance has a seat.
    pub fn rooms(&self) -> usize {
        self.registry.rooms.len()
    }

    /// All connections of this instance, in no particular order.
    pub fn connections(&self) -> Vec<Arc<Connection<T>>> {
        self.registry.connections.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Registers a connection and serves it from its cursor until [`detach`](Self::detach). Not cancel safe: a dropped
    /// call leaves the connection registered; call `detach` then, too.
    pub async fn attach(&self, connection: &Arc<Connection<T>>) {
        self.registry.connections.insert(connection.id(), Arc::clone(connection));
        self.registry.recount();
        self.command(connection.id(), Command::Attach(Arc::clone(connection))).await;
    }

    /// Removes a connection from the registry and from its worker.
    pub fn detach(&self, connection: &Connection<T>) {
        self.registry.connections.remove(&connection.id());
        self.registry.recount();
        if let Some(worker) = self.registry.worker(connection.id()) {
            // a full queue is no loss: the worker's sweep finds connections that have ended
            let _full = worker.commands.try_send(Command::Detach(connection.id()));
        }
    }

    /// Continues catching up, if the connection is behind. Polled by the conversation task.
    pub fn poll_catch_up(&self, connection: &Connection<T>, cx: &mut Context<'_>) {
        let Some(worker) = self.registry.worker(connection.id()) else { return };
        let position = worker.position.load(Ordering::Acquire);
        if let Poll::Ready(true) = connection.poll_catch_up(cx, &self.registry.ring, position) {
            // a full queue is no loss: the worker's sweep finds connections that have caught up
            let _full = worker.commands.try_send(Command::TakeOver(connection.id()));
        }
    }

    /// Opens a seat in a room. Returns when the seat is open and `joined` is queued. An open seat is confirmed again.
    pub async fn join(&self, connection: &Connection<T>, room: RoomId) {
        let id = connection.id();
        self.request(id, |done| Command::Join(id, room, done)).await;
    }

    /// Closes the seat in a room. Returns when the seat is closed and `left` is queued. Without a seat, `left` is sent
    /// too.
    pub async fn leave(&self, connection: &Connection<T>, room: RoomId) {
        let id = connection.id();
        self.request(id, |done| Command::Leave(id, room, done)).await;
    }

    /// Sends a last frame behind everything that the worker has fanned out, and closes.
    pub async fn close_after(&self, connection: &Connection<T>, last: Frame, reason: CloseReason) {
        self.command(connection.id(), Command::CloseAfter(connection.id(), last, reason)).await;
    }

    /// Sends a count or a status to every connection. Waits while a worker's queue is full.
    pub async fn notify(&self, notice: Notice) {
        for worker in &self.registry.workers {
            // fails only after shutdown
            let _stopped = worker.commands.send(Command::Notify(notice.clone())).await;
        }
    }

    /// Sends a notice that may be lost to the connections of a room. Does nothing if the room has more than
    /// [`MAX_TYPING_AUDIENCE`] of them here.
    pub fn send_ephemeral(&self, room: &RoomId, notice: &Notice) {
        if self.registry.rooms.get(room).is_none_or(|seats| *seats > MAX_TYPING_AUDIENCE) {
            return;
        }
        for worker in &self.registry.workers {
            // dropped if the worker's queue is full
            let _full = worker.commands.try_send(Command::SendEphemeral(room.clone(), notice.clone()));
        }
    }

    /// Sends a command and waits until it is carried out, or the worker has stopped.
    async fn request(&self, id: ConnectionId, command: impl FnOnce(oneshot::Sender<()>) -> Command<T>) {
        let Some(worker) = self.registry.worker(id) else { return };
        let (done, carried_out) = oneshot::channel();
        if worker.commands.send(command(done)).await.is_ok() {
            tokio::select! {
                _ = carried_out => (),
                () = worker.commands.closed() => (),
            }
        }
    }

    async fn command(&self, id: ConnectionId, command: Command<T>) {
        if let Some(worker) = self.registry.worker(id) {
            // fails only after shutdown
            let _stopped = worker.commands.send(command).await;
        }
    }
}

impl<T> Registry<T> {
    fn worker(&self, id: ConnectionId) -> Option<&WorkerHandle<T>> {
        let index = usize::try_from(id.number()).unwrap_or_default().checked_rem(self.workers.len())?;
        self.workers.get(index)
    }

    fn recount(&self) {
        // under the watch's lock: else an older count could overwrite a newer one
        self.count.send_modify(|count| {
            *count = self.connections.len();
            self.gauge.set(f64::from(u32::try_from(*count).unwrap_or(u32::MAX)));
        });
    }
}
