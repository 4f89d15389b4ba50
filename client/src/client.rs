//! A seat in the rooms that outlives its connections.

mod heard;

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hubbub_protocol::{
    ClientFrame, GuestSecret, HEARTBEAT_INTERVAL, Hello, MessageId, Publish, Refusal, Resume, RoomId, Seq, ServerFrame,
    UserName, is_reconnectable,
};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Backoff, Closed, ConnectError, Connection, Event, Upgrade, connection::LOST, outbox::Outbox, seen::Seen};

/// A connection that is not upgraded and welcomed by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// For an `overloaded` or `rate_limited` without a hint.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// Attempts that a close with "reconnect, with backoff" counts for at least.
const CAUTIOUS_ATTEMPTS: u32 = 3;

/// Who a client is and where it connects.
#[derive(Clone, Debug)]
pub struct Config {
    /// Instances as `host:port`. The client starts with the first and goes on to the next after every disconnect.
    pub addresses: Vec<String>,
    /// What the person is called.
    pub name: UserName,
    /// The secret that makes it the same sender on every connection.
    pub session: GuestSecret,
    /// The rooms to hear.
    pub rooms: Vec<RoomId>,
    /// Where an earlier client stopped.
    pub resume: Option<Seq>,
    /// What the connections ask for.
    pub upgrade: Upgrade,
    /// How long to wait before connecting again.
    pub backoff: Backoff,
    /// Messages remembered to recognise those that come again. Those of the last two minutes may, after Redis lost data.
    /// Default 1024.
    pub remembered_messages: usize,
}

impl Config {
    /// A guest with a new session.
    pub fn new(addresses: Vec<String>, name: UserName, rooms: Vec<RoomId>) -> Self {
        let (upgrade, backoff) = (Upgrade::default(), Backoff::default());
        Self {
            addresses,
            name,
            session: GuestSecret::random(),
            rooms,
            resume: None,
            upgrade,
            backoff,
            remembered_messages: 16_384,
        }
    }
}

/// Messages that broke a promise of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Came with a `seq` that was not above everything before it.
    pub reordered: u64,
    /// Came a second time without `was`.
    pub duplicated: u64,
    /// Of a room the client never joined.
    pub misdelivered: u64,
}

