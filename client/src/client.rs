//! A client with its socket.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hubbub_protocol::{MessageId, Publish, Refusal, RoomId, Seq, ServerFrame};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    Closed, Config, ConnectError, Connection, Event, Violations,
    connection::NO_CLOSE_FRAME,
    core::{CONNECT_TIMEOUT, Core},
};

/// A client in some rooms: the cursor, the unconfirmed messages, and at most one connection.
///
/// It spawns no task. It connects, reads and writes only while [`next_event`](Self::next_event) is awaited; `publish`,
/// `join` and the other methods only queue. The queue of unconfirmed messages has no limit of its own: the owner bounds
/// it by [`unacked`](Self::unacked).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubbub_client::{Client, Config, Event};
/// use hubbub_protocol::RoomId;
///
/// let config = Config::new(vec!["127.0.0.1:8080".to_owned()], "Ann".parse()?, vec![RoomId::lobby()]);
/// let mut client = Client::new(config);
/// let id = client.publish(&RoomId::lobby(), "Hello!").map_err(|refusal| refusal.detail)?;
/// while let Some(event) = client.next_event().await {
///     match event {
///         Event::Message(message) => { /* show it */ }
///         Event::Acked { id: acked, .. } if acked == id => break,
///         _ => {}
///     }
/// }
/// client.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Client {
    core: Core,
    socket: Socket,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

enum Socket {
    Absent,
    Connecting(Connecting),
    Open(Box<Connection>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.core, f)
    }
}

impl Client {
    /// A client that connects when [`next_event`](Self::next_event) is first awaited.
    pub fn new(config: Config) -> Self {
        Self { core: Core::new(config, Instant::now()), socket: Socket::Absent }
    }

    /// The next event. `None` once the client has ended: its last close code forbids another connection.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.core.next_event() {
                return Some(event);
            }
            let deadline = self.core.deadline()?;
            if timeout_at(deadline, poll_fn(|cx| self.poll_step(cx))).await.is_err() {
                self.on_deadline(Instant::now());
            }
        }
    }

    /// Queues a message. It is sent when the connection is live, and again after each reconnect, until
    /// [`Event::Acked`] or [`Event::Failed`] names its id. Returns the id.
    ///
    /// # Errors
    ///
    /// The body is empty or too large.
    pub fn publish(&mut self, room: &RoomId, body: &str) -> Result<MessageId, Refusal> {
        self.core.publish(room, body)
    }

    /// As [`publish`](Self::publish), with an id that the caller chose.
    pub fn send(&mut self, publish: Publish) {
        self.core.send(publish);
    }

    /// Joins a room, now and on every later connection.
    pub fn join(&mut self, room: RoomId) {
        self.core.join(room);
    }

    /// Leaves a room, now and on every later connection.
    pub fn leave(&mut self, room: RoomId) {
        self.core.leave(room);
    }

    /// Announces to a room that the person is typing.
    pub fn typing(&mut self, room: RoomId) {
        self.core.typing(room);
    }

    /// Cuts the connection without a close frame, as a lost network would. The client reconnects by itself.
    pub fn cut(&mut self) {
        if !matches!(self.socket, Socket::Absent) {
            self.disconnected(lost("cut by its owner"));
        }
    }

    /// Gives the open connection to the caller, which must close it. `None` if there is none. The client opens another.
    pub fn detach(&mut self) -> Option<Connection> {
        match std::mem::replace(&mut self.socket, Socket::Absent) {
            Socket::Open(connection) => {
                self.disconnected(lost("detached by its owner"));
                Some(*connection)
            }
            socket => {
                self.socket = socket;
                None
            }
        }
    }

    /// Closes the connection and ends the client. Waits up to one second for the server's close frame.
    pub async fn close(self) {
        if let Socket::Open(connection) = self.socket {
            let _how_it_ended = connection.close(Duration::from_secs(1)).await;
        }
    }

    /// The `seq` up to which everything that concerns this client has been received. `None` before the first `welcome`.
    pub fn cursor(&self) -> Option<Seq> {
        self.core.cursor()
    }

    /// Whether the present connection has replayed what was missed.
    pub fn is_live(&self) -> bool {
        self.core.is_live()
    }

    /// Number of messages without a confirmation, sent or not.
    pub fn unacked(&self) -> usize {
        self.core.unacked()
    }

    /// How often the server has broken a promise so far.
    pub fn violations(&self) -> Violations {
        self.core.violations()
    }

    /// The configuration, with the rooms that the client is in now.
    pub fn config(&self) -> &Config {
        self.core.config()
    }

    fn on_deadline(&mut self, now: Instant) {
        let Some(address) = self.core.on_deadline(now) else {
            // Either nothing is due, or the core has given the connection up.
            if !self.core.has_connection() {
                self.socket = Socket::Absent;
            }
            return;
        };
        let upgrade = self.core.config().upgrade.clone();
        self.socket = Socket::Connecting(Box::pin(async move {
            let opened = timeout(CONNECT_TIMEOUT, Connection::open(&address, &upgrade)).await;
            opened.unwrap_or_else(|late| Err(ConnectError::Io(late.into())))
        }));
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.socket {
            Socket::Connecting(connecting) => {
                let outcome = ready!(connecting.as_mut().poll(cx));
                self.on_connected(outcome);
                Poll::Ready(())
            }
            Socket::Open(_) => {
                let frame = match self.poll_write(cx) {
                    Ok(()) => ready!(self.poll_read(cx)),
                    // What the server sent before it closed is still to be read, the close code above all.
                    Err(closed) => match self.poll_read(cx) {
                        Poll::Ready(read) => read,
                        Poll::Pending => Err(closed),
                    },
                };
                match frame {
                    Ok(frame) => self.core.on_frame(frame, Instant::now()),
                    Err(closed) => self.disconnected(closed),
                }
                Poll::Ready(())
            }
            Socket::Absent => Poll::Pending,
        }
    }

    fn on_connected(&mut self, outcome: Result<Connection, ConnectError>) {
        match outcome {
            Ok(connection) => {
                self.socket = Socket::Open(Box::new(connection));
                self.core.on_open(Instant::now());
            }
            Err(error) => {
                self.socket = Socket::Absent;
                self.core.on_unreachable(&error, Instant::now());
            }
        }
    }

    fn disconnected(&mut self, closed: Closed) {
        self.socket = Socket::Absent;
        self.core.on_closed(closed, Instant::now());
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerFrame, Closed>> {
        match &mut self.socket {
            Socket::Open(connection) => connection.poll_next(cx),
            _ => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        let Socket::Open(connection) = &mut self.socket else { return Ok(()) };
        while connection.poll_ready(cx)?.is_ready() {
            let Some(frame) = self.core.next_frame(Instant::now()) else { break };
            connection.start_send(&frame)?;
        }
        match connection.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }
}

fn lost(reason: &str) -> Closed {
    Closed { code: NO_CLOSE_FRAME, reason: reason.to_owned() }
}
