//! This instance: joins the local clients and the channel.
//!
//! Only the node knows both sides. Sessions hand it what clients say; it hands the relay what is to be said, and the
//! fan-out what all are to hear.

mod typing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_lifecycle::{
    Permit, Quota, Shutdown,
    clock::{millis, unix_millis},
    metric,
};
use hubbub_log::{
    Announcement, Overloaded, Relay,
    census::Census,
    ring::{CursorCheck, History, Ring},
};
use hubbub_protocol::{
    Ack, CloseReason, ConnectionId, Count, DEDUPE_WINDOW, ErrorCode, Frame, GuestSecret, HEARTBEAT_INTERVAL, Hello,
    Limits, MAX_CONNECTIONS_PER_SESSION, Publish, Record, Refusal, RelayState, ResetReason, Resume as ResumeFrom,
    RoomId, Seq, ServerFrame, User, UserId, VERSION, Welcome,
};
use metrics::Histogram;
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::warn;

use self::typing::Typing;
use crate::{
    fanout::{Fanout, Member, Notice, Rest, Seat},
    socket::{Ending, Link},
};

/// How long a cursor above everything known here may wait for the log.
const RESYNC_DEADLINE: Duration = Duration::from_secs(2);
/// The shortest pause between two `count` frames.
const COUNT_PAUSE: Duration = Duration::from_millis(250);
/// Connections for which the pause between two `count` frames grows by [`COUNT_PAUSE`].
const COUNT_AUDIENCE: u32 = 5000;
/// How often collected `typing` events are looked at.
const TYPING_TICK: Duration = Duration::from_millis(250);

/// This instance. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    instance: Arc<str>,
    ring: Arc<Ring>,
    relay: Relay,
    census: Census,
    fanout: Fanout,
    phase: watch::Sender<Phase>,
    sessions: Quota<UserId>,
    typing: Mutex<Typing>,
    publish_latency: Histogram,
}

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everybody is welcome.
    Serving,
    /// It stops soon: load balancers should look elsewhere, but who comes is served.
    Retiring,
    /// Nobody new is let in.
    Closed,
}

/// Whether the instance should get traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// Not yet: the log has not been reached since the start.
    Starting,
    /// Not any more.
    Draining,
    /// The log answers, but what is sent through the channel does not come back.
    Deaf,
}

/// A client that has been let in.
#[derive(Debug)]
pub struct Guest {
    /// Its place among the connections of this instance.
    pub seat: Seat,
    _permit: Permit<UserId>,
}

impl Node {
    /// Starts to serve from `ring`, which `relay` fills.
    pub fn start(instance: &str, ring: Arc<Ring>, relay: Relay, shutdown: &Shutdown) -> Self {
        let shared = Shared {
            instance: instance.into(),
            census: Census::start(&relay, shutdown),
            fanout: Fanout::start(&ring, Rest::default(), shutdown),
            ring,
            relay,
            phase: watch::Sender::new(Phase::Serving),
            sessions: Quota::new(MAX_CONNECTIONS_PER_SESSION),
            typing: Mutex::default(),
            publish_latency: metrics::histogram!(metric::PUBLISH_LATENCY),
        };
        let node = Self { shared: Arc::new(shared) };
        shutdown.spawn_until_started(node.clone().report_connections());
        shutdown.spawn_until_started(node.clone().tell_count());
        shutdown.spawn_until_started(node.clone().tell_status());
        shutdown.spawn_until_started(node.clone().pass_on_typing());
        node
    }

    /// The name of this instance.
    pub fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// A number for a new connection.
    pub fn next_id(&self) -> ConnectionId {
        self.shared.fanout.next_id()
    }

