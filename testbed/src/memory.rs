//! An instance without a network: log, ring and fan-out are the real ones, the sockets are memory.

use std::{
    future::ready,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hubbub_edge::{
    connection::Connection,
    fanout::{Coalescing, Fanout},
    notice::Notice,
    ports::{Directory, Ports, Seats, Sitter, Unavailable},
    socket::{Link, Transport},
};
use hubbub_lifecycle::Shutdown;
use hubbub_log::{
    AppendOutcome, Backend, Fence, LogBounds, Memory, Relay, RelayOptions, Submission, SyncRequest,
    ring::{Retention, Rights, Ring},
};
use hubbub_protocol::{Frame, GuestSecret, Record, RelayState, RoomId, Seq, User, UserId};
use tokio::task::yield_now;

use crate::wait::within;

/// Entries that the log keeps.
const BOUNDS: LogBounds = LogBounds { entries: 10_000, unrecorded: None };
/// A place as long as those of our days: sixteen digits.
const SOME_SEQ: Seq = 1_795_000_000_000_001;

/// A socket whose kernel takes everything at once and only counts it. Cloning shares the counts.
#[derive(Clone, Debug, Default)]
pub struct Socket {
    taken: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl Socket {
    /// Bytes written so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

impl Transport for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_add(u64::try_from(bytes.len()).unwrap(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Messages that have no place yet.
#[derive(Debug)]
pub struct Batch {
    submissions: Vec<Submission>,
    /// The length of their frames in all, in bytes.
    bytes: u64,
}

/// The instance and its connections: the same number in each room, each in one room.
#[derive(Debug)]
pub struct Instance {
    log: Memory,
    known: Fence,
    rooms: Vec<RoomId>,
    members: usize,
    fanout: Fanout<Socket>,
    connections: Vec<Arc<Connection<Socket>>>,
    sockets: Socket,
    ring: Arc<Ring>,
    user: User,
    published: u64,
    _relay: Relay,
    _shutdown: Shutdown,
}

impl Instance {
    /// Starts it, and seats `members` connections in each of so many rooms.
    pub async fn start(rooms: usize, members: usize, coalescing: Coalescing) -> Self {
        let rooms = (0..rooms).map(|room| format!("room-{room}").parse().unwrap()).collect();
        let mut instance = Self::empty(rooms, members, Ports::default().directory, coalescing).await;
        instance.attach(instance.ring.last()).await;
        instance
    }

    /// Starts it with `members` connections of as many accounts, each of which is in all of so many private rooms.
    pub async fn start_with_accounts(rooms: usize, members: usize, coalescing: Coalescing) -> Self {
        let rooms: Vec<_> = (0..rooms).map(|room| RoomId::private(u128::try_from(room).unwrap())).collect();
        let directory = Arc::new(Everywhere(rooms.clone()));
        let mut instance = Self::empty(rooms, members, directory, coalescing).await;
        instance.attach_accounts(instance.ring.last()).await;
        instance
    }

    async fn empty(rooms: Vec<RoomId>, members: usize, directory: Arc<dyn Directory>, coalescing: Coalescing) -> Self {
        let (log, ring, shutdown) = (Memory::new(), Arc::new(Ring::new(Retention::default())), Shutdown::default());
        let relay = Relay::start(log.clone(), Arc::clone(&ring), RelayOptions::default(), &shutdown);
        within(relay.state().wait_for(|state| *state == RelayState::Live)).await.unwrap();
        let snapshot = log.sync(SyncRequest { after: ring.last(), low: None, floor: 0, limit: 0 }).await.unwrap();
        Self {
            log,
            known: Fence { epoch: snapshot.base, last: snapshot.seq },
            connections: Vec::new(),
            rooms,
            members,
            fanout: Fanout::start(&ring, directory, coalescing, encode, &shutdown),
            sockets: Socket::default(),
            ring: Arc::clone(&ring),
            user: User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() },
            published: 0,
            _relay: relay,
            _shutdown: shutdown.clone(),
        }
    }

    async fn attach_accounts(&mut self, cursor: Seq) {
        for account in 0..self.members {
            let (id, link) = (self.fanout.next_id(), Arc::new(Link::new(self.sockets.clone())));
            let user = UserId::of(u128::try_from(account).unwrap());
            let sitter = Sitter { user, session: "s".parse().unwrap() };
            let (connection, admitted) = Connection::of_account(id, link, sitter, [], cursor);
            let connection = Arc::new(connection);
            self.fanout.attach(&connection).await;
            within(admitted).await.unwrap().unwrap();
            connection.begin();
            within(until(|| {
                self.fanout.poll_catch_up(&connection, &mut Context::from_waker(Waker::noop()));
                connection.is_live()
            }))
            .await;
            connection.link().flush();
            self.connections.push(connection);
        }
    }

    async fn attach(&mut self, cursor: Seq) {
        for _ in 0..self.members {
            for room in &self.rooms {
                let (id, link) = (self.fanout.next_id(), Arc::new(Link::new(self.sockets.clone())));
                let connection = Arc::new(Connection::new(id, link, [room.clone()], cursor));
                self.fanout.attach(&connection).await;
                self.connections.push(connection);
            }
        }
        for connection in &self.connections {
            within(until(|| connection.is_live())).await;
            // no task of the connection writes that it is live
            connection.link().flush();
        }
    }

    /// Makes so many messages with a body of `size` bytes, for one room after the other.
    pub fn compose(&mut self, messages: usize, size: usize) -> Batch {
        let submissions: Vec<_> = (0..messages).map(|_| self.submission(size)).collect();
        let frame = |submission: &Submission| Frame::message(SOME_SEQ, str::from_utf8(&submission.record).unwrap(), 0);
        let bytes: usize = submissions.iter().map(|submission| frame(submission).len()).sum();
        Batch { submissions, bytes: u64::try_from(bytes).unwrap() }
    }

    fn submission(&mut self, size: usize) -> Submission {
        self.published += 1;
        let (id, room) =
            (format!("{:010}", self.published), usize::try_from(self.published).unwrap() % self.rooms.len());
        let (room, from) = (self.rooms[room].clone(), self.user.clone());
        let record = Record { room, id: id.parse().unwrap(), from, body: "x".repeat(size), at: 1_795_000_000_000 };
        Submission::new(serde_json::to_vec(&record).unwrap(), 0, 0).unwrap()
    }

    /// What all connections together get of these messages, in bytes.
    pub fn due(&self, batch: &Batch) -> u64 {
        batch.bytes * u64::try_from(self.members).unwrap()
    }

    /// The connections, one after the other in each room.
    pub fn connections(&self) -> &[Arc<Connection<Socket>>] {
        &self.connections
    }

    /// Their fan-out.
    pub const fn fanout(&self) -> &Fanout<Socket> {
        &self.fanout
    }

    /// What the connections were given.
    pub const fn sockets(&self) -> &Socket {
        &self.sockets
    }

    /// Appends the messages to the log and waits until every connection has those of its room. Returns the bytes that
    /// were written.
    pub async fn deliver(&mut self, batch: &Batch) -> u64 {
        let before = self.sockets.taken();
        self.append(batch).await;
        let due = before + self.due(batch);
        within(until(|| self.sockets.taken() >= due)).await;
        self.sockets.taken() - before
    }

    /// Appends the messages to the log and waits until the ring has them.
    pub async fn append(&mut self, batch: &Batch) {
        let receipt = self.log.append(self.known, BOUNDS, &batch.submissions).await.unwrap();
        let AppendOutcome::Placed(places) = receipt else { panic!("the log is another one") };
        self.known.last = places.last().unwrap().seq();
        within(until(|| self.ring.last() >= self.known.last)).await;
    }
}

type Read<'a> = Pin<Box<dyn Future<Output = Result<Vec<Option<Seats>>, Unavailable>> + Send + 'a>>;

/// Everybody is in these rooms.
#[derive(Debug)]
struct Everywhere(Vec<RoomId>);

impl Directory for Everywhere {
    fn seats<'a>(&'a self, sitters: &'a [Sitter]) -> Read<'a> {
        // each answer has texts of its own, as from a database
        let room = |room: &RoomId| (room.as_str().parse().unwrap(), Rights { may_post: true, leads: false });
        let seats = |_| Some(Seats { rev: 1, rooms: self.0.iter().map(room).collect() });
        Box::pin(ready(Ok(sitters.iter().map(seats).collect())))
    }
}

/// Frames of notices; what they say does not matter here.
fn encode(_: &Notice) -> Frame {
    Frame::text("{}")
}

/// Lets others run until it is so.
pub async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        yield_now().await;
    }
}
