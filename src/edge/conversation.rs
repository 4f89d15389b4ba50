//! One client's conversation, from its hello to its goodbye. One task, which reads, catches up and says goodbye; what is
//! live is written by the fan-out.

mod pace;

use std::{
    future::poll_fn,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
    task::Poll,
    time::{Duration, Instant},
};

use hubbub_lifecycle::metric;
use hubbub_protocol::{
    ClientFrame, CloseReason, ErrorCode, Frame, HELLO_TIMEOUT, Hello, MAX_ROOMS, Publish, Refusal, RoomId, ServerFrame,
    too_many_rooms,
};
use metrics::Counter;
use tokio::time::timeout;
use tracing::debug;

pub use pace::PublishRate;

use self::pace::{Pace, TooFast};
use crate::{
    node::{Guest, Node},
    socket::{Ending, Inbound, Link, Socket},
};

/// Frames in a row that are no frames of this protocol, after which the connection ends.
const MAX_MALFORMED: u32 = 3;
/// How long a client that is to leave may take to be served what is due to it.
const GOODBYE: Duration = Duration::from_secs(5);

/// How often a connection may join, leave and type.
const ASIDES: PublishRate = PublishRate { per_second: 20.0, burst: 100.0 };

static FRAMES_IN: LazyLock<Counter> = LazyLock::new(|| metrics::counter!(metric::FRAMES_IN));

/// Converses until the connection ends, and ends it properly.
pub async fn run(mut socket: Socket, node: Node, rate: PublishRate) {
    let apology = Apology(Arc::clone(socket.link()));
    let ending = converse(&mut socket, &node, rate).await;
    drop(apology);
    debug!(?ending, "a connection ended");
    count_close(ending);
    socket.finish().await;
}

/// Says 1011 to the client if the conversation ends by a defect of ours.
struct Apology(Arc<Link>);

impl Drop for Apology {
    fn drop(&mut self) {
        if std::thread::panicking() {
            count_close(Ending::Ours(CloseReason::Internal));
            self.0.close(Ending::Ours(CloseReason::Internal));
            self.0.flush();
        }
    }
}

/// Turns a client away with this reason, before any conversation.
pub async fn turn_away(socket: Socket, reason: CloseReason) {
    count_close(end(&socket, reason));
    socket.finish().await;
}

/// Counts by code. A peer may send any code, so its own are counted by their range.
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

/// The conversation. The guest's place is given up the moment the ending is decided.
async fn converse(socket: &mut Socket, node: &Node, rate: PublishRate) -> Ending {
    let mut malformed = 0;
    let heard = tokio::select! {
        biased;
        () = node.closed() => return end(socket, CloseReason::Drain),
        heard = timeout(HELLO_TIMEOUT, hear_hello(socket, &mut malformed)) => heard,
    };
    let hello = match heard {
        Ok(Ok(hello)) => hello,
        Ok(Err(ending)) => return ending,
        Err(_) => return end(socket, CloseReason::HelloTimeout),
    };
    match node.admit(node.next_id(), hello, socket.link()).await {
        Ok(guest) => {
            let now = Instant::now();
            let (pace, asides) = (Pace::new(rate, now), Pace::new(ASIDES, now));
            Conversation { socket, node, guest, pace, asides, malformed }.run().await
        }
        Err(reason) => end(socket, reason),
    }
}

async fn hear_hello(socket: &mut Socket, malformed: &mut u32) -> Result<Hello, Ending> {
    loop {
        let refusal = match hear(socket.next().await?) {
            Heard::Frame(ClientFrame::Hello(hello)) => return Ok(hello),
            Heard::Frame(_) => Refusal::new(ErrorCode::HelloRequired, "say hello first"),
            Heard::Nothing => continue,
            Heard::Nonsense(refusal) => refusal,
            Heard::Binary => return Err(end(socket, CloseReason::BinaryFrame)),
        };
        refuse(socket, &refusal);
        if is_enough(malformed, &refusal) {
            return Err(end(socket, CloseReason::BadFrame));
        }
    }
}

struct Conversation<'a> {
    socket: &'a mut Socket,
    node: &'a Node,
    guest: Guest,
    pace: Pace,
    /// For joining, leaving and typing.
    asides: Pace,
    malformed: u32,
}

enum Turn {
    Inbound(Inbound),
    Leave(Duration),
}

