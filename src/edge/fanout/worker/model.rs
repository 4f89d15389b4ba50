//! A random test of the hand-over between a worker and the conversation tasks. Ring, worker and connections are the
//! real ones; the test decides how many bytes a socket takes. Clients open and close seats, and the test does at chosen
//! seqs. Connections resume, fall behind, catch up and end. The log loses its tail, appends a marker, and gets the tail
//! back.
//!
//! The model consists of the log and the seats. It checks for each client: it receives every message of its seats once
//! and no other message, `seq` always grows, and everything up to the seq that a notice reports has been sent before
//! it.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hubbub_log::{
    LogEntry, Marker,
    ring::{CursorCheck, Retention},
};
use hubbub_protocol::Count;
use parking_lot::Mutex;
use tokio::runtime::Builder;

use super::*;
use crate::{
    socket::Link,
    test_rng::{TestRng, run_cases},
};

const CASES: u64 = 100_000;
/// Rooms that clients join and leave by their own frames.
const ROOMS: [&str; 2] = ["a", "b"];
/// A room in which the test opens and closes seats at chosen seqs.
const PLACED_ROOM: &str = "c";
const MAX_CLIENTS: usize = 5;
const STEPS: usize = 40;

/// A socket whose kernel buffer has a limited number of free bytes.
#[derive(Clone, Debug, Default)]
struct Socket(Arc<Kernel>);

#[derive(Debug, Default)]
struct Kernel {
    room: AtomicUsize,
    taken: Mutex<Vec<u8>>,
}

