//! A worker with the real ring and real connections, whose sockets and whose directory are the test's.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hubbub_log::{
    Kind, LogEntry, Marker,
    ring::{Retention, Rights, Ring},
};
use hubbub_protocol::{CloseReason, ConnectionId, RoomId, Seq, SessionId, UserId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::super::{Answer, Coalescing, Command, Question, Worker};
use crate::{
    connection::Connection,
    conversation::notice_frame,
    ports::{Seats, Sitter},
    socket::{Ending, Link, Transport},
};

/// The base of the first epoch.
pub(super) const BASE: Seq = 1000;
/// A member that may publish.
pub(super) const MEMBER: Rights = Rights { may_post: true, leads: false };

/// A socket whose kernel buffer has a limited number of free bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Socket(Arc<Kernel>);

#[derive(Debug, Default)]
struct Kernel {
    room: AtomicUsize,
    taken: Mutex<Vec<u8>>,
}

impl Socket {
    pub(super) fn set_room(&self, bytes: usize) {
        self.0.room.store(bytes, Ordering::Relaxed);
    }
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

pub(super) fn user(number: u128) -> UserId {
    UserId::of(number)
}

pub(super) fn session() -> SessionId {
    "s1".parse().unwrap()
}

pub(super) struct Client {
    pub(super) connection: Arc<Connection<Socket>>,
    pub(super) socket: Socket,
    pub(super) user: UserId,
    admitted: oneshot::Receiver<Result<(), CloseReason>>,
    outcome: Option<Result<(), CloseReason>>,
    has_begun: bool,
}

impl Client {
    /// Answers the hello, if the seats have been read.
    pub(super) fn begin(&mut self) -> bool {
        if !self.has_begun && self.outcome() == Some(Ok(())) {
            self.has_begun = true;
            self.connection.begin();
        }
        self.has_begun
    }

    fn outcome(&mut self) -> Option<Result<(), CloseReason>> {
        self.outcome = self.outcome.or_else(|| self.admitted.try_recv().ok());
        self.outcome
    }

    /// Why the hello was refused, if it was.
    pub(super) fn refused(&mut self) -> Option<CloseReason> {
        self.outcome()?.err()
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        match self.connection.link().ending()? {
            Ending::Ours(reason) => Some(reason),
            other => panic!("{other:?}"),
        }
    }

    /// The text frames that the client has got. A frame of which only a part was written is left out.
    pub(super) fn frames(&self) -> Vec<Value> {
        let (taken, mut found) = (self.socket.0.taken.lock(), Vec::new());
        let mut bytes = taken.as_slice();
        while let [first, short, rest @ ..] = bytes {
            let (rest, length) = match (*short, rest) {
                (126, [a, b, rest @ ..]) => (rest, usize::from(u16::from_be_bytes([*a, *b]))),
                (126, _) => break,
                (short, rest) => (rest, usize::from(short)),
            };
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            if *first == 0x81 {
                found.push(serde_json::from_slice(payload).unwrap());
            }
            bytes = rest;
        }
        found
    }

    /// The places of the frames of this type.
    pub(super) fn places(&self, kind: &str) -> Vec<Seq> {
        self.frames().iter().filter(|frame| frame["type"] == kind).map(|frame| frame["seq"].as_u64().unwrap()).collect()
    }
}

pub(super) struct Bench {
    pub(super) ring: Arc<Ring>,
    pub(super) worker: Worker<Socket>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) commands: Vec<Command<Socket>>,
    pub(super) last: Seq,
    ids: u64,
    events: u64,
}

impl Bench {
    pub(super) fn new(entries: usize) -> Self {
        let ring = Arc::new(Ring::new(Retention { messages: entries, bytes: usize::MAX }));
        ring.append(&[LogEntry::Marker(Marker { base: BASE, cut: 0, low: BASE })]);
        let (asked, questions) = mpsc::channel(1000);
        let worker = Worker::new(Arc::clone(&ring), Arc::default(), asked, Coalescing::OFF, notice_frame);
        Self { ring, worker, questions, commands: Vec::new(), last: BASE, ids: 1, events: 0 }
    }

    /// Appends an event.
    pub(super) fn append(&mut self, kind: &str, room: &RoomId, fields: &Value) -> Seq {
        self.events += 1;
        let mut record = json!({
            "room": room, "id": format!("e{}", self.events), "from": {"id": "u", "name": "Ann"}, "at": 1,
        });
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.last += 1;
        let (seq, record) = (self.last, record.to_string().into());
        self.ring.append(&[match Kind::named(kind).unwrap() {
            Kind::Message => LogEntry::Message { seq, was: 0, record },
            kind => LogEntry::Event { seq, was: 0, kind, record },
        }]);
        seq
    }

    pub(super) fn publish(&mut self, room: &RoomId) -> Seq {
        self.append("message", room, &json!({"body": "x"}))
    }

    /// Tells a person of a seat.
    pub(super) fn tell(&mut self, user: &UserId, room: &RoomId, rev: u64, seat: Option<Rights>) -> Seq {
        let fields = match seat {
            Some(Rights { may_post, leads }) => {
                let role = if leads { "admin" } else { "member" };
                json!({"about": room, "rev": rev, "state": "in", "may_post": may_post, "role": role})
            }
            None => json!({"about": room, "rev": rev, "state": "out"}),
        };
        self.append("membership", &RoomId::inbox(user), &fields)
    }

    /// The log loses everything above `cut`, and a new epoch opens.
    pub(super) fn lose(&mut self, cut: Seq) -> Seq {
        self.last += 10;
        let base = self.last;
        self.ring.append(&[LogEntry::Marker(Marker { base, cut, low: cut })]);
        base
    }

    /// One iteration of the worker's loop.
    pub(super) async fn turn(&mut self) {
        self.worker.advance().await;
        for command in std::mem::take(&mut self.commands) {
            self.worker.apply(command).await;
        }
    }

    /// A client of a person, which the worker attaches at its next turn.
    pub(super) fn connect(&mut self, user: &UserId, cursor: Seq, room: usize) -> Client {
        let (id, socket) = (ConnectionId::new(self.ids), Socket::default());
        self.ids += 1;
        socket.set_room(room);
        let sitter = Sitter { user: user.clone(), session: session() };
        let (connection, admitted) =
            Connection::of_account(id, Arc::new(Link::new(socket.clone())), sitter, [], cursor);
        let connection = Arc::new(connection);
        self.commands.push(Command::Attach(Arc::clone(&connection)));
        Client { connection, socket, user: user.clone(), admitted, outcome: None, has_begun: false }
    }

    /// A live client that is in these rooms.
    pub(super) async fn seated(&mut self, user: &UserId, rev: u64, rooms: &[&RoomId]) -> Client {
        let mut client = self.connect(user, self.ring.last(), usize::MAX);
        self.turn().await;
        self.answer(rev, rooms).await;
        assert!(client.begin());
        self.settle(&client).await;
        client
    }

    /// The same behind other questions, which stay without an answer.
    pub(super) async fn seated_behind(&mut self, user: &UserId, questions: usize) -> Client {
        for _ in 0..questions {
            drop(self.questions.try_recv().expect("a question"));
        }
        self.seated(user, 1, &[]).await
    }

    /// Answers the next question.
    pub(super) async fn answer(&mut self, rev: u64, rooms: &[&RoomId]) {
        let rooms = rooms.iter().map(|room| ((*room).clone(), MEMBER)).collect();
        self.answer_with(Ok(Some(Seats { rev, rooms }))).await;
    }

    pub(super) async fn answer_with(&mut self, answer: Answer) {
        let question = self.questions.try_recv().expect("a question");
        self.worker.apply(Command::Seat(question.connection, question.read, answer)).await;
    }

    /// One poll of the conversation task.
    pub(super) fn poll(&mut self, client: &Client) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(true) = client.connection.poll_catch_up(&mut cx, &self.ring, self.worker.position()) {
            self.commands.push(Command::TakeOver(client.connection.id()));
        }
        client.connection.link().flush();
    }

    /// Runs the worker and the client's task until it is live or closed.
    pub(super) async fn settle(&mut self, client: &Client) {
        client.socket.set_room(usize::MAX);
        for _ in 0..1000 {
            self.turn().await;
            self.poll(client);
            let is_settled = client.connection.is_live() || client.closed().is_some();
            if is_settled && self.commands.is_empty() && self.worker.position() == self.ring.last() {
                return;
            }
        }
        panic!("the client never becomes live");
    }
}
