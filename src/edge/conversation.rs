//! One client's conversation, from `hello` to the close. Its task reads the socket, answers, catches up and closes.
//! While the connection is live, the fan-out's worker writes the messages.

mod decoding;
mod ending;
mod frames;
mod introduction;
mod pace;
mod patience;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    net::IpAddr,
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_lifecycle::{TokenBucket, clock::millis, metric};
use hubbub_log::ring::Rights;
use hubbub_protocol::{
    ClientFrame, CloseReason, ConnectionId, ErrorCode, Frame, MAX_ROOMS, Publish, Refusal, RoomId, RoomKind, UserId,
    no_such_room, too_many_rooms,
};
use tokio::time::timeout;

pub(crate) use self::frames::notice as notice_frame;
use self::{
    decoding::{Decoded, Malformed, decode},
    introduction::{Introduction, Unknown},
    pace::{CONTROL_RATE, Pace},
};
use crate::{
    connection::Connection,
    door::{Door, Stay},
    node::{Admission, Node, Sender},
    person::{Person, PersonKind},
    ports::Sitter,
    sessions::Belonging,
    socket::{Ending, Inbound, Socket},
};

/// How long a client with an account waits for its seats before it is sent to try again.
const SEATS_DEADLINE: Duration = Duration::from_secs(5);
/// Timeout of each of the two steps of closing: sending queued frames, and sending the last frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Serves a client at this address until its connection ends, and closes the connection.
pub async fn run(mut socket: Socket, node: Node, door: Door, address: IpAddr) {
    let (began, mut who) = (Instant::now(), None);
    // a panic ends only this connection, with 1011
    let conversation = AssertUnwindSafe(converse(&mut socket, &node, &door, address, &mut who)).catch_unwind().await;
    let ending = conversation.unwrap_or_else(|_| close(&socket, CloseReason::Internal));
    ending::count(ending);
    ending::explain(ending, &socket, who, address, began.elapsed());
    socket.finish().await;
}

/// `who` is set as soon as the client is admitted.
async fn converse(
    socket: &mut Socket,
    node: &Node,
    door: &Door,
    address: IpAddr,
    who: &mut Option<(ConnectionId, UserId)>,
) -> Ending {
    // boxed: an idle connection must not carry the state of its beginning
    match Box::pin(Conversation::begin(socket, node, door, address)).await {
        Ok(mut conversation) => {
            *who = Some((conversation.connection.id(), conversation.person.user.id.clone()));
            conversation.run().await
        }
        Err(ending) => ending,
    }
}