impl Transport for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.room.load(Ordering::Relaxed).min(bytes.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.room.fetch_sub(count, Ordering::Relaxed);
        self.0.taken.lock().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.room.load(Ordering::Relaxed) > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// The seqs in which a client must receive the messages of a room.
#[derive(Clone, Debug)]
struct Interval {
    room: RoomId,
    since: Seq,
    until: Option<Seq>,
}

impl Interval {
    fn holds(&self, room: &RoomId, seq: Seq) -> bool {
        self.room == *room && self.since < seq && self.until.is_none_or(|until| seq <= until)
    }
}

fn open(intervals: &mut Vec<Interval>, room: &RoomId, since: Seq) {
    if intervals.iter().all(|interval| interval.room != *room || interval.until.is_some()) {
        intervals.push(Interval { room: room.clone(), since, until: None });
    }
}

fn close(intervals: &mut [Interval], room: &RoomId, until: Seq) {
    if let Some(interval) = intervals.iter_mut().find(|interval| interval.room == *room && interval.until.is_none()) {
        interval.until = Some(until);
    }
}

/// A message of the log.
#[derive(Clone, Debug)]
struct Published {
    id: u64,
    room: RoomId,
    /// Its seqs, the newest last: one for each time it was appended.
    places: Vec<Seq>,
}

impl Published {
    fn place(&self) -> Seq {
        self.places.last().copied().unwrap()
    }

    fn entry(&self) -> LogEntry {
        let was = self.places.len().checked_sub(2).map_or(0, |n| self.places[n]);
        let body = "x".repeat(usize::try_from(self.id % 7 * 11).unwrap());
        let record = format!(r#"{{"id":{},"room":"{}","at":1,"body":"{body}"}}"#, self.id, self.room);
        LogEntry::Message { seq: self.place(), was, record: record.into() }
    }
}

/// The log: its messages, the messages it has lost, and the first seq of each epoch.
struct Log {
    messages: Vec<Published>,
    lost: Vec<Published>,
    bases: Vec<Seq>,
    last: Seq,
    published: u64,
}

impl Log {
    fn epoch(&self, seq: Seq) -> usize {
        self.bases.partition_point(|base| *base <= seq)
    }
}

/// A client: its connection, and what it must receive.
struct Client {
    connection: Arc<Connection<Socket>>,
    socket: Socket,
    start: Seq,
    /// Seats that the test opened and closed at chosen seqs. No frame reports them.
    placed: Vec<Interval>,
}

struct World {
    rng: TestRng,
    ring: Arc<Ring>,
    worker: Worker<Socket>,
    commands: Vec<Command<Socket>>,
    clients: Vec<Client>,
    log: Log,
    ids: u64,
    now: Instant,
}

impl World {
    fn new(case: u64) -> Self {
        let ring = Arc::new(Ring::new(Retention { messages: usize::MAX, bytes: usize::MAX }));
        let base = 1000;
        ring.append(&[LogEntry::Marker(Marker { base, cut: 0, low: base })]);
        let worker = Worker::new(Arc::clone(&ring), Arc::default(), mpsc::channel(1).0, Coalescing::OFF, encode);
        let log = Log { messages: Vec::new(), lost: Vec::new(), bases: vec![base], last: base, published: 0 };
        let (commands, clients) = (Vec::new(), Vec::new());
        Self { rng: TestRng(case), ring, worker, commands, clients, log, ids: 1, now: Instant::now() }
    }

    fn joined_room(&mut self) -> RoomId {
        self.rng.pick(&ROOMS).parse().unwrap()
    }

    fn any_room(&mut self) -> RoomId {
        if self.rng.once_in(3) { PLACED_ROOM.parse().unwrap() } else { self.joined_room() }
    }

    async fn step(&mut self) {
        let client = self.rng.below(self.clients.len());
        match self.rng.below(20) {
            0..5 => self.publish(),
            5..8 => self.turn().await,
            8..10 => self.poll(client),
            10..12 => self.drain(client),
            12 => self.connect(),
            13 => self.command(client, Command::Join),
            14 => self.command(client, Command::Leave),
            15 => self.move_seat(client).await,
            16 => self.lose(),
            17 => self.give_back(),
            18 => self.beat(),
            _ if self.rng.once_in(4) => self.end(client),
            _ => self.announce(),
        }
    }

    fn publish(&mut self) {
        let count = 1 + self.rng.below(4);
        let mut entries = Vec::new();
        for _ in 0..count {
            let room = self.any_room();
            self.log.last += 1;
            self.log.published += 1;
            let message = Published { id: self.log.published, room, places: vec![self.log.last] };
            entries.push(message.entry());
            self.log.messages.push(message);
        }
        self.ring.append(&entries);
    }

    /// The log loses its tail and appends a marker.
    fn lose(&mut self) {
        let opened = *self.log.bases.last().unwrap();
        let keep = self.log.messages.len().saturating_sub(self.rng.below(6));
        let keep = keep.max(self.log.messages.partition_point(|message| message.place() < opened));
        let lost = self.log.messages.split_off(keep);
        let cut = self.log.messages.last().map_or(0, Published::place).max(opened);
        let later: Vec<Published> = std::mem::take(&mut self.log.lost);
        self.log.lost = lost.into_iter().chain(later).collect();
        let base = self.log.last + 1 + u64::try_from(self.rng.below(50)).unwrap();
        self.ring.append(&[LogEntry::Marker(Marker { base, cut, low: cut })]);
        self.log.last = base;
        self.log.bases.push(base);
    }

    /// Some lost messages are appended again.
    fn give_back(&mut self) {
        let count = self.rng.below(self.log.lost.len() + 1);
        let mut entries = Vec::new();
        for mut message in self.log.lost.drain(..count) {
            self.log.last += 1;
            message.places.push(self.log.last);
            entries.push(message.entry());
            self.log.messages.push(message);
        }
        self.ring.append(&entries);
    }

    /// One iteration of the worker's loop: first the ring, then the commands.
    async fn turn(&mut self) {
        self.worker.advance().await;
        for command in std::mem::take(&mut self.commands) {
            self.worker.apply(command).await;
        }
    }

    /// One poll of the conversation task.
    fn poll(&mut self, client: usize) {
        let Some(Client { connection, .. }) = self.clients.get(client) else { return };
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(true) = connection.poll_catch_up(&mut cx, &self.ring, self.worker.position()) {
            self.commands.push(Command::TakeOver(connection.id()));
        }
        connection.link().flush();
    }

    fn drain(&mut self, client: usize) {
        let most = if self.rng.once_in(3) { 2000 } else { 200 };
        let room = self.rng.below(most);
        if let Some(client) = self.clients.get(client) {
            client.socket.0.room.store(room, Ordering::Relaxed);
        }
    }

    /// A client connects, without a cursor or with one that a client can have.
    fn connect(&mut self) {
        if self.clients.len() >= MAX_CLIENTS {
            return;
        }
        let back = u64::try_from(self.rng.below(12)).unwrap();
        let cursor = self.log.last.saturating_sub(back);
        let mut places = self.log.messages.iter().chain(&self.log.lost).map(Published::place);
        let is_known = self.log.bases.contains(&cursor) || places.any(|place| place == cursor);
        let resumes = self.ring.check_cursor(cursor) == CursorCheck::Replay;
        let start = if is_known && resumes { cursor } else { self.ring.last() };
        let (id, socket) = (ConnectionId::new(self.ids), Socket::default());
        self.ids += 1;
        let mut rooms: Vec<RoomId> = (0..self.rng.below(4)).map(|_| self.any_room()).collect();
        rooms.sort();
        rooms.dedup();
        let placed = rooms.iter().map(|room| Interval { room: room.clone(), since: start, until: None }).collect();
        let connection = Arc::new(Connection::new(id, Arc::new(Link::new(socket.clone())), rooms, start));
        self.commands.push(Command::Attach(Arc::clone(&connection)));
        self.clients.push(Client { connection, socket, start, placed });
    }

    fn command(
        &mut self,
        client: usize,
        command: impl FnOnce(ConnectionId, RoomId, oneshot::Sender<()>) -> Command<Socket>,
    ) {
        let room = self.joined_room();
        if let Some(Client { connection, .. }) = self.clients.get(client) {
            self.commands.push(command(connection.id(), room, oneshot::channel().0));
        }
    }

    /// A seat opens or closes at the worker's position, without a frame of the client.
    async fn move_seat(&mut self, client: usize) {
        self.turn().await;
        let (room, opens, at) = (PLACED_ROOM.parse().unwrap(), self.rng.once_in(2), self.worker.position());
        let Some(client) = self.clients.get_mut(client) else { return };
        let Some(&slot) = self.worker.slots.get(&client.connection.id()) else { return };
        if opens && client.connection.open_seat_at(&room, at) {
            self.worker.roster.join(slot, &room);
            self.worker.count_seat(&room);
            open(&mut client.placed, &room, at);
        } else if !opens && client.connection.close_seat_at(&room, at) {
            self.worker.roster.leave(slot, &room);
            self.worker.remove_seat(&room);
            close(&mut client.placed, &room, at);
        }
    }

    fn beat(&mut self) {
        self.now += HEARTBEAT_INTERVAL;
        self.worker.sweep(self.now);
    }

    fn announce(&mut self) {
        let connections = self.rng.next_u64() % 100;
        let room = self.any_room();
        self.commands.push(Command::Notify(Notice::Count(Count { connections, ..Count::default() })));
        self.commands.push(Command::SendEphemeral(room.clone(), Notice::Typing { room, from: Vec::new() }));
    }

    fn end(&mut self, client: usize) {
        if client >= self.clients.len() {
            return;
        }
        let client = self.clients.swap_remove(client);
        if self.rng.once_in(2) {
            self.commands.push(Command::Detach(client.connection.id()));
        }
        client.connection.link().close(Ending::Ours(CloseReason::Drain));
        self.check(&client, false);
    }

    /// Appends all lost messages again, lets the sockets take everything, and runs the worker and all tasks until every
    /// connection is live.
    async fn settle(&mut self) {
        self.turn().await;
        while !self.log.lost.is_empty() {
            self.give_back();
        }
        for round in 0.. {
            self.turn().await;
            for client in 0..self.clients.len() {
                self.clients[client].socket.0.room.store(usize::MAX, Ordering::Relaxed);
                self.poll(client);
            }
            let is_behind = |client: &Client| !client.connection.is_live();
            if self.commands.is_empty()
                && !self.clients.iter().any(is_behind)
                && self.worker.position() == self.ring.last()
            {
                break;
            }
            assert!(round < 10_000, "some connection never becomes live");
        }
        self.beat();
        for client in 0..self.clients.len() {
            self.poll(client);
        }
    }

    /// Compares what a client received with what it must receive. `is_over`: it must have everything.
    fn check(&self, client: &Client, is_over: bool) {
        let all: BTreeMap<u64, &Published> =
            self.log.messages.iter().chain(&self.log.lost).map(|message| (message.id, message)).collect();
        let mut received: BTreeMap<u64, Seq> = BTreeMap::new();
        let mut seats = client.placed.clone();
        let (mut last, mut lives, mut claims) = (client.start, 0, Vec::new());
        let mut misplaced = Vec::new();
        for frame in frames(&client.socket.0.taken.lock()) {
            let claim = match frame {
                Sent::Message { seq, id, room, was } => {
                    assert!(seq > last, "{seq} after {last}");
                    last = seq;
                    let message = all[&id];
                    assert!(message.places.contains(&seq) && message.room == room, "{seq} is not {message:?}");
                    if let Some(first) = received.insert(id, seq) {
                        // `was` is only the last former seq: after two losses an instance cannot always detect it
                        let former = was.expect("a message came twice");
                        let is_lost_once =
                            message.places.len() == 2 && self.log.epoch(seq) == self.log.epoch(former) + 1;
                        assert!(!is_lost_once, "{message:?} came at {first} and {seq}");
                    }
                    misplaced.push((room, seq));
                    continue;
                }
                Sent::Notice(Notice::Joined { room, seq }) => {
                    open(&mut seats, &room, seq);
                    seq
                }
                Sent::Notice(Notice::Left { room, seq }) => {
                    close(&mut seats, &room, seq);
                    seq
                }
                Sent::Notice(Notice::Live { seq }) => {
                    lives += 1;
                    seq
                }
                Sent::Notice(Notice::Heartbeat { seq }) => seq,
                Sent::Notice(_) => continue,
            };
            assert!(claim >= last, "a notice reports {claim}, but {last} was sent before it");
            claims.push((claim, received.clone()));
        }
        misplaced.retain(|(room, seq)| !seats.iter().any(|seat| seat.holds(room, *seq)));
        assert!(misplaced.is_empty(), "{misplaced:?} are in none of {seats:?}");
        assert!(lives <= 1 && (!is_over || lives == 1), "{lives} times live");
        claims.extend(is_over.then_some((self.log.last, received)));
        for (claim, received) in claims {
            for message in self.log.messages.iter().filter(|message| message.place() <= claim) {
                let seat = seats.iter().find(|seat| seat.holds(&message.room, message.place()));
                let Some(seat) = seat else { continue };
                // a re-appended message may have been received, or be older than the seat, at a former seq
                let before = client.start.max(seat.since);
                let (now, former) = message.places.split_last().unwrap();
                let is_old = former.iter().any(|place| *place <= before);
                assert!(
                    received.contains_key(&message.id) || is_old || (!former.is_empty() && claim < self.log.last),
                    "{message:?} at {now} is missing, though a notice reports {claim}; start {}, {seats:?}",
                    client.start
                );
            }
        }
    }
}

/// A frame that a client received.
enum Sent {
    Message { seq: Seq, id: u64, room: RoomId, was: Option<Seq> },
    Notice(Notice),
}

/// Notices in a form that is quick to read back.
fn encode(notice: &Notice) -> Frame {
    Frame::text(&match notice {
        Notice::Live { seq } => format!("live {seq}"),
        Notice::Heartbeat { seq } => format!("heartbeat {seq}"),
        Notice::Joined { room, seq } => format!("joined {seq} {room}"),
        Notice::Left { room, seq } => format!("left {seq} {room}"),
        Notice::Reset { seq } => format!("reset {seq}"),
        Notice::Count(_) | Notice::Status(_) | Notice::Typing { .. } => "other".to_owned(),
    })
}

fn decode(text: &str) -> Sent {
    if text.starts_with('{') {
        let field = |name: &str| Some(text.split_once(name)?.1.split([',', '}', '"']).next().unwrap());
        let number = |name: &str| Some(field(name)?.parse::<u64>().unwrap());
        let room = field(r#""room":""#).unwrap().parse().unwrap();
        let (seq, id, was) = (number(r#""seq":"#).unwrap(), number(r#""id":"#).unwrap(), number(r#""was":"#));
        return Sent::Message { seq, id, room, was };
    }
    let mut words = text.split(' ');
    let kind = words.next().unwrap();
    let seq = words.next().map_or(0, |seq| seq.parse().unwrap());
    let room = words.next().map(|room| room.parse().unwrap());
    Sent::Notice(match kind {
        "live" => Notice::Live { seq },
        "heartbeat" => Notice::Heartbeat { seq },
        "joined" => Notice::Joined { room: room.unwrap(), seq },
        "left" => Notice::Left { room: room.unwrap(), seq },
        "other" => Notice::Count(Count::default()),
        _ => panic!("{text}"),
    })
}

/// The text frames on the wire, read back. A frame of which only a part has been written is left out.
fn frames(mut bytes: &[u8]) -> Vec<Sent> {
    let mut found = Vec::new();
    while let [first, short, rest @ ..] = bytes {
        let (rest, length) = match (*short, rest) {
            (126, [a, b, rest @ ..]) => (rest, usize::from(u16::from_be_bytes([*a, *b]))),
            (126, _) => break,
            (short, rest) => (rest, usize::from(short)),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if *first == 0x81 {
            found.push(decode(std::str::from_utf8(payload).unwrap()));
        }
        bytes = rest;
    }
    found
}

#[test]
fn every_client_gets_the_messages_of_its_seats_once_however_worker_and_tasks_take_turns() {
    let start = || Builder::new_current_thread().build().unwrap();
    run_cases(CASES, start, |runtime, case| {
        runtime.block_on(async {
            let mut world = World::new(case);
            world.connect();
            for _ in 0..STEPS {
                world.step().await;
            }
            world.settle().await;
            for client in &world.clients {
                world.check(client, true);
            }
        });
    });
}

#[tokio::test]
async fn a_worker_that_falls_out_of_the_ring_closes_its_live_connections_and_serves_new_ones() {
    let mut world = World::new(1);
    world.ring = Arc::new(Ring::new(Retention { messages: 3, bytes: usize::MAX }));
    world.ring.append(&[LogEntry::Marker(Marker { base: 1000, cut: 0, low: 1000 })]);
    world.worker = Worker::new(Arc::clone(&world.ring), Arc::default(), mpsc::channel(1).0, Coalescing::OFF, encode);
    let room: RoomId = PLACED_ROOM.parse().unwrap();
    let ring = Arc::clone(&world.ring);
    let join = |id: u64| {
        let socket = Socket::default();
        socket.0.room.store(usize::MAX, Ordering::Relaxed);
        let link = Arc::new(Link::new(socket));
        Arc::new(Connection::new(ConnectionId::new(id), link, [room.clone()], ring.last()))
    };
    let old = join(1);
    world.worker.apply(Command::Attach(Arc::clone(&old))).await;
    assert!(old.is_live());

    (0..4).for_each(|_| world.publish());
    world.worker.advance().await;
    assert!(!old.is_live(), "it has missed messages");
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(old.poll_catch_up(&mut cx, &world.ring, world.worker.position()), Poll::Ready(false));
    assert_eq!(old.link().ending(), Some(Ending::Ours(CloseReason::SlowConsumer)));

    let new = join(2);
    world.worker.apply(Command::Attach(Arc::clone(&new))).await;
    assert!(new.is_live());
    assert_eq!(world.worker.position(), world.ring.last());
}