impl Conversation<'_> {
    async fn run(mut self) -> Ending {
        loop {
            match self.turn().await {
                Ok(Turn::Inbound(inbound)) => {
                    if let ControlFlow::Break(reason) = self.on_inbound(inbound).await {
                        return end(self.socket, reason);
                    }
                }
                Ok(Turn::Leave(pause)) => return self.say_goodbye(pause).await,
                Err(ending) => return ending,
            }
        }
    }

    /// What happens next. One poll serves reading, flushing, catching up and the wish that it leave.
    async fn turn(&mut self) -> Result<Turn, Ending> {
        poll_fn(|cx| {
            let member = self.guest.seat.member();
            self.guest.seat.poll_catch_up(cx);
            if let Some(pause) = member.leave_pause() {
                return Poll::Ready(Ok(Turn::Leave(pause)));
            }
            if member.is_read() {
                return self.socket.poll_next(cx).map_ok(Turn::Inbound);
            }
            match self.socket.poll_flush(cx) {
                Poll::Ready(Err(ending)) => Poll::Ready(Err(ending)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    async fn on_inbound(&mut self, inbound: Inbound) -> ControlFlow<CloseReason> {
        let outcome = match hear(inbound) {
            Heard::Frame(frame) => {
                self.malformed = 0;
                self.on_frame(frame).await
            }
            Heard::Nothing => return ControlFlow::Continue(()),
            Heard::Nonsense(refusal) => Err(refusal),
            Heard::Binary => return ControlFlow::Break(CloseReason::BinaryFrame),
        };
        match outcome {
            Ok(flow) => flow,
            Err(refusal) => {
                refuse(self.socket, &refusal);
                if is_enough(&mut self.malformed, &refusal) {
                    return ControlFlow::Break(CloseReason::BadFrame);
                }
                ControlFlow::Continue(())
            }
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame) -> Result<ControlFlow<CloseReason>, Refusal> {
        if matches!(frame, ClientFrame::Join { .. } | ClientFrame::Leave { .. } | ClientFrame::Typing { .. })
            && let Err(refused) = self.asides.take(Instant::now())
        {
            return slow_down(refused);
        }
        let seat = &mut self.guest.seat;
        match frame {
            ClientFrame::Hello(_) => return Err(Refusal::new(ErrorCode::HelloRepeated, "hello has been said")),
            ClientFrame::Publish(publish) => return self.on_publish(publish),
            ClientFrame::Join { room } if seat.is_in(&room) || seat.rooms() < MAX_ROOMS => seat.join(room).await,
            ClientFrame::Join { .. } => return Err(too_many_rooms()),
            ClientFrame::Leave { room } => seat.leave(room).await,
            ClientFrame::Typing { room } => {
                require_joined(&self.guest, &room)?;
                self.node.type_in(room, self.guest.seat.member().user().clone());
            }
            ClientFrame::Ping { n } => self.socket.say(&Frame::json(&ServerFrame::Pong { n })),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_publish(&mut self, publish: Publish) -> Result<ControlFlow<CloseReason>, Refusal> {
        let id = publish.id.clone();
        let about = |refusal: Refusal| refusal.about(Some(id.as_str()));
        if let Err(refused) = self.pace.take(Instant::now()) {
            return slow_down(refused).map_err(about);
        }
        require_joined(&self.guest, &publish.room).map_err(about)?;
        let member = Arc::clone(self.guest.seat.member());
        member.expect_answer();
        // weak: who has left by then must not keep its descriptor until the log is back
        let asked = Arc::downgrade(&member);
        let queued = self.node.publish(member.user().clone(), publish, move |ack| {
            if let Some(member) = asked.upgrade() {
                member.answer(&Frame::json(&ServerFrame::Ack(ack)));
            }
        });
        if let Err(refusal) = queued {
            // this is its answer
            count_refusal(&refusal);
            member.answer(&Frame::json(&ServerFrame::Error(about(refusal))));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// This instance stops: what the client published is acked, what is due to it is sent, then it is told to come back.
    /// What does not get done in time it finds at another instance, with its cursor.
    async fn say_goodbye(self, pause: Duration) -> Ending {
        let Self { socket, guest, .. } = self;
        let seat = &guest.seat;
        let settled = poll_fn(|cx| {
            seat.poll_catch_up(cx);
            match socket.poll_flush(cx) {
                Poll::Ready(Err(ending)) => Poll::Ready(Err(ending)),
                _ if seat.member().unacked() == 0 && seat.member().is_live() => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        });
        if let Ok(Err(ending)) = timeout(GOODBYE, settled).await {
            return ending;
        }
        let reconnect_after_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        seat.dismiss(Frame::json(&ServerFrame::Drain { reconnect_after_ms }), CloseReason::Drain).await;
        let dismissed = poll_fn(|cx| match socket.poll_flush(cx) {
            Poll::Ready(Err(ending)) => Poll::Ready(ending),
            _ => Poll::Pending,
        });
        timeout(GOODBYE, dismissed).await.unwrap_or_else(|_| end(socket, CloseReason::Drain))
    }
}

/// What an inbound message says.
enum Heard {
    Frame(ClientFrame),
    Nonsense(Refusal),
    Nothing,
    Binary,
}

fn hear(inbound: Inbound) -> Heard {
    match inbound {
        Inbound::Text(text) => {
            FRAMES_IN.increment(1);
            ClientFrame::decode(&text).map_or_else(Heard::Nonsense, Heard::Frame)
        }
        Inbound::Binary(_) => Heard::Binary,
        Inbound::Control => Heard::Nothing,
    }
}

fn require_joined(guest: &Guest, room: &RoomId) -> Result<(), Refusal> {
    if guest.seat.is_in(room) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::NotJoined, format!("join the room {room} first")))
}

/// What a client that is too fast is told, or that it has been told for too long.
fn slow_down(refused: TooFast) -> Result<ControlFlow<CloseReason>, Refusal> {
    if refused.is_hopeless {
        return Ok(ControlFlow::Break(CloseReason::RateLimited));
    }
    let wait = u64::try_from(refused.wait.as_millis()).unwrap_or(u64::MAX);
    let refusal = Refusal::new(ErrorCode::RateLimited, "too many at once: this one was refused");
    Err(refusal.retry_after_ms(wait.saturating_add(1)))
}

fn refuse(socket: &Socket, refusal: &Refusal) {
    count_refusal(refusal);
    socket.say(&Frame::json(&ServerFrame::Error(refusal.clone())));
}

fn count_refusal(refusal: &Refusal) {
    metrics::counter!(metric::REFUSALS, "code" => refusal.code.name()).increment(1);
}

/// Counts frames that were no frames of this protocol; only these count, and only in a row.
const fn is_enough(malformed: &mut u32, refusal: &Refusal) -> bool {
    if refusal.code.is_malformed() {
        *malformed += 1;
    } else {
        *malformed = 0;
    }
    *malformed >= MAX_MALFORMED
}

/// Ends the connection for this reason, unless it ends for another one already.
fn end(socket: &Socket, reason: CloseReason) -> Ending {
    let ending = Ending::Ours(reason);
    socket.link().close(ending);
    socket.link().ending().unwrap_or(ending)
}
