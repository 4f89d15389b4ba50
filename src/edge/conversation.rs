//! One client's conversation, from `hello` to the close. Its task reads the socket, answers, catches up and closes.
//! While the connection is live, the fan-out's worker writes the messages.

mod frames;
mod rate;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    future::poll_fn,
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    sync::{Arc, LazyLock},
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_lifecycle::{Permit, clock::millis, metric};
use hubbub_protocol::{
    ClientFrame, CloseReason, ErrorCode, Frame, HELLO_TIMEOUT, Hello, MAX_ROOMS, Publish, Refusal, RoomId, UserId,
    too_many_rooms,
};
use metrics::Counter;
use tokio::time::timeout;
use tracing::debug;

pub(crate) use self::frames::notice as notice_frame;
pub use self::rate::Rate;
use self::rate::{TokenBucket, TooFast};
use crate::{
    connection::Connection,
    node::{Admission, Node, Share},
    person::Person,
    socket::{Ending, Inbound, Socket},
};

/// Number of consecutive malformed frames after which the connection is closed.
const MAX_MALFORMED: u32 = 3;
/// Timeout of each of the two steps of closing: sending queued frames, and sending the last frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Rate limit for `join`, `leave` and `typing` together.
const CONTROL_RATE: Rate = Rate { per_second: 20.0, burst: 100.0 };

static FRAMES_IN: LazyLock<Counter> = LazyLock::new(|| metrics::counter!(metric::FRAMES_IN));

/// Serves a client until its connection ends, and closes the connection. `rate` limits its publishes.
pub async fn run(mut socket: Socket, node: Node, rate: Rate) {
    // a panic ends only this connection, with 1011
    let conversation = AssertUnwindSafe(converse(&mut socket, &node, rate)).catch_unwind().await;
    let ending = conversation.unwrap_or_else(|_| close(&socket, CloseReason::Internal));
    debug!(?ending, "a connection ended");
    count_close(ending);
    socket.finish().await;
}

/// Closes a socket with this reason instead of serving it.
pub async fn reject(socket: Socket, reason: CloseReason) {
    count_close(close(&socket, reason));
    socket.finish().await;
}

/// Counts closes by code. A peer may send any code: codes sent by the peer are counted by thousands, to bound the
/// labels.
fn count_close(ending: Ending) {
    let code = match ending {
        Ending::Ours(reason) => reason.code().to_string(),
        Ending::Theirs(Some(code @ 1000..=1015)) => code.to_string(),
        Ending::Theirs(Some(code)) => format!("{}xxx", code / 1000),
        Ending::Theirs(None) => "1005".to_owned(),
        Ending::Lost => "1006".to_owned(),
    };
    metrics::counter!(metric::CLOSES, "code" => code).increment(1);
}

async fn converse(socket: &mut Socket, node: &Node, rate: Rate) -> Ending {
    // boxed: an idle connection must not carry the state of its beginning
    match Box::pin(Conversation::begin(socket, node, rate)).await {
        Ok(mut conversation) => conversation.run().await,
        Err(ending) => ending,
    }
}

/// The first accepted hello, and its sender.
async fn receive_hello(socket: &mut Socket, node: &Node) -> Result<(Person, Hello), Ending> {
    let mut malformed = Malformed::default();
    loop {
        let refusal = match decode(socket.next().await?) {
            Decoded::Frame(ClientFrame::Hello(hello)) => {
                let person = Person::guest(hello.name.clone(), hello.session);
                match hello.rooms.iter().try_for_each(|room| node.ports().gate.may_enter(&person, room)) {
                    Ok(()) => return Ok((person, hello)),
                    Err(refusal) => refusal,
                }
            }
            Decoded::Frame(_) => Refusal::new(ErrorCode::HelloRequired, "send hello first"),
            Decoded::Control => continue,
            Decoded::Malformed(refusal) => refusal,
            Decoded::Binary => return Err(close(socket, CloseReason::BinaryFrame)),
        };
        let must_close = malformed.count(&refusal);
        refuse(socket, refusal);
        if must_close {
            return Err(close(socket, CloseReason::BadFrame));
        }
    }
}

/// A conversation after its hello. Dropping it removes the connection from the registry.
struct Conversation<'a> {
    socket: &'a mut Socket,
    node: &'a Node,
    person: Person,
    connection: Arc<Connection>,
    publish_limit: TokenBucket,
    /// Limit for `join`, `leave` and `typing`.
    control_limit: TokenBucket,
    malformed: Malformed,
    _permit: Permit<UserId>,
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.node.fanout().detach(&self.connection);
    }
}

/// What a conversation does next.
enum Event {
    Inbound(Inbound),
    /// This instance stops: close, and ask the client to reconnect after this pause.
    Close(Duration),
}

