//! The client's half of the protocol, without a socket and without a clock.

mod receive;

use std::{collections::VecDeque, fmt, time::Duration};

use hubbub_protocol::{
    ClientFrame, DEDUPE_WINDOW, HEARTBEAT_INTERVAL, Hello, MessageId, Publish, Refusal, Resume, RoomId, Seq,
    is_reconnectable,
};
use tokio::time::Instant;

use crate::{Closed, Config, ConnectError, Event, connection::NO_CLOSE_FRAME, outbox::Outbox, recent::Recent};

/// Time for the TCP connection and the upgrade, and then for the first frame.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Number of failed attempts that a close with "reconnect, with backoff" counts for at least.
const CAUTIOUS_ATTEMPTS: u32 = 3;

/// How often the server broke a promise. All zero as long as it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Messages whose `seq` was not above the cursor.
    pub reordered: u64,
    /// Messages that came a second time without `was`.
    pub duplicated: u64,
    /// Messages of a room that the client is not in.
    pub misdelivered: u64,
}

/// The state machine of a client: which frame to send, when to connect, which events to report.
///
/// It does no I/O and reads no clock: its owner passes in what happened and when, and takes out frames and events.
/// [`Client`](crate::Client) is this with a WebSocket. Use it by itself to bring another transport, or to test a client
/// without one, as `tests/vectors.rs` does. A round looks like this:
///
/// 1. At [`deadline`](Self::deadline), call [`on_deadline`](Self::on_deadline), and connect if it returns an address.
/// 2. Report the outcome with [`on_open`](Self::on_open) or [`on_unreachable`](Self::on_unreachable).
/// 3. While the connection is open, send what [`next_frame`](Self::next_frame) returns, and pass each frame of the
///    server to [`on_frame`](Self::on_frame) and the end to [`on_closed`](Self::on_closed).
/// 4. After each call, take the events with [`next_event`](Self::next_event).
pub struct Core {
    config: Config,
    link: Link,
    failed_attempts: u32,
    /// Index of the address to try next.
    next_address: usize,
    cursor: Option<Seq>,
    /// Rooms whose `left` has not come yet.
    leaving: Vec<RoomId>,
    outbox: Outbox,
    recent: Recent,
    /// Frames other than publishes, for the present connection.
    control: VecDeque<ClientFrame>,
    events: VecDeque<Event>,
    is_live: bool,
    /// The wait that a `drain` frame asked for.
    drain_wait: Option<Duration>,
    dedupe_window: Duration,
    silence_limit: Duration,
    /// When the last frame came, or the attempt to connect began.
    received_at: Instant,
    id_prefix: u64,
    id_count: u64,
    violations: Violations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// The next attempt to connect is due at this time.
    Waiting(Instant),
    Connecting,
    Open,
    /// The last close code forbids another connection.
    Ended,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, link, cursor, is_live, .. } = self;
        let mut debug = f.debug_struct("Client");
        debug.field("name", &config.name).field("link", link).field("cursor", cursor).field("is_live", is_live);
        debug.finish_non_exhaustive()
    }
}