    /// Lets a client in: welcomes it, and serves it from its cursor or from now on.
    ///
    /// # Errors
    ///
    /// Why it has to go: its session holds as many connections as it may, or its cursor cannot be judged here.
    pub async fn admit(&self, id: ConnectionId, hello: Hello, link: &Arc<Link>) -> Result<Guest, CloseReason> {
        let session = hello.session.unwrap_or_else(GuestSecret::random);
        let fresh = hello.session.is_none().then_some(session);
        let user_id = session.user_id();
        let permit = self.shared.sessions.take(user_id.clone()).ok_or(CloseReason::TooManyConnections)?;
        let user = User { id: user_id, name: hello.name };
        let (seq, reset) = self.starting_point(hello.resume).await?;
        let welcome = Welcome {
            version: VERSION,
            connection: id,
            instance: self.instance().to_owned(),
            user: user.clone(),
            session: fresh,
            seq,
            resumed: hello.resume.is_some() && reset.is_none(),
            heartbeat_ms: millis(HEARTBEAT_INTERVAL),
            dedupe_ms: millis(DEDUPE_WINDOW),
            limits: Limits::V1,
            count: self.count(),
            relay: self.relay_state(),
        };
        link.reply(&Frame::json(&ServerFrame::Welcome(Box::new(welcome))));
        if let Some(reason) = reset {
            link.reply(&Frame::json(&ServerFrame::Reset { seq, reason }));
        }
        let seat = self.shared.fanout.attach(id, user, link, &hello.rooms, seq).await;
        Ok(Guest { seat, _permit: permit })
    }

    /// From where on a client is served, and why not from where it wished.
    async fn starting_point(&self, resume: Option<ResumeFrom>) -> Result<(Seq, Option<ResetReason>), CloseReason> {
        let Some(ResumeFrom { seq }) = resume else { return Ok((self.shared.ring.last(), None)) };
        let mut verdict = self.shared.ring.check_cursor(seq);
        let mut source = "ring";
        if verdict == CursorCheck::Ahead {
            // returning clients share the reads of the log: a sync that has not begun yet serves all who wait for one
            let walked = self.shared.relay.resync(RESYNC_DEADLINE).await;
            verdict = self.shared.ring.check_cursor(seq);
            source = "log";
            if verdict == CursorCheck::Ahead && !walked {
                // the log may well know the cursor: a reset would show again what the client has seen
                return Err(CloseReason::TryAgainLater);
            }
        }
        let reset = match verdict {
            CursorCheck::Replay => None,
            CursorCheck::Ahead => Some(ResetReason::UnknownCursor),
            CursorCheck::Reset(reason) => Some(reason),
        };
        let source = if reset.is_some() { "reset" } else { source };
        metrics::counter!(metric::RESUMES, "source" => source).increment(1);
        Ok((if reset.is_some() { self.shared.ring.last() } else { seq }, reset))
    }

    /// Says a message. `done` runs once, when the log has given it its place.
    ///
    /// # Errors
    ///
    /// `overloaded` while the log is out of reach and the buffer for that time is full.
    pub fn publish(
        &self,
        from: User,
        publish: Publish,
        done: impl FnOnce(Ack) + Send + 'static,
    ) -> Result<(), Refusal> {
        let Publish { id, room, body } = publish;
        let (shared, started, accepted_at) = (Arc::clone(&self.shared), Instant::now(), unix_millis());
        let record = Record { room, id: id.clone(), from, body, at: accepted_at };
        let appended = self.shared.relay.publish(record, move |appended| {
            shared.publish_latency.record(started.elapsed().as_secs_f64());
            let (seq, duplicate) = (appended.seq, appended.duplicate);
            let instance = shared.instance.as_ref().to_owned();
            done(Ack { id, seq, duplicate, instance, accepted_at, logged_at: unix_millis() });
        });
        appended.map_err(|Overloaded { retry_after_ms, .. }| {
            let detail = "the relay is out of reach and too many messages wait for it already";
            Refusal::new(ErrorCode::Overloaded, detail).retry_after_ms(retry_after_ms)
        })
    }

    /// Somebody types in a room.
    pub fn type_in(&self, room: RoomId, user: User) {
        let due = self.shared.typing.lock().here.add(Instant::now(), room, user);
        if let Some((room, from)) = due {
            self.shared.relay.announce(Announcement::Typing { room, from });
        }
    }

    /// What was said in a room.
    pub fn history(&self, room: &RoomId, before: Option<Seq>, after: Option<Seq>, limit: usize) -> History {
        self.shared.ring.history(room, before, after, limit)
    }

    /// The live connection counter, over all instances.
    pub fn count(&self) -> Count {
        *self.shared.census.count().borrow()
    }