impl<'a> Conversation<'a> {
    /// Waits for `hello`, admits the client, sends `welcome` (and `reset`), and registers the connection.
    async fn begin(socket: &'a mut Socket, node: &'a Node, rate: Rate) -> Result<Self, Ending> {
        let received = tokio::select! {
            biased;
            () = node.closed() => return Err(close(socket, CloseReason::Drain)),
            received = timeout(HELLO_TIMEOUT, receive_hello(socket, node)) => received,
        };
        let (person, hello) = received.unwrap_or_else(|_| Err(close(socket, CloseReason::HelloTimeout)))?;
        let admission = node.admit(&person, hello.resume.map(|resume| resume.seq)).await;
        let Admission { seq, reset, rooms, permit } = admission.map_err(|reason| close(socket, reason))?;
        let id = node.fanout().next_id();
        let resumed = hello.resume.is_some() && reset.is_none();
        socket.reply(&frames::welcome(node, id, &person, seq, resumed));
        if let Some(reason) = reset {
            socket.reply(&frames::reset(seq, reason));
        }
        let rooms: BTreeSet<RoomId> = hello.rooms.into_iter().chain(rooms).collect();
        let connection = Connection::new(id, Arc::clone(socket.link()), rooms, seq);
        let now = Instant::now();
        let conversation = Self {
            socket,
            node,
            person,
            connection: Arc::new(connection),
            publish_limit: TokenBucket::new(rate, now),
            control_limit: TokenBucket::new(CONTROL_RATE, now),
            malformed: Malformed::default(),
            _permit: permit,
        };
        node.fanout().attach(&conversation.connection).await;
        Ok(conversation)
    }

    async fn run(&mut self) -> Ending {
        loop {
            match self.next().await {
                Ok(Event::Inbound(inbound)) => {
                    if let ControlFlow::Break(reason) = self.on_inbound(inbound).await {
                        return close(self.socket, reason);
                    }
                }
                Ok(Event::Close(pause)) => return Box::pin(self.close_for_drain(pause)).await,
                Err(ending) => return ending,
            }
        }
    }

