//! A worker: owns a share of the connections and writes to those that are live.
//!
//! Its collections are its own and change only between two passes, by commands from its queue: no shared map in the
//! loop. While one pass over the connections runs, new messages gather in the ring, and the next pass sends all of them
//! to a connection in one write. After a long pass the worker pauses, so that more of them gather: the cost of a
//! delivery is the write. A message after silence goes out at once.

#[cfg(test)]
mod model;
mod pass;

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
use hubbub_protocol::{CloseReason, ConnectionId, Frame, HEARTBEAT_INTERVAL, RoomId, Seq};
use metrics::Histogram;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    coalescing::Coalescing,
    roster::{Roster, Slot},
};
use crate::{
    connection::Connection,
    notice::{Encode, Notice},
    socket::{Ending, Transport},
};

/// Writes after which accepts and reads get their turn.
const WRITES_PER_TURN: usize = 128;
/// Commands taken between two passes.
const COMMANDS_PER_TURN: usize = 256;
/// How often the worker checks heartbeats and deadlines.
const SWEEP: Duration = Duration::from_secs(1);
/// A connection that takes nothing for this long although something is due is a slow consumer.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// A connection from which nothing was received for this long, not even a pong, is lost.
const SILENCE_LIMIT: Duration = HEARTBEAT_INTERVAL.saturating_mul(3);

/// A request to a worker. Carried out in order, between two passes.
#[derive(Debug)]
pub(super) enum Command<T> {
    /// Serve this connection.
    Attach(Arc<Connection<T>>),
    /// Forget it.
    Detach(ConnectionId),
    /// It has caught up.
    TakeOver(ConnectionId),
    /// Open its seat in a room, then report that it is done.
    Join(ConnectionId, RoomId, oneshot::Sender<()>),
    /// Close its seat in a room, then report that it is done.
    Leave(ConnectionId, RoomId, oneshot::Sender<()>),
    /// Send this last frame to it and close, for this reason.
    CloseAfter(ConnectionId, Frame, CloseReason),
    /// Send this to every connection. The newest of its kind replaces the ones before.
    Notify(Notice),
    /// Send this to the connections of a room that can take it now.
    SendEphemeral(RoomId, Notice),
}

/// The worker's loop and what it owns.
#[derive(Debug)]
pub(super) struct Worker<T> {
    ring: Arc<Ring>,
    encode: Encode,
    /// The last place that was fanned out.
    position: Arc<AtomicU64>,
    roster: Roster<Arc<Connection<T>>>,
    slots: HashMap<ConnectionId, Slot>,
    /// Open seats of each room, over all workers of the instance.
    rooms: Arc<DashMap<RoomId, usize>>,
    standing: Standing,
    latency: Histogram,
    turns: Turns,
    coalescing: Coalescing,
}

/// The newest count and status, for connections that missed them.
#[derive(Debug, Default)]
struct Standing {
    count: Option<Frame>,
    status: Option<Frame>,
}

impl Standing {
    fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.count.iter().chain(&self.status)
    }
}

/// Counts writes, so that other tasks get their turn between them.
#[derive(Debug, Default)]
struct Turns {
    /// Since other tasks had their turn.
    writes: usize,
    /// Writes of messages since the last pass began.
    message_writes: u32,
}

impl Turns {
    /// One more write of messages.
    async fn message(&mut self) {
        self.message_writes = self.message_writes.saturating_add(1);
        self.take().await;
    }

    /// One more write.
    async fn take(&mut self) {
        self.writes += 1;
        if self.writes >= WRITES_PER_TURN {
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
            standing: Standing::default(),
            latency: metrics::histogram!(metric::DELIVERY_LATENCY),
            turns: Turns::default(),
            coalescing,
        }
    }