/// A seat in some rooms: the cursor, the unconfirmed messages, and at most one connection.
///
/// It moves only while [`next_event`](Self::next_event) is awaited: that connects, reads, and writes what
/// [`publish`](Self::publish) and the others have queued.
pub struct Client {
    config: Config,
    link: Link,
    attempts: u32,
    tried: usize,
    cursor: Option<Seq>,
    left: Vec<RoomId>,
    outbox: Outbox,
    seen: Seen,
    /// Frames other than publishes, for the present connection.
    control: VecDeque<ClientFrame>,
    events: VecDeque<Event>,
    live: bool,
    /// What `drain` asked for.
    pause: Option<Duration>,
    dedupe_window: Duration,
    silence_limit: Duration,
    heard_at: Instant,
    ids: (u64, u64),
    violations: Violations,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

enum Link {
    /// Until it is time to connect.
    Waiting(Instant),
    Connecting(Connecting),
    Open(Box<Connection>),
    /// For good.
    Over,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, cursor, live, .. } = self;
        let name = &config.name;
        f.debug_struct("Client").field("name", name).field("cursor", cursor).field("live", live).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connects as soon as it is polled.
    pub fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            link: Link::Waiting(now),
            attempts: 0,
            tried: 0,
            cursor: config.resume,
            left: Vec::new(),
            outbox: Outbox::default(),
            seen: Seen::new(config.remembered_messages),
            control: VecDeque::new(),
            events: VecDeque::new(),
            live: false,
            pause: None,
            dedupe_window: hubbub_protocol::DEDUPE_WINDOW,
            silence_limit: HEARTBEAT_INTERVAL * 2,
            heard_at: now,
            ids: (rand::random(), 0),
            violations: Violations::default(),
            config,
        }
    }

    /// What happens next. `None` once the client is over: its last close code forbids another connection.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let wake = self.wakes_at()?;
            if timeout_at(wake, poll_fn(|cx| self.poll_step(cx))).await.is_err() {
                self.on_time(Instant::now());
            }
        }
    }

    /// Queues a message for a room the client is in. It goes out when the connection is live, and again after a
    /// reconnect, until [`Event::Acked`] or [`Event::Failed`] names its id.
    ///
    /// # Errors
    ///
    /// The body is empty or too large.
    pub fn publish(&mut self, room: &RoomId, body: &str) -> Result<MessageId, Refusal> {
        let (prefix, count) = self.ids;
        self.ids = (prefix, count + 1);
        let publish = Publish::parse(&format!("{prefix:016x}-{count}"), room.as_str(), body)?;
        let id = publish.id.clone();
        self.send(publish);
        Ok(id)
    }

    /// Queues a message with an id of the caller's.
    pub fn send(&mut self, publish: Publish) {
        self.outbox.push(publish);
    }

    /// Joins a room, now and on every later connection.
    pub fn join(&mut self, room: RoomId) {
        self.left.retain(|left| *left != room);
        if !self.config.rooms.contains(&room) {
            self.config.rooms.push(room.clone());
        }
        self.control.push_back(ClientFrame::Join { room });
    }

    /// Leaves a room, now and on every later connection.
    pub fn leave(&mut self, room: RoomId) {
        self.config.rooms.retain(|joined| *joined != room);
        self.left.push(room.clone());
        self.control.push_back(ClientFrame::Leave { room });
    }

    /// Tells a room that the person types.
    pub fn typing(&mut self, room: RoomId) {
        self.control.push_back(ClientFrame::Typing { room });
    }

    /// Asks for [`Event::Pong`].
    pub fn ping(&mut self, n: u64) {
        self.control.push_back(ClientFrame::Ping { n: Some(n) });
    }

    /// Cuts the connection without a close frame, as a lost network would. The client comes back by itself.
    pub fn cut(&mut self) {
        if matches!(self.link, Link::Open(_) | Link::Connecting(_)) {
            self.disconnected(Closed { code: LOST, reason: "cut by its owner".to_owned() });
        }
    }

    /// Hands the connection over, for its new owner to end it. None if there is none. The client comes back with another.
    pub fn detach(&mut self) -> Option<Connection> {
        match std::mem::replace(&mut self.link, Link::Over) {
            Link::Open(connection) => {
                self.disconnected(Closed { code: LOST, reason: "detached by its owner".to_owned() });
                Some(*connection)
            }
            link => {
                self.link = link;
                None
            }
        }
    }

    /// Says goodbye and ends the client. Waits for the server's close frame for at most a second.
    pub async fn close(mut self) {
        if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Over) {
            let _how_it_ended = connection.close(Duration::from_secs(1)).await;
        }
    }

    /// The last `seq` up to which everything that concerns this client has been received.
    pub fn cursor(&self) -> Option<Seq> {
        self.cursor
    }

    /// Whether the replay of the present connection is over.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Messages without a confirmation.
    pub fn unacked(&self) -> usize {
        self.outbox.len()
    }

    /// What the server did wrong so far.
    pub fn violations(&self) -> Violations {
        self.violations
    }

    /// Who the client is and where it connects.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn wakes_at(&self) -> Option<Instant> {
        match &self.link {
            Link::Over => None,
            Link::Waiting(until) => Some(*until),
            Link::Connecting(_) => Some(self.heard_at + CONNECT_TIMEOUT),
            Link::Open(_) => {
                let silent = self.heard_at + self.silence_limit;
                Some(self.outbox.held_until().filter(|_| self.live).map_or(silent, |until| until.min(silent)))
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        match &self.link {
            Link::Waiting(_) => {
                let address = self.address();
                let upgrade = self.config.upgrade.clone();
                self.heard_at = now;
                self.link = Link::Connecting(Box::pin(async move {
                    let opened = timeout(CONNECT_TIMEOUT, Connection::open(&address, &upgrade)).await;
                    opened.unwrap_or_else(|late| Err(ConnectError::Io(late.into())))
                }));
            }
            Link::Open(_) if now >= self.heard_at + self.silence_limit => {
                self.disconnected(Closed { code: LOST, reason: "the server fell silent".to_owned() });
            }
            Link::Open(_) | Link::Connecting(_) | Link::Over => {}
        }
    }

    fn address(&self) -> String {
        self.config.addresses.iter().cycle().nth(self.tried).cloned().unwrap_or_default()
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.link {
            Link::Connecting(connecting) => {
                let outcome = ready!(connecting.as_mut().poll(cx));
                self.on_connected(outcome);
                Poll::Ready(())
            }
            Link::Open(_) => {
                let frame = match self.poll_write(cx) {
                    Ok(()) => ready!(self.poll_read(cx)),
                    // What the server said before it closed is still to be read, the close code above all.
                    Err(closed) => match self.poll_read(cx) {
                        Poll::Ready(read) => read,
                        Poll::Pending => Err(closed),
                    },
                };
                match frame {
                    Ok(frame) => self.on_frame(frame),
                    Err(closed) => self.disconnected(closed),
                }
                Poll::Ready(())
            }
            Link::Waiting(_) | Link::Over => Poll::Pending,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerFrame, Closed>> {
        match &mut self.link {
            Link::Open(connection) => connection.poll_next(cx),
            _ => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        let Link::Open(connection) = &mut self.link else { return Ok(()) };
        while connection.poll_ready(cx)?.is_ready() {
            let frame = self.control.pop_front().or_else(|| {
                let publish = self.live.then(|| self.outbox.next(Instant::now())).flatten();
                publish.map(ClientFrame::Publish)
            });
            let Some(frame) = frame else { break };
            connection.start_send(&frame)?;
        }
        match connection.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn on_connected(&mut self, outcome: Result<Connection, ConnectError>) {
        let error = match outcome {
            Ok(connection) => {
                self.link = Link::Open(Box::new(connection));
                self.heard_at = Instant::now();
                // Joins and leaves of earlier connections are in the list of rooms; pings are not worth repeating.
                self.control.clear();
                self.left.clear();
                self.control.push_back(ClientFrame::Hello(Hello {
                    name: self.config.name.clone(),
                    session: Some(self.config.session),
                    rooms: self.config.rooms.clone(),
                    resume: self.cursor.map(|seq| Resume { seq }),
                }));
                return;
            }
            Err(error) => error,
        };
        // Another instance may take the client at once; the only one knows best when.
        let asked = match &error {
            ConnectError::Refused { retry_after, .. } if self.config.addresses.len() == 1 => *retry_after,
            _ => None,
        };
        self.events.push_back(Event::Unreachable { address: self.address(), error: error.to_string() });
        self.wait(asked.unwrap_or_default());
    }

    /// Waits for the next attempt: at least `minimum`, and the backoff.
    fn wait(&mut self, minimum: Duration) {
        let wait = self.config.backoff.wait(self.attempts).max(minimum);
        self.attempts = self.attempts.saturating_add(1);
        self.tried = (self.tried + 1).checked_rem(self.config.addresses.len()).unwrap_or_default();
        self.link = Link::Waiting(Instant::now() + wait);
    }

    fn disconnected(&mut self, closed: Closed) {
        let Closed { code, reason } = closed;
        self.live = false;
        self.events.push_back(Event::Disconnected { code, reason });
        if !is_reconnectable(code) {
            self.link = Link::Over;
            return;
        }
        if matches!(code, 1011 | 4000 | 4003) {
            self.attempts = self.attempts.max(CAUTIOUS_ATTEMPTS);
        }
        match self.pause.take() {
            // The server has spread its clients over this time already.
            Some(pause) => {
                self.wait(Duration::ZERO);
                self.link = Link::Waiting(Instant::now() + pause);
            }
            None => self.wait(Duration::ZERO),
        }
    }
}
