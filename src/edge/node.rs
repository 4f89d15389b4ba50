//! This instance: joins the local clients and the log.
//!
//! Only the node knows both sides. Conversations hand it what clients ask for, and get values back; it hands the relay
//! what is published, and the fan-out what all clients are told.

mod announcements;
mod typing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_lifecycle::{Permit, Quota, Shutdown, clock::unix_millis, metric};
use hubbub_log::{
    Announcement, Overloaded, Relay,
    census::Census,
    ring::{CursorCheck, History, Ring},
};
use hubbub_protocol::{
    Ack, CloseReason, Count, ErrorCode, MAX_CONNECTIONS_PER_SESSION, Publish, Record, Refusal, RelayState, ResetReason,
    RoomId, Seq, User, UserId,
};
use metrics::Histogram;
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};
use tracing::warn;

use self::typing::Typing;
use crate::{
    fanout::{Coalescing, Fanout},
    notice::Encode,
    person::Person,
    ports::Ports,
    socket::Ending,
};

/// How long a cursor above everything known here may wait for the log.
const RESYNC_DEADLINE: Duration = Duration::from_secs(2);
/// How long the directory may take to name a person's rooms.
const DIRECTORY_DEADLINE: Duration = Duration::from_secs(5);

/// This instance. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Node {
    instance: Arc<Instance>,
}

#[derive(Debug)]
struct Instance {
    name: Arc<str>,
    ring: Arc<Ring>,
    relay: Relay,
    census: Census,
    fanout: Fanout,
    ports: Ports,
    phase: watch::Sender<Phase>,
    people: Quota<UserId>,
    typing: Mutex<Typing>,
    publish_latency: Histogram,
}

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everybody is served.
    Serving,
    /// It stops soon: load balancers should look elsewhere, but new connections are served.
    Retiring,
    /// New connections are refused.
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

/// A place among the connections of this instance, and where its service begins.
#[derive(Debug)]
pub struct Admission {
    /// The connection is served from here on.
    pub seq: Seq,
    /// Why the cursor of the client could not be taken up, if it brought one that could not.
    pub reset: Option<ResetReason>,
    /// The rooms that the directory names.
    pub rooms: Vec<RoomId>,
    /// One of the connections that the person may hold. Keep it as long as the connection.
    pub permit: Permit<UserId>,
}

impl Node {
    /// Starts to serve from `ring`, which `relay` fills. `encode` builds the frames of notices.
    pub(crate) fn start(
        name: &str,
        ring: Arc<Ring>,
        relay: Relay,
        ports: Ports,
        encode: Encode,
        shutdown: &Shutdown,
    ) -> Self {
        let instance = Instance {
            name: name.into(),
            census: Census::start(&relay, shutdown),
            fanout: Fanout::start(&ring, Coalescing::default(), encode, shutdown),
            ring,
            relay,
            ports,
            phase: watch::Sender::new(Phase::Serving),
            people: Quota::new(MAX_CONNECTIONS_PER_SESSION),
            typing: Mutex::default(),
            publish_latency: metrics::histogram!(metric::PUBLISH_LATENCY),
        };
        let node = Self { instance: Arc::new(instance) };
        shutdown.spawn_until_shutdown(node.clone().report_connections());
        shutdown.spawn_until_shutdown(node.clone().announce_count());
        shutdown.spawn_until_shutdown(node.clone().announce_status());
        shutdown.spawn_until_shutdown(node.clone().pass_on_typing());
        node
    }

    /// The name of this instance.
    pub fn name(&self) -> &str {
        &self.instance.name
    }

    /// The registry of connections and the way to serve them.
    pub fn fanout(&self) -> &Fanout {
        &self.instance.fanout
    }

    /// Who may do what, and in which rooms a person sits.
    pub fn ports(&self) -> &Ports {
        &self.instance.ports
    }

    /// Decides whether a person may connect, and from where on it is served: from `cursor`, or from now on. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why it may not: the person holds as many connections as it may, its cursor cannot be judged here, or its rooms
    /// cannot be read.
    pub async fn admit(&self, person: &Person, cursor: Option<Seq>) -> Result<Admission, CloseReason> {
        let permit = self.instance.people.take(person.user.id.clone()).ok_or(CloseReason::TooManyConnections)?;
        let rooms = timeout(DIRECTORY_DEADLINE, self.instance.ports.directory.rooms(person));
        let rooms = rooms.await.ok().and_then(Result::ok).ok_or(CloseReason::TryAgainLater)?;
        let reset = match cursor {
            Some(cursor) => self.check_cursor(cursor).await?,
            None => None,
        };
        let seq = cursor.filter(|_| reset.is_none()).unwrap_or_else(|| self.seq());
        Ok(Admission { seq, reset, rooms, permit })
    }

