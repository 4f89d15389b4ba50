//! A worker: owns a share of the connections and writes to those that are live.
//!
//! Commands from its queue change its collections, only between two passes. The write loop uses no shared map; only the
//! seat counts are shared. While a pass runs, new messages collect in the ring, and the next pass sends all of them to
//! a connection in one write. After a long pass the worker pauses, so that more messages collect: a delivery costs
//! mainly its write. The first message after an idle period is sent at once.

#[cfg(test)]
mod model;
mod pass;
mod seating;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use hubbub_lifecycle::metric;
use hubbub_log::ring::Ring;
use hubbub_protocol::{CloseReason, ConnectionId, Frame, HEARTBEAT_INTERVAL, RoomId, RoomKind, Seq};
use metrics::Histogram;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    coalescing::Coalescing,
    roster::{Roster, Slot},
    rules::RecentRules,
};
use crate::{
    connection::Connection,
    notice::{Encode, Notice},
    ports::{Seats, Sitter, Unavailable},
    socket::{Ending, Transport},
};

/// Number of writes after which the worker yields, so that accepts and reads run.
const WRITES_PER_YIELD: usize = 128;
/// Upper bound for the commands that are carried out between two passes.
const COMMANDS_PER_PASS: usize = 256;
/// Interval between two checks of heartbeats and timeouts.
const SWEEP: Duration = Duration::from_secs(1);
/// A connection is closed with 4002 if bytes wait for it and its socket takes none for this long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed as lost if nothing was received from it for this long, not even a pong.
const RECEIVE_TIMEOUT: Duration = HEARTBEAT_INTERVAL.saturating_mul(3);

/// A worker asks for the seats of a connection.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) connection: ConnectionId,
    pub(super) sitter: Sitter,
    /// Tells the answer from that to an earlier question.
    pub(super) read: u64,
}

/// What the directory answers about one connection. None: its session has ended.
pub(super) type Answer = Result<Option<Seats>, Unavailable>;

/// A request to a worker. Carried out in order, between two passes.
#[derive(Debug)]
pub(super) enum Command<T> {
    /// Serve this connection.
    Attach(Arc<Connection<T>>),
    /// Remove it.
    Detach(ConnectionId),
    /// Make it live. It has caught up.
    TakeOver(ConnectionId),
    /// The answer of the directory to this read of its seats.
    Seat(ConnectionId, u64, Answer),
    /// Open its seat in a room, then complete the sender.
    Join(ConnectionId, RoomId, oneshot::Sender<()>),
    /// Close its seat in a room, then complete the sender.
    Leave(ConnectionId, RoomId, oneshot::Sender<()>),
    /// Send it this last frame and close it with this reason.
    CloseAfter(ConnectionId, Frame, CloseReason),
    /// Send a count or a status to every connection. It replaces the previous one.
    Notify(Notice),
    /// Send this to the live connections of a room whose sockets take it now.
    SendEphemeral(RoomId, Notice),
}

/// The worker's state; [`run`](Self::run) is its loop.
#[derive(Debug)]
pub(super) struct Worker<T> {
    ring: Arc<Ring>,
    encode: Encode,
    /// The seq of the last entry that was fanned out.
    position: Arc<AtomicU64>,
    roster: Roster<Arc<Connection<T>>>,
    slots: HashMap<ConnectionId, Slot>,
    /// Open seats of each room, over all workers of the instance.
    rooms: Arc<DashMap<RoomId, usize>>,
    /// For the seats of accounts.
    questions: mpsc::Sender<Question>,
    rules: RecentRules,
    latest_notices: LatestNotices,
    latency: Histogram,
    budget: YieldBudget,
    coalescing: Coalescing,
}

/// The newest count and status, for connections that missed them.
#[derive(Debug, Default)]
struct LatestNotices {
    count: Option<Frame>,
    status: Option<Frame>,
}

impl LatestNotices {
    fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.count.iter().chain(&self.status)
    }
}

/// Counts writes and yields to other tasks after every [`WRITES_PER_YIELD`].
#[derive(Debug, Default)]
struct YieldBudget {
    /// Writes since the last yield.
    writes: usize,
    /// Writes of messages since the last pass began.
    message_writes: u32,
}

impl YieldBudget {
    /// Counts one write of messages.
    async fn count_message_write(&mut self) {
        self.message_writes = self.message_writes.saturating_add(1);
        self.count_write().await;
    }

    /// Counts one write of any kind, and yields if it is time.
    async fn count_write(&mut self) {
        self.writes += 1;
        if self.writes >= WRITES_PER_YIELD {
            self.writes = 0;
            yield_now().await;
        }
    }
}

impl<T: Transport> Worker<T> {
    /// A worker without connections, at the end of the ring.
    pub(super) fn new(
        ring: Arc<Ring>,
        rooms: Arc<DashMap<RoomId, usize>>,
        questions: mpsc::Sender<Question>,
        coalescing: Coalescing,
        encode: Encode,
    ) -> Self {
        Self {
            position: Arc::new(AtomicU64::new(ring.last())),
            ring,
            encode,
            roster: Roster::default(),
            slots: HashMap::new(),
            rooms,
            questions,
            rules: RecentRules::default(),
            latest_notices: LatestNotices::default(),
            latency: metrics::histogram!(metric::DELIVERY_LATENCY),
            budget: YieldBudget::default(),
            coalescing,
        }
    }