    /// Connections of this instance.
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.shared.fanout.connections()
    }

    /// Rooms with a connection on this instance.
    pub fn rooms(&self) -> usize {
        self.shared.fanout.rooms()
    }

    /// Handles of the connections of this instance.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.shared.fanout.members()
    }

    /// The newest place in the log that this instance has walked.
    pub fn seq(&self) -> Seq {
        self.shared.ring.last()
    }

    /// Whether messages flow between the instances.
    pub fn relay_state(&self) -> RelayState {
        *self.shared.relay.state().borrow()
    }

    /// Where the instance is in its life.
    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// Completes when nobody new is let in any more. Cancel safe.
    pub async fn closed(&self) {
        let mut phase = self.shared.phase.subscribe();
        // the sender lives as long as this node
        let _closed = phase.wait_for(|phase| *phase == Phase::Closed).await.is_ok();
    }

    /// Moves on to the next phase of its life; never back.
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.send_modify(|now| *now = phase.max(*now));
    }

    /// Whether the instance should get traffic. A relay that is down does not count against it: taking every instance out
    /// would help nobody.
    pub fn readiness(&self) -> Readiness {
        if self.phase() > Phase::Serving {
            Readiness::Draining
        } else if !self.shared.relay.was_ever_live() {
            Readiness::Starting
        } else if self.shared.relay.is_deaf() {
            Readiness::Deaf
        } else {
            Readiness::Ready
        }
    }

    /// Closes every connection at once, and says how many there were. Who still listens learns why.
    pub fn cut(&self) -> usize {
        let left = self.members();
        for member in &left {
            member.link().close(Ending::Ours(CloseReason::Drain));
        }
        left.len()
    }

    /// Leaves the census and the channel, once the last client is gone. What still waits for its place in the log gets
    /// it, within `deadline`; the census has half as long before that.
    pub async fn leave(&self, deadline: Duration) {
        self.shared.census.leave(deadline / 2).await;
        let given_up = self.shared.relay.close(deadline).await;
        if given_up > 0 {
            warn!(
                messages = given_up,
                "the log was out of reach: given up are publishes that were not acked, which their senders repeat \
                 elsewhere, and what Redis had lost, which other instances offer again"
            );
        }
    }

    async fn report_connections(self) {
        let mut connections = self.connections();
        loop {
            let local = *connections.borrow_and_update();
            self.shared.census.set(metric::count(local));
            if connections.changed().await.is_err() {
                return;
            }
        }
    }

    /// At most four times a second, and less often the more have to be told.
    async fn tell_count(self) {
        let mut count = self.shared.census.count();
        while count.changed().await.is_ok() {
            let frame = Frame::json(&ServerFrame::Count(*count.borrow_and_update()));
            self.shared.fanout.notify(Notice::Count(frame)).await;
            let local = u32::try_from(*self.connections().borrow()).unwrap_or(u32::MAX);
            sleep(COUNT_PAUSE * (1 + local / COUNT_AUDIENCE)).await;
        }
    }

    async fn tell_status(self) {
        let mut state = self.shared.relay.state();
        while state.changed().await.is_ok() {
            let relay = *state.borrow_and_update();
            self.shared.fanout.notify(Notice::Status(Frame::json(&ServerFrame::Status { relay }))).await;
        }
    }

    async fn pass_on_typing(self) {
        let mut announcements = self.shared.relay.announcements();
        let mut tick = interval(TYPING_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = announcements.recv() => match heard {
                    Ok(Announcement::Typing { room, from }) => self.hear_typing(&room, from),
                    // what was missed is gone: nobody types for ever
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => self.flush_typing(),
            }
        }
    }

    fn hear_typing(&self, room: &RoomId, from: Vec<User>) {
        for user in from {
            let due = self.shared.typing.lock().everywhere.add(Instant::now(), room.clone(), user);
            if let Some((room, from)) = due {
                self.whisper_typing(&room, from);
            }
        }
    }

    fn flush_typing(&self) {
        let now = Instant::now();
        let (here, everywhere) = {
            let mut typing = self.shared.typing.lock();
            (typing.here.due(now), typing.everywhere.due(now))
        };
        for (room, from) in here {
            self.shared.relay.announce(Announcement::Typing { room, from });
        }
        for (room, from) in everywhere {
            self.whisper_typing(&room, from);
        }
    }

    fn whisper_typing(&self, room: &RoomId, from: Vec<User>) {
        let frame = Frame::json(&ServerFrame::Typing { room: room.clone(), from });
        self.shared.fanout.whisper(room, &frame);
    }
}