    /// Why a cursor cannot be taken up; None if it can.
    async fn check_cursor(&self, cursor: Seq) -> Result<Option<ResetReason>, CloseReason> {
        let mut check = self.instance.ring.check_cursor(cursor);
        let mut source = "ring";
        if check == CursorCheck::Ahead {
            // returning clients share the reads of the log: a sync that has not begun yet serves all that wait for one
            let synced = self.instance.relay.resync(RESYNC_DEADLINE).await;
            check = self.instance.ring.check_cursor(cursor);
            source = "log";
            if check == CursorCheck::Ahead && !synced {
                // the log may well know the cursor: a reset would show again what the client has seen
                return Err(CloseReason::TryAgainLater);
            }
        }
        let reset = match check {
            CursorCheck::Replay => None,
            CursorCheck::Ahead => Some(ResetReason::UnknownCursor),
            CursorCheck::Reset(reason) => Some(reason),
        };
        let source = if reset.is_some() { "reset" } else { source };
        metrics::counter!(metric::RESUMES, "source" => source).increment(1);
        Ok(reset)
    }

    /// Publishes a message. `done` runs once, when the log has given it its place.
    ///
    /// # Errors
    ///
    /// `overloaded` if the publish queue is full, because the log is slow or cannot be reached.
    pub fn publish(
        &self,
        from: User,
        publish: Publish,
        done: impl FnOnce(Ack) + Send + 'static,
    ) -> Result<(), Refusal> {
        let Publish { id, room, body } = publish;
        let (instance, started, accepted_at) = (Arc::clone(&self.instance), Instant::now(), unix_millis());
        let record = Record { room, id: id.clone(), from, body, at: accepted_at };
        let queued = self.instance.relay.publish(record, move |placed| {
            instance.publish_latency.record(started.elapsed().as_secs_f64());
            let (seq, duplicate) = (placed.seq, placed.duplicate);
            let instance = instance.name.as_ref().to_owned();
            done(Ack { id, seq, duplicate, instance, accepted_at, logged_at: unix_millis() });
        });
        queued.map_err(|Overloaded { retry_after_ms, .. }| {
            let detail = "the publish queue is full: the log is slow or cannot be reached";
            Refusal::new(ErrorCode::Overloaded, detail).retry_after_ms(retry_after_ms)
        })
    }

    /// Passes on that a person types in a room.
    pub fn type_in(&self, room: RoomId, user: User) {
        let due = self.instance.typing.lock().local.add(Instant::now(), room, user);
        if let Some((room, from)) = due {
            self.instance.relay.announce(Announcement::Typing { room, from });
        }
    }

    /// A page of a room's history.
    pub fn history(&self, room: &RoomId, before: Option<Seq>, after: Option<Seq>, limit: usize) -> History {
        self.instance.ring.history(room, before, after, limit)
    }

    /// The number of connections of all instances.
    pub fn count(&self) -> Count {
        *self.instance.census.count().borrow()
    }

    /// The newest place in the log that this instance knows.
    pub fn seq(&self) -> Seq {
        self.instance.ring.last()
    }

    /// Whether messages flow between the instances.
    pub fn relay_state(&self) -> RelayState {
        *self.instance.relay.state().borrow()
    }

    /// Where the instance is in its life.
    pub fn phase(&self) -> Phase {
        *self.instance.phase.borrow()
    }

    /// Completes when new connections are refused. Cancel safe.
    pub async fn closed(&self) {
        let mut phase = self.instance.phase.subscribe();
        // the sender lives as long as this node
        let _closed = phase.wait_for(|phase| *phase == Phase::Closed).await.is_ok();
    }

    /// Moves on to the next phase of its life; never back.
    pub fn enter(&self, phase: Phase) {
        self.instance.phase.send_modify(|now| *now = phase.max(*now));
    }

    /// Whether the instance should get traffic. A relay that is down does not count against it: taking every instance out
    /// would help nobody.
    pub fn readiness(&self) -> Readiness {
        if self.phase() > Phase::Serving {
            Readiness::Draining
        } else if !self.instance.relay.was_ever_live() {
            Readiness::Starting
        } else if self.instance.relay.is_deaf() {
            Readiness::Deaf
        } else {
            Readiness::Ready
        }
    }

    /// Closes every connection at once. Returns how many there were.
    pub fn cut(&self) -> usize {
        let connections = self.instance.fanout.connections();
        for connection in &connections {
            connection.link().close(Ending::Ours(CloseReason::Drain));
        }
        connections.len()
    }

    /// Leaves the census and the channel, after the last connection has gone. Publishes that wait get their place within
    /// `deadline`; before that the census has half as long.
    pub async fn leave(&self, deadline: Duration) {
        self.instance.census.leave(deadline / 2).await;
        let given_up = self.instance.relay.close(deadline).await;
        if given_up > 0 {
            warn!(
                messages = given_up,
                "the log was out of reach: some messages are given up. Publishes among them were not acked, and their \
                 clients repeat them elsewhere; messages that Redis had lost are offered again by other instances"
            );
        }
    }
}