    /// One poll does reading, flushing, catching up and the check for a close request.
    async fn next(&mut self) -> Result<Event, Ending> {
        poll_fn(|cx| {
            self.node.fanout().poll_catch_up(&self.connection, cx);
            if let Some(pause) = self.connection.closing() {
                return Poll::Ready(Ok(Event::Close(pause)));
            }
            if self.connection.is_reading() {
                return self.socket.poll_next(cx).map_ok(Event::Inbound);
            }
            match self.socket.poll_flush(cx) {
                Poll::Ready(Err(ending)) => Poll::Ready(Err(ending)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    async fn on_inbound(&mut self, inbound: Inbound) -> ControlFlow<CloseReason> {
        let outcome = match decode(inbound) {
            Decoded::Frame(frame) => {
                self.malformed = Malformed::default();
                self.on_frame(frame).await
            }
            Decoded::Control => return ControlFlow::Continue(()),
            Decoded::Malformed(refusal) => Err(refusal),
            Decoded::Binary => return ControlFlow::Break(CloseReason::BinaryFrame),
        };
        match outcome {
            Ok(flow) => flow,
            Err(refusal) => {
                let must_close = self.malformed.count(&refusal);
                refuse(self.socket, refusal);
                if must_close { ControlFlow::Break(CloseReason::BadFrame) } else { ControlFlow::Continue(()) }
            }
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame) -> Result<ControlFlow<CloseReason>, Refusal> {
        if matches!(frame, ClientFrame::Join { .. } | ClientFrame::Leave { .. } | ClientFrame::Typing { .. })
            && let Err(too_fast) = self.control_limit.take(Instant::now())
        {
            return throttle(too_fast);
        }
        match frame {
            ClientFrame::Hello(_) => return Err(Refusal::new(ErrorCode::HelloRepeated, "hello was sent already")),
            ClientFrame::Publish(publish) => return self.on_publish(publish),
            ClientFrame::Join { room } => self.on_join(room).await?,
            ClientFrame::Leave { room } => {
                let (node, connection) = (self.node, Arc::clone(&self.connection));
                self.serve_until(async move { node.fanout().leave(&connection, room).await }.boxed()).await;
            }
            ClientFrame::Typing { room } => {
                self.require_joined(&room)?;
                self.node.ports().gate.may_type(&self.person, &room)?;
                self.node.type_in(room, self.person.user.clone());
            }
            ClientFrame::Ping { n } => self.socket.reply(&frames::pong(n)),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Waits for the worker. Meanwhile continues flushing and catching up. Boxed: an idle connection must not carry the
    /// state of a join.
    async fn serve_until(&mut self, mut done: BoxFuture<'_, ()>) {
        poll_fn(|cx| {
            self.node.fanout().poll_catch_up(&self.connection, cx);
            // the next call of `next` returns the ending again
            let _ended = self.socket.poll_flush(cx);
            done.poll_unpin(cx)
        })
        .await;
    }

    async fn on_join(&mut self, room: RoomId) -> Result<(), Refusal> {
        let rooms = self.connection.rooms();
        if rooms.len() >= MAX_ROOMS && !rooms.contains(&room) {
            return Err(too_many_rooms());
        }
        self.node.ports().gate.may_enter(&self.person, &room)?;
        let (node, connection) = (self.node, Arc::clone(&self.connection));
        self.serve_until(async move { node.fanout().join(&connection, room).await }.boxed()).await;
        Ok(())
    }

    fn on_publish(&mut self, publish: Publish) -> Result<ControlFlow<CloseReason>, Refusal> {
        let id = publish.id.clone();
        let about = |refusal: Refusal| refusal.about(Some(id.as_str()));
        if let Err(too_fast) = self.publish_limit.take(Instant::now()) {
            return throttle(too_fast).map_err(about);
        }
        self.require_joined(&publish.room).map_err(about)?;
        self.node.ports().gate.may_publish(&self.person, &publish.room).map_err(about)?;
        self.connection.expect_answer();
        // weak pointer: a queued publish must not keep an ended connection and its descriptor open while the log is
        // down
        let connection = Arc::downgrade(&self.connection);
        let user = self.person.user.clone();
        let share = Share::of(&user.id);
        let queued = self.node.publish(user, publish, share, move |decided| {
            if let Some(connection) = connection.upgrade() {
                connection.answer(&decided.map_or_else(refusal_frame, frames::ack));
            }
        });
        if let Err(refusal) = queued {
            // a refused publish is answered with error instead of ack
            self.connection.answer(&refusal_frame(about(refusal)));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn require_joined(&self, room: &RoomId) -> Result<(), Refusal> {
        if self.connection.is_in(room) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::NotJoined, format!("join the room {room} first")))
    }

    /// Closes the connection because this instance stops. First waits until its publishes are answered and it is live,
    /// then sends `drain` and the close frame; each step takes at most [`CLOSE_DEADLINE`]. What was not sent in time,
    /// the client gets from another instance by its cursor.
    async fn close_for_drain(&mut self, pause: Duration) -> Ending {
        let (fanout, connection) = (self.node.fanout(), &self.connection);
        let settled = poll_fn(|cx| {
            fanout.poll_catch_up(connection, cx);
            match self.socket.poll_flush(cx) {
                Poll::Ready(Err(ending)) => Poll::Ready(Err(ending)),
                _ if connection.unacked() == 0 && connection.is_live() => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        });
        if let Ok(Err(ending)) = timeout(CLOSE_DEADLINE, settled).await {
            return ending;
        }
        fanout.close_after(connection, frames::drain(millis(pause)), CloseReason::Drain).await;
        let closed = poll_fn(|cx| match self.socket.poll_flush(cx) {
            Poll::Ready(Err(ending)) => Poll::Ready(ending),
            _ => Poll::Pending,
        });
        timeout(CLOSE_DEADLINE, closed).await.unwrap_or_else(|_| close(self.socket, CloseReason::Drain))
    }
}

/// The result of decoding a message from the socket.
enum Decoded {
    Frame(ClientFrame),
    Malformed(Refusal),
    /// A WebSocket ping or pong.
    Control,
    Binary,
}

fn decode(inbound: Inbound) -> Decoded {
    match inbound {
        Inbound::Text(text) => {
            FRAMES_IN.increment(1);
            ClientFrame::decode(&text).map_or_else(Decoded::Malformed, Decoded::Frame)
        }
        Inbound::Binary(_) => Decoded::Binary,
        Inbound::Control => Decoded::Control,
    }
}

/// The refusal for a client that sends too fast, or its close if it did so for too long.
fn throttle(too_fast: TooFast) -> Result<ControlFlow<CloseReason>, Refusal> {
    if too_fast.should_close {
        return Ok(ControlFlow::Break(CloseReason::RateLimited));
    }
    let refusal =
        Refusal::new(ErrorCode::RateLimited, "too many frames in too short a time: this frame was not processed");
    Err(refusal.retry_after_ms(millis(too_fast.wait).saturating_add(1)))
}

fn refuse(socket: &Socket, refusal: Refusal) {
    socket.reply(&refusal_frame(refusal));
}

/// The frame of a refusal, which is counted.
fn refusal_frame(refusal: Refusal) -> Frame {
    metrics::counter!(metric::REFUSALS, "code" => refusal.code.name()).increment(1);
    frames::error(refusal)
}

/// Number of consecutive malformed frames.
#[derive(Debug, Default)]
struct Malformed(u32);

impl Malformed {
    /// Counts a malformed frame. Another refusal resets the count. Returns true if the connection must be closed.
    const fn count(&mut self, refusal: &Refusal) -> bool {
        self.0 = if refusal.code.is_malformed() { self.0 + 1 } else { 0 };
        self.0 >= MAX_MALFORMED
    }
}

/// Closes the connection with this reason, unless another ending is decided already. Returns the ending that counts.
fn close(socket: &Socket, reason: CloseReason) -> Ending {
    let ending = Ending::Ours(reason);
    socket.link().close(ending);
    socket.link().ending().unwrap_or(ending)
}
