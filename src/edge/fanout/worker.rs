//! A worker: owns a share of the connections and writes to those that are live.
//!
//! Its collections are its own and change only between two passes, by commands from its queue: no lock and no shared map
//! in the loop. Natural batching: while one pass over the connections runs, new messages gather in the ring, and the next
//! pass sends all of them to a connection in one write. After a long pass the worker rests, so that more of them gather:
//! what a delivery costs is the write, and under load most of it is saved. What comes after silence goes at once.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hubbub_lifecycle::metric;
use hubbub_log::ring::{Audience, Entry, Ring};
use hubbub_protocol::{CloseReason, ConnectionId, Frame, HEARTBEAT_INTERVAL, RoomId, Seq, ServerFrame};
use metrics::Histogram;
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::warn;

use super::{
    batch::{Batch, Delivery},
    member::{Member, Progress},
    rest::Rest,
    roster::{RoomKey, Roster, Slot},
    served::Served,
};
use crate::socket::{Ending, Transport};

/// Writes after which accepts and reads get their turn.
const WRITES_PER_TURN: usize = 128;
/// Entries that one look at the ring takes.
const ENTRIES_PER_LOOK: usize = 1024;
/// Commands taken between two passes.
const COMMANDS_PER_TURN: usize = 256;
/// How often the worker looks after heartbeats and deadlines.
const SWEEP: Duration = Duration::from_secs(1);
/// A connection that takes nothing for this long although something is due is a slow consumer.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// A connection that answers no ping for this long is lost.
const SILENCE_LIMIT: Duration = HEARTBEAT_INTERVAL.saturating_mul(3);

/// What a worker is asked to do. Carried out in order, between two passes.
#[derive(Debug)]
pub(super) enum Command<T> {
    /// Serve this connection.
    Attach(Arc<Member<T>>),
    /// Forget it.
    Detach(ConnectionId),
    /// It has caught up.
    TakeOver(ConnectionId),
    /// It enters a room.
    Join(ConnectionId, RoomId),
    /// It leaves a room.
    Leave(ConnectionId, RoomId),
    /// Say this last frame to it and close, for this reason.
    Dismiss(ConnectionId, Frame, CloseReason),
    /// Every connection is to know this. The newest of its kind replaces the ones before.
    Notify(Notice),
    /// Those in a room hear this if they can hear it now.
    Whisper(RoomId, Frame),
}

/// State that every connection is told when it changes.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The live connection counter.
    Count(Frame),
    /// The state of the relay.
    Status(Frame),
}

/// Whether the ring has grown, not before `rested`. Cancel safe.
async fn changed_after(rested: Instant, grown: &mut watch::Receiver<Seq>) -> Result<(), watch::error::RecvError> {
    if rested > Instant::now() {
        sleep_until(rested).await;
    }
    grown.changed().await
}

/// The worker's loop and what it owns.
#[derive(Debug)]
pub(super) struct Worker<T> {
    ring: Arc<Ring>,
    position: Arc<AtomicU64>,
    roster: Roster<Served<T>>,
    slots: HashMap<ConnectionId, Slot>,
    count: Option<Frame>,
    status: Option<Frame>,
    latency: Histogram,
    /// Since others had their turn.
    writes: usize,
    /// Of messages, since the last pass began.
    message_writes: u32,
    rest: Rest,
}

impl<T: Transport> Worker<T> {
    /// `position` is where the worker tells how far it has come.
    pub(super) fn new(ring: Arc<Ring>, position: Arc<AtomicU64>, rest: Rest) -> Self {
        let latency = metrics::histogram!(metric::DELIVERY_LATENCY);
        let (roster, slots) = (Roster::default(), HashMap::new());
        Self { ring, position, roster, slots, count: None, status: None, latency, writes: 0, message_writes: 0, rest }
    }