impl Core {
    /// A client whose first attempt to connect is due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            link: Link::Waiting(now),
            failed_attempts: 0,
            next_address: 0,
            cursor: config.resume,
            leaving: Vec::new(),
            outbox: Outbox::default(),
            recent: Recent::new(config.remembered_messages),
            control: VecDeque::new(),
            events: VecDeque::new(),
            is_live: false,
            drain_wait: None,
            dedupe_window: DEDUPE_WINDOW,
            silence_limit: HEARTBEAT_INTERVAL * 2,
            received_at: now,
            id_prefix: rand::random(),
            id_count: 0,
            violations: Violations::default(),
            config,
        }
    }

    /// Takes the oldest event that was not taken yet.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`on_deadline`](Self::on_deadline) or [`next_frame`](Self::next_frame) has something to do although nothing
    /// else happened. `None` once the client has ended.
    pub fn deadline(&self) -> Option<Instant> {
        match self.link {
            Link::Ended => None,
            Link::Waiting(until) => Some(until),
            Link::Connecting => Some(self.received_at + CONNECT_TIMEOUT),
            Link::Open => {
                let silent = self.received_at + self.silence_limit;
                Some(self.outbox.held_until().filter(|_| self.is_live).map_or(silent, |until| until.min(silent)))
            }
        }
    }

    /// Time has passed. Returns the `host:port` to connect to now, if it is time for that.
    ///
    /// It gives up a connection on which the server was silent for too long: see [`has_connection`](Self::has_connection).
    pub fn on_deadline(&mut self, now: Instant) -> Option<String> {
        match self.link {
            Link::Waiting(until) if now >= until => {
                self.received_at = now;
                self.link = Link::Connecting;
                Some(self.address())
            }
            Link::Open if now >= self.received_at + self.silence_limit => {
                let reason = "the server was silent for too long".to_owned();
                self.on_closed(Closed { code: NO_CLOSE_FRAME, reason }, now);
                None
            }
            Link::Waiting(_) | Link::Open | Link::Connecting | Link::Ended => None,
        }
    }

    /// Whether there is an open connection, or an attempt to get one. The owner drops its socket when there is none.
    pub fn has_connection(&self) -> bool {
        matches!(self.link, Link::Open | Link::Connecting)
    }

    /// The connection is open, and `hello` is the next frame to send.
    pub fn on_open(&mut self, now: Instant) {
        self.link = Link::Open;
        self.received_at = now;
        // Joins and leaves of earlier connections are in the list of rooms; pings are not worth repeating.
        self.control.clear();
        self.leaving.clear();
        self.control.push_back(ClientFrame::Hello(Hello {
            name: self.config.name.clone(),
            session: Some(self.config.session),
            rooms: self.config.rooms.clone(),
            resume: self.cursor.map(|seq| Resume { seq }),
        }));
    }

    /// The attempt to connect has failed. The next one goes to the next address.
    pub fn on_unreachable(&mut self, error: &ConnectError, now: Instant) {
        // Another instance may accept the client at once. If there is no other, its `Retry-After` holds.
        let asked = match error {
            ConnectError::Refused { retry_after, .. } if self.config.addresses.len() == 1 => *retry_after,
            _ => None,
        };
        self.events.push_back(Event::Unreachable { address: self.address(), error: error.to_string() });
        self.wait(asked.unwrap_or_default(), now);
    }

    /// The connection has ended. Unless the close code forbids it, the client connects again.
    pub fn on_closed(&mut self, Closed { code, reason }: Closed, now: Instant) {
        self.is_live = false;
        self.events.push_back(Event::Disconnected { code, reason });
        if !is_reconnectable(code) {
            self.link = Link::Ended;
            return;
        }
        if matches!(code, 1011 | 4000 | 4003 | 4004) {
            self.failed_attempts = self.failed_attempts.max(CAUTIOUS_ATTEMPTS);
        }
        self.wait(Duration::ZERO, now);
        if let Some(wait) = self.drain_wait.take() {
            // Without backoff: the server has spread its clients over this time already.
            self.link = Link::Waiting(now + wait);
        }
    }

    /// The next frame to send on the open connection. `None` until something happens or the deadline comes.
    pub fn next_frame(&mut self, now: Instant) -> Option<ClientFrame> {
        if self.link != Link::Open {
            return None;
        }
        self.control.pop_front().or_else(|| {
            let publish = self.is_live.then(|| self.outbox.next(now)).flatten();
            publish.map(ClientFrame::Publish)
        })
    }

    /// As [`Client::publish`](crate::Client::publish).
    ///
    /// # Errors
    ///
    /// The body is empty or too large.
    pub fn publish(&mut self, room: &RoomId, body: &str) -> Result<MessageId, Refusal> {
        let id = format!("{:016x}-{}", self.id_prefix, self.id_count);
        self.id_count += 1;
        let publish = Publish::parse(&id, room.as_str(), body)?;
        let id = publish.id.clone();
        self.send(publish);
        Ok(id)
    }

    /// As [`Client::send`](crate::Client::send).
    pub fn send(&mut self, publish: Publish) {
        self.outbox.push(publish);
    }

    /// As [`Client::join`](crate::Client::join).
    pub fn join(&mut self, room: RoomId) {
        self.leaving.retain(|left| *left != room);
        if !self.config.rooms.contains(&room) {
            self.config.rooms.push(room.clone());
        }
        self.control.push_back(ClientFrame::Join { room });
    }

    /// As [`Client::leave`](crate::Client::leave).
    pub fn leave(&mut self, room: RoomId) {
        self.config.rooms.retain(|joined| *joined != room);
        self.leaving.push(room.clone());
        self.control.push_back(ClientFrame::Leave { room });
    }

    /// As [`Client::typing`](crate::Client::typing).
    pub fn typing(&mut self, room: RoomId) {
        self.control.push_back(ClientFrame::Typing { room });
    }

    /// As [`Client::cursor`](crate::Client::cursor).
    pub fn cursor(&self) -> Option<Seq> {
        self.cursor
    }

    /// As [`Client::is_live`](crate::Client::is_live).
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// As [`Client::unacked`](crate::Client::unacked).
    pub fn unacked(&self) -> usize {
        self.outbox.len()
    }

    /// As [`Client::violations`](crate::Client::violations).
    pub fn violations(&self) -> Violations {
        self.violations
    }

    /// As [`Client::config`](crate::Client::config).
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn address(&self) -> String {
        self.config.addresses.iter().cycle().nth(self.next_address).cloned().unwrap_or_default()
    }

    /// Waits for the next attempt to connect: at least `minimum`, and the backoff.
    fn wait(&mut self, minimum: Duration, now: Instant) {
        let wait = self.config.backoff.wait(self.failed_attempts).max(minimum);
        self.failed_attempts = self.failed_attempts.saturating_add(1);
        self.next_address = (self.next_address + 1).checked_rem(self.config.addresses.len()).unwrap_or_default();
        self.link = Link::Waiting(now + wait);
    }
}