    /// The worker's position, for reading by other tasks.
    pub(super) fn shared_position(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.position)
    }

    /// Runs until the queue is closed.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command<T>>, mut grown: watch::Receiver<Seq>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut queue = Vec::with_capacity(COMMANDS_PER_PASS);
        let mut paused_until = Instant::now();
        loop {
            tokio::select! {
                // commands do not wait for the end of a pause
                taken = commands.recv_many(&mut queue, COMMANDS_PER_PASS) => if taken == 0 { return },
                changed = changed_after(paused_until, &mut grown) => if changed.is_err() { return },
                _ = sweep.tick() => self.sweep(Instant::now()),
            }
            // first the ring: then no connection in a command has a cursor above this worker's position
            self.advance().await;
            for command in queue.drain(..) {
                self.apply(command).await;
            }
            let writes = std::mem::take(&mut self.budget.message_writes);
            if let Some(pause) = self.coalescing.pause_after(writes) {
                paused_until = Instant::now() + pause;
            }
        }
    }

    fn position(&self) -> Seq {
        self.position.load(Ordering::Relaxed)
    }

    async fn apply(&mut self, command: Command<T>) {
        match command {
            Command::Attach(connection) => self.attach(&connection),
            Command::Detach(id) => self.detach(id),
            Command::TakeOver(id) => {
                if let Some(connection) = self.connection(id) {
                    self.take_over(connection);
                }
            }
            Command::Seat(id, read, answer) => self.seat(id, read, answer),
            Command::Join(id, room, done) => {
                self.join(id, &room);
                // fails only if the conversation has ended
                let _ended = done.send(());
            }
            Command::Leave(id, room, done) => {
                self.leave(id, &room);
                let _ended = done.send(());
            }
            Command::CloseAfter(id, last, reason) => {
                if let Some(connection) = self.connection(id) {
                    connection.link().close_after(Some(&last), Ending::Ours(reason));
                }
            }
            Command::Notify(notice) => self.notify(&notice).await,
            Command::SendEphemeral(room, notice) => self.send_ephemeral(&room, &notice),
        }
    }

    fn connection(&self, id: ConnectionId) -> Option<&Arc<Connection<T>>> {
        self.roster.get(*self.slots.get(&id)?)
    }

    fn attach(&mut self, connection: &Arc<Connection<T>>) {
        let slot = self.roster.insert(Arc::clone(connection));
        self.slots.insert(connection.id(), slot);
        let rooms = connection.rooms();
        self.roster.join_all(slot, &rooms);
        for room in &rooms {
            self.count_seat(room);
        }
        self.ask(connection);
        self.take_over(connection);
    }

    fn detach(&mut self, id: ConnectionId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let Some(connection) = self.roster.remove(slot) else { return };
        for room in connection.rooms() {
            self.remove_seat(&room);
        }
    }

    fn take_over(&self, connection: &Connection<T>) {
        connection.take_over(&self.ring, self.position(), self.encode, self.latest_notices.frames());
    }

    fn join(&mut self, id: ConnectionId, room: &RoomId) {
        let Some(&slot) = self.slots.get(&id) else { return };
        let Some(connection) = self.roster.get(slot) else { return };
        if connection.open_seat(room, self.position(), self.encode) {
            self.roster.join(slot, room);
            self.count_seat(room);
        }
    }

    fn leave(&mut self, id: ConnectionId, room: &RoomId) {
        let Some(&slot) = self.slots.get(&id) else { return };
        let Some(connection) = self.roster.get(slot) else { return };
        if connection.close_seat(room, self.position(), self.encode) {
            self.roster.leave(slot, room);
            self.remove_seat(room);
        }
    }

    fn count_seat(&self, room: &RoomId) {
        // nobody types in an inbox, and it is none of the rooms that are counted
        if room.kind() != RoomKind::Inbox {
            *self.rooms.entry(room.clone()).or_default() += 1;
        }
    }

    fn remove_seat(&self, room: &RoomId) {
        if let Some(mut seats) = self.rooms.get_mut(room) {
            *seats -= 1;
        }
        self.rooms.remove_if(room, |_, seats| *seats == 0);
    }

    async fn notify(&mut self, notice: &Notice) {
        let frame = (self.encode)(notice);
        match notice {
            Notice::Count(_) => self.latest_notices.count = Some(frame.clone()),
            Notice::Status(_) => self.latest_notices.status = Some(frame.clone()),
            // not sent again to connections that missed them
            _ => {}
        }
        for (_, connection) in self.roster.iter() {
            connection.try_send(&frame);
            self.budget.count_write().await;
        }
    }

    fn send_ephemeral(&self, room: &RoomId, notice: &Notice) {
        let frame = (self.encode)(notice);
        for connection in self.roster.members(room) {
            connection.try_send_ephemeral(&frame);
        }
    }

    /// Sends heartbeats, closes connections at their timeouts, and does what [`Command::TakeOver`] and
    /// [`Command::Detach`] would have done if the queue was full.
    fn sweep(&mut self, now: Instant) {
        let position = self.position();
        let mut ended = Vec::new();
        for (_, connection) in self.roster.iter() {
            let link = connection.link();
            if link.ending().is_some() {
                ended.push(connection.id());
                continue;
            }
            if link.blocked_for().is_some_and(|blocked| blocked >= WRITE_TIMEOUT) {
                link.close(Ending::Ours(CloseReason::SlowConsumer));
            } else if link.silent_for() >= RECEIVE_TIMEOUT && connection.is_reading() {
                link.close(Ending::Ours(CloseReason::HeartbeatLost));
            } else if connection.can_go_live(position) {
                self.take_over(connection);
            }
            self.ask(connection);
            connection.beat(now, position, self.encode, self.latest_notices.frames());
        }
        for id in ended {
            self.detach(id);
        }
    }
}

/// Waits until the ring has grown, not before `paused_until`. Cancel safe.
async fn changed_after(paused_until: Instant, grown: &mut watch::Receiver<Seq>) -> Result<(), watch::error::RecvError> {
    if paused_until > Instant::now() {
        sleep_until(paused_until).await;
    }
    grown.changed().await
}