/// The first accepted hello, and its sender.
async fn receive_hello(socket: &mut Socket, node: &Node) -> Result<Introduction, Ending> {
    let mut malformed = Malformed::default();
    let mut limit = TokenBucket::new(CONTROL_RATE, Instant::now());
    loop {
        let inbound = socket.next().await?;
        if limit.take(Instant::now()).is_err() {
            return Err(close(socket, CloseReason::RateLimited));
        }
        let refusal = match decode(inbound) {
            Decoded::Frame(frame) => match Introduction::read(frame, node).await {
                Ok(introduction) => return Ok(introduction),
                Err(Unknown::Refused(refusal)) => refusal,
                Err(Unknown::Closed(reason)) => return Err(close(socket, reason)),
            },
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
    pace: Pace<'a>,
    malformed: Malformed,
    _stay: Stay,
    _belonging: Option<Belonging>,
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
    async fn begin(socket: &'a mut Socket, node: &'a Node, door: &'a Door, address: IpAddr) -> Result<Self, Ending> {
        let entry = door.enter(address).map_err(|reason| close(socket, reason))?;
        let received = tokio::select! {
            biased;
            () = node.closed() => return Err(close(socket, CloseReason::Drain)),
            received = timeout(entry.hello_timeout(), receive_hello(socket, node)) => received,
        };
        let introduction = received.unwrap_or_else(|_| Err(close(socket, door.too_late(&entry, address))))?;
        let belonging = introduction.belong(socket.link(), node).map_err(|reason| close(socket, reason))?;
        let Introduction { person, rooms, resume } = introduction;
        let place = door.admit(entry, address, &person.user.id).await.map_err(|reason| close(socket, reason))?;
        let admission = node.admit(resume.map(|resume| resume.seq)).await;
        let Admission { seq, reset } = admission.map_err(|reason| close(socket, reason))?;
        let (id, link) = (node.fanout().next_id(), Arc::clone(socket.link()));
        // a guest is attached behind its welcome, an account is welcomed when it is seated
        let (connection, admitted) = match &person.kind {
            PersonKind::Guest => (Connection::new(id, link, rooms, seq), None),
            PersonKind::Account { session } => {
                let sitter = Sitter { user: person.user.id.clone(), session: session.clone() };
                let (connection, admitted) = Connection::of_account(id, link, sitter, rooms, seq);
                (connection, Some(admitted))
            }
        };
        let connection = Arc::new(connection);
        let conversation = Self {
            _stay: door.settle(place, address, &person.user.id, &connection),
            _belonging: belonging,
            socket,
            node,
            person,
            connection,
            pace: Pace::new(door, address, Instant::now()),
            malformed: Malformed::default(),
        };
        if let Some(admitted) = admitted {
            node.fanout().attach(&conversation.connection).await;
            let admitted = timeout(SEATS_DEADLINE, admitted).await.ok().and_then(Result::ok);
            admitted.unwrap_or(Err(CloseReason::TryAgainLater)).map_err(|reason| close(conversation.socket, reason))?;
        }
        let resumed = resume.is_some() && reset.is_none();
        conversation.socket.reply(&frames::welcome(node, id, &conversation.person, seq, resumed));
        if let Some(reason) = reset {
            conversation.socket.reply(&frames::reset(seq, reason));
        }
        if conversation.person.has_account() {
            conversation.connection.begin();
        } else {
            node.fanout().attach(&conversation.connection).await;
        }
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
            if self.connection.is_reading() && self.pace.poll_pause(cx).is_ready() {
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
        self.pace.count_frame();
        let outcome = match decode(inbound) {
            Decoded::Frame(frame) => {
                self.malformed = Malformed::default();
                self.on_frame(frame).await
            }
            Decoded::Control => self.pace.take_control(),
            Decoded::Malformed(refusal) => match self.pace.take_control() {
                Ok(ControlFlow::Continue(())) => Err(refusal),
                too_fast => too_fast.map_err(|limited| limited.about(refusal.id.as_deref())),
            },
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
        if !matches!(frame, ClientFrame::Publish(_)) {
            let flow = self.pace.take_control()?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        match frame {
            ClientFrame::Hello(_) | ClientFrame::AccountHello(_) => {
                return Err(Refusal::new(ErrorCode::HelloRepeated, "hello was sent already"));
            }
            ClientFrame::Publish(publish) => return self.on_publish(publish),
            ClientFrame::Join { room } => self.on_join(room).await?,
            ClientFrame::Leave { room } => {
                self.require_public(&room)?;
                let (node, connection) = (self.node, Arc::clone(&self.connection));
                self.serve_until(async move { node.fanout().leave(&connection, room).await }.boxed()).await;
            }
            ClientFrame::Typing { room } => {
                if !self.require_seat(&room)?.may_post {
                    return Err(Refusal::new(ErrorCode::NotAllowed, "you may not type in this room"));
                }
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
        self.require_public(&room)?;
        if self.connection.public_rooms() >= MAX_ROOMS && !self.connection.is_in(&room) {
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
        let flow = self.pace.take_publish(&self.person.user.id).map_err(about)?;
        if flow.is_break() {
            return Ok(flow);
        }
        let rights = self.require_seat(&publish.room).map_err(about)?;
        if !rights.may_post {
            return Err(about(Refusal::new(ErrorCode::NotAllowed, "you may not publish in this room")));
        }
        self.node.ports().gate.may_publish(&self.person, &publish.room).map_err(about)?;
        self.connection.expect_answer();
        // weak pointer: a queued publish must not keep an ended connection and its descriptor open while the log is
        // down
        let connection = Arc::downgrade(&self.connection);
        let sender = Sender { user: self.person.user.clone(), address: Some(self.pace.address()) };
        let queued = self.node.publish(sender, publish, move |decided| {
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

    /// What the person may do in a room, by the seat of the connection.
    fn require_seat(&self, room: &RoomId) -> Result<Rights, Refusal> {
        self.connection.rights(room).ok_or_else(|| match room.kind() {
            RoomKind::Public => Refusal::new(ErrorCode::NotJoined, format!("join the room {room} first")),
            RoomKind::Private | RoomKind::Inbox => no_such_room(),
        })
    }

    /// Frames open and close seats in public rooms only.
    fn require_public(&self, room: &RoomId) -> Result<(), Refusal> {
        if room.kind() == RoomKind::Public {
            return Ok(());
        }
        self.require_seat(room)?;
        Err(Refusal::new(ErrorCode::NotAllowed, "a private room needs no join, and is left over HTTP"))
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

fn refuse(socket: &Socket, refusal: Refusal) {
    socket.reply(&refusal_frame(refusal));
}

/// The frame of a refusal, which is counted.
fn refusal_frame(refusal: Refusal) -> Frame {
    metrics::counter!(metric::REFUSALS, "code" => refusal.code.name()).increment(1);
    frames::error(refusal)
}

/// Closes the connection with this reason, unless another ending is decided already. Returns the ending that counts.
fn close(socket: &Socket, reason: CloseReason) -> Ending {
    let ending = Ending::Ours(reason);
    socket.link().close(ending);
    socket.link().ending().unwrap_or(ending)
}