    /// Where the worker publishes its position.
    pub(super) fn shared_position(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.position)
    }

    /// Runs until the queue is closed.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command<T>>, mut grown: watch::Receiver<Seq>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut queue = Vec::with_capacity(COMMANDS_PER_TURN);
        let mut paused_until = Instant::now();
        loop {
            tokio::select! {
                // commands do not wait for the end of a pause
                taken = commands.recv_many(&mut queue, COMMANDS_PER_TURN) => if taken == 0 { return },
                changed = changed_after(paused_until, &mut grown) => if changed.is_err() { return },
                _ = sweep.tick() => self.sweep(Instant::now()),
            }
            // first the ring: a cursor in a command is then never ahead of this worker
            self.advance().await;
            for command in queue.drain(..) {
                self.apply(command).await;
            }
            let writes = std::mem::take(&mut self.turns.message_writes);
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
            Command::Join(id, room, done) => {
                self.join(id, &room);
                // the client may have gone
                let _gone = done.send(());
            }
            Command::Leave(id, room, done) => {
                self.leave(id, &room);
                let _gone = done.send(());
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
        for room in connection.rooms() {
            self.enter(slot, &room);
        }
        self.take_over(connection);
    }

    fn detach(&mut self, id: ConnectionId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let Some(connection) = self.roster.remove(slot) else { return };
        for room in connection.rooms() {
            self.count_out(&room);
        }
    }

    fn take_over(&self, connection: &Connection<T>) {
        connection.take_over(&self.ring, self.position(), self.encode, self.standing.frames());
    }

    fn join(&mut self, id: ConnectionId, room: &RoomId) {
        let Some(&slot) = self.slots.get(&id) else { return };
        let Some(connection) = self.roster.get(slot) else { return };
        if connection.open_seat(room, self.position(), self.encode) {
            self.enter(slot, room);
        }
    }

    fn leave(&mut self, id: ConnectionId, room: &RoomId) {
        let Some(&slot) = self.slots.get(&id) else { return };
        let Some(connection) = self.roster.get(slot) else { return };
        if connection.close_seat(room, self.position(), self.encode) {
            self.roster.leave(slot, room);
            self.count_out(room);
        }
    }

    fn enter(&mut self, slot: Slot, room: &RoomId) {
        self.roster.join(slot, room);
        *self.rooms.entry(room.clone()).or_default() += 1;
    }

    fn count_out(&self, room: &RoomId) {
        if let Some(mut seats) = self.rooms.get_mut(room) {
            *seats -= 1;
        }
        self.rooms.remove_if(room, |_, seats| *seats == 0);
    }

    async fn notify(&mut self, notice: &Notice) {
        let frame = (self.encode)(notice);
        match notice {
            Notice::Count(_) => self.standing.count = Some(frame.clone()),
            Notice::Status(_) => self.standing.status = Some(frame.clone()),
            // nothing that a connection could miss
            _ => {}
        }
        for (_, connection) in self.roster.iter() {
            connection.offer(&frame);
            self.turns.take().await;
        }
    }

    fn send_ephemeral(&self, room: &RoomId, notice: &Notice) {
        let frame = (self.encode)(notice);
        for connection in self.roster.members(room) {
            connection.offer_ephemeral(&frame);
        }
    }

    /// Heartbeats and deadlines, and the commands that found a full queue.
    fn sweep(&mut self, now: Instant) {
        let position = self.position();
        let mut ended = Vec::new();
        for (_, connection) in self.roster.iter() {
            let link = connection.link();
            if link.ending().is_some() {
                ended.push(connection.id());
                continue;
            }
            if link.blocked_for().is_some_and(|blocked| blocked >= STALL_LIMIT) {
                link.close(Ending::Ours(CloseReason::SlowConsumer));
            } else if link.silent_for() >= SILENCE_LIMIT && connection.is_read() {
                link.close(Ending::Ours(CloseReason::HeartbeatLost));
            } else if connection.has_reached(position) {
                self.take_over(connection);
            }
            connection.beat(now, position, self.encode, self.standing.frames());
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