    /// Runs until the queue is closed.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command<T>>, mut grown: watch::Receiver<Seq>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut queue = Vec::with_capacity(COMMANDS_PER_TURN);
        let mut rested = Instant::now();
        loop {
            tokio::select! {
                // who comes, goes or joins does not wait for the rest to end
                taken = commands.recv_many(&mut queue, COMMANDS_PER_TURN) => if taken == 0 { return },
                changed = changed_after(rested, &mut grown) => if changed.is_err() { return },
                _ = sweep.tick() => self.sweep(),
            }
            // first the ring: a cursor in a command is then never ahead of this worker
            self.advance().await;
            for command in queue.drain(..) {
                self.apply(command).await;
            }
            if let Some(rest) = self.rest.after(std::mem::take(&mut self.message_writes)) {
                rested = Instant::now() + rest;
            }
        }
    }

    fn position(&self) -> Seq {
        self.position.load(Ordering::Relaxed)
    }

    /// Fans out everything that the ring has now beyond the position. What comes meanwhile waits for the next time, or
    /// commands would starve under load.
    async fn advance(&mut self) {
        let upto = self.ring.last();
        while self.position() < upto {
            match self.ring.run(self.position(), ENTRIES_PER_LOOK) {
                Ok(entries) if entries.is_empty() => self.position.store(upto, Ordering::Release),
                Ok(entries) => self.pass(&entries).await,
                Err(_) => self.skip(),
            }
        }
    }

    async fn pass(&mut self, entries: &[Arc<Entry>]) {
        let is_plain = |entry: &Arc<Entry>| entry.was == 0 && matches!(entry.audience, Audience::Room(_));
        for run in entries.chunk_by(|a, b| is_plain(a) && is_plain(b)) {
            let Some(last) = run.last() else { continue };
            if is_plain(last) {
                self.fan_out(run).await;
            } else {
                self.single_out(last).await;
            }
            self.position.store(last.seq, Ordering::Release);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_heard_here = |entry: &&Arc<Entry>| entry.room().is_some_and(|room| self.roster.room(room).is_some());
        for entry in entries.iter().filter(is_heard_here) {
            self.latency.record(now.saturating_sub(Duration::from_millis(entry.at)).as_secs_f64());
        }
    }

    /// Sends messages to the members of their rooms, each connection in one write.
    async fn fan_out(&mut self, run: &[Arc<Entry>]) {
        let mut rooms: HashMap<RoomKey, Vec<&Arc<Entry>>> = HashMap::new();
        for entry in run {
            if let Audience::Room(id) = &entry.audience
                && let Some(room) = self.roster.room(id)
            {
                rooms.entry(room).or_default().push(entry);
            }
        }
        // those who sit in several rooms get the messages of all of them in one order
        let mut mixed: Vec<(Slot, RoomKey)> = Vec::new();
        for (&room, entries) in &rooms {
            let batch = Batch::of(entries.iter().copied());
            let mut next = 0;
            while let Some(&slot) = self.roster.members(room).get(next) {
                next += 1;
                if self.roster.sits_alone(slot) {
                    self.write(slot, &batch);
                    self.take_turns().await;
                } else {
                    mixed.push((slot, room));
                }
            }
        }
        mixed.sort_unstable();
        for seats in mixed.chunk_by(|a, b| a.0 == b.0) {
            let mut entries: Vec<&Arc<Entry>> =
                seats.iter().filter_map(|(_, room)| rooms.get(room)).flatten().copied().collect();
            entries.sort_unstable_by_key(|entry| entry.seq);
            if let Some(&(slot, _)) = seats.first() {
                self.write(slot, &Batch::of(entries));
                self.take_turns().await;
            }
        }
    }

    /// Handles what does not go to everybody alike: markers, holes, returned messages.
    async fn single_out(&mut self, entry: &Arc<Entry>) {
        let position = self.position();
        let batch = Batch::of([entry]);
        match &entry.audience {
            Audience::Nobody => {
                for (_, served) in self.roster.iter_mut() {
                    served.crossed_at = entry.crossed_at(position);
                }
            }
            Audience::Everyone => {
                let slots: Vec<Slot> = self.roster.iter().map(|(slot, _)| slot).collect();
                for slot in slots {
                    self.write(slot, &batch);
                    self.take_turns().await;
                }
            }
            Audience::Room(id) => {
                let members = self.roster.room(id).map(|room| self.roster.members(room).to_vec());
                for slot in members.unwrap_or_default() {
                    if self.roster.get(slot).is_some_and(|served| entry.was > served.crossed_at) {
                        self.write(slot, &batch);
                        self.take_turns().await;
                    }
                }
            }
        }
    }

    fn write(&mut self, slot: Slot, batch: &Batch) {
        let position = self.position();
        let Some(served) = self.roster.get_mut(slot).filter(|served| served.live) else { return };
        self.writes += 1;
        self.message_writes = self.message_writes.saturating_add(1);
        match batch.write(served.member.link(), position) {
            Delivery::Done => {}
            Delivery::Cut(cursor) => served.fall_behind(cursor),
            Delivery::Closed => served.live = false,
        }
    }

    async fn take_turns(&mut self) {
        if self.writes >= WRITES_PER_TURN {
            self.writes = 0;
            yield_now().await;
        }
    }

    /// The ring has moved on faster than this worker: its connections go on from where they are, or are told that they
    /// cannot.
    fn skip(&mut self) {
        warn!("a fan-out worker fell out of the ring; its connections catch up by themselves");
        let position = self.position();
        for (_, served) in self.roster.iter_mut().filter(|(_, served)| served.live) {
            served.fall_behind(position);
        }
        self.position.store(self.ring.last(), Ordering::Release);
    }

    async fn apply(&mut self, command: Command<T>) {
        match command {
            Command::Attach(member) => self.attach(member),
            Command::Detach(id) => {
                if let Some(slot) = self.slots.remove(&id) {
                    self.roster.remove(slot);
                }
            }
            Command::TakeOver(id) => self.with_slot(id, Self::take_over),
            Command::Join(id, room) => self.with_slot(id, |worker, slot| worker.join(slot, &room)),
            Command::Leave(id, room) => self.with_slot(id, |worker, slot| worker.leave(slot, room)),
            Command::Dismiss(id, last, reason) => self.with_slot(id, |worker, slot| {
                if let Some(served) = worker.roster.get(slot) {
                    served.member.link().close_after(Some(&last), Ending::Ours(reason));
                }
            }),
            Command::Notify(notice) => self.notify(notice).await,
            Command::Whisper(room, frame) => self.whisper(&room, &frame),
        }
    }

    fn with_slot(&mut self, id: ConnectionId, act: impl FnOnce(&mut Self, Slot)) {
        if let Some(&slot) = self.slots.get(&id) {
            act(self, slot);
        }
    }

    fn attach(&mut self, member: Arc<Member<T>>) {
        let rooms: Vec<RoomId> = member.feed().rooms().cloned().collect();
        let id = member.id();
        let slot = self.roster.insert(Served::new(member));
        self.slots.insert(id, slot);
        for room in rooms {
            self.roster.join(slot, &room);
        }
        self.take_over(slot);
    }

    /// Makes a connection live that has caught up. What has come since it said so is written here, in the same step, so
    /// that nothing is missed or repeated between the two.
    fn take_over(&mut self, slot: Slot) {
        let position = self.position();
        let Some(served) = self.roster.get_mut(slot) else { return };
        let mut feed = served.member.feed();
        if feed.is_live() {
            return;
        }
        let link = served.member.link();
        match feed.step(link, &self.ring, position) {
            Progress::Reached => {
                feed.go_live(link, position);
                served.live = true;
                served.crossed_at = feed.crossed_at;
                if std::mem::take(&mut served.uninformed) {
                    self.count.iter().chain(&self.status).for_each(|frame| link.reply(frame));
                }
                // a session that waits for it to be served, to say goodbye, looks again
                link.wake();
            }
            // its own task goes on
            Progress::More | Progress::Blocked => link.wake(),
            Progress::Ended => {}
        }
    }

    fn join(&mut self, slot: Slot, room: &RoomId) {
        let position = self.position();
        let Some(served) = self.roster.get(slot) else { return };
        let mut feed = served.member.feed();
        let seq = feed.cursor(position);
        feed.join(room.clone(), seq);
        served.member.link().reply(&Frame::json(&ServerFrame::Joined { room: room.clone(), seq }));
        drop(feed);
        self.roster.join(slot, room);
    }

    fn leave(&mut self, slot: Slot, room: RoomId) {
        let position = self.position();
        self.roster.leave(slot, &room);
        let Some(served) = self.roster.get(slot) else { return };
        let mut feed = served.member.feed();
        feed.leave(&room);
        let seq = feed.cursor(position);
        served.member.link().reply(&Frame::json(&ServerFrame::Left { room, seq }));
    }

    async fn notify(&mut self, notice: Notice) {
        let frame = match notice {
            Notice::Count(frame) => self.count.insert(frame).clone(),
            Notice::Status(frame) => self.status.insert(frame).clone(),
        };
        let slots: Vec<Slot> = self.roster.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(served) = self.roster.get_mut(slot) {
                served.uninformed |= !(served.live && served.member.link().offer(&frame));
            }
            self.writes += 1;
            self.take_turns().await;
        }
    }

    fn whisper(&mut self, room: &RoomId, frame: &Frame) {
        let members = self.roster.room(room).map_or(&[][..], |room| self.roster.members(room));
        for served in members.iter().filter_map(|slot| self.roster.get(*slot)).filter(|served| served.live) {
            // who cannot hear it now need not hear it later
            let _heard = served.member.link().offer(frame);
        }
    }

    /// Heartbeats, deadlines, and what a full queue or a dropped session left behind.
    fn sweep(&mut self) {
        let (now, position) = (Instant::now(), self.position());
        let (mut gone, mut caught_up) = (Vec::new(), Vec::new());
        for (slot, served) in self.roster.iter_mut() {
            let link = served.member.link();
            if link.ending().is_some() {
                gone.push((slot, served.member.id()));
            } else if link.blocked_for().is_some_and(|blocked| blocked >= STALL_LIMIT) {
                link.close(Ending::Ours(CloseReason::SlowConsumer));
            } else if link.silent_for() >= SILENCE_LIMIT && served.member.is_read() {
                link.close(Ending::Ours(CloseReason::HeartbeatLost));
            } else if served.member.feed().has_reached(position) {
                caught_up.push(slot);
            }
            served.beat(now, position);
            if served.live && std::mem::take(&mut served.uninformed) {
                self.count.iter().chain(&self.status).for_each(|frame| served.member.link().reply(frame));
            }
        }
        for (slot, id) in gone {
            self.roster.remove(slot);
            self.slots.remove(&id);
        }
        for slot in caught_up {
            self.take_over(slot);
        }
    }
}
