//! The node of this instance. It connects conversations, relay, ring, census and fan-out.
//!
//! Conversations call it to admit clients, to publish and to send typing. It passes publishes to the relay, and count,
//! status and typing to the fan-out.

mod announcements;
mod typing;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_lifecycle::{Shutdown, Throttle, clock::unix_millis, metric};
use hubbub_log::{
    Announcement, Full, Overloaded, Placement, Relay, Share,
    census::Census,
    ring::{CursorCheck, History, Recent, Ring},
};
use hubbub_protocol::{
    Ack, CloseReason, Count, ErrorCode, MessageId, Publish, Record, Refusal, RelayState, ResetReason, RoomId, Seq,
    User, UserId,
};
use metrics::Histogram;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;

use self::typing::Typing;
use crate::{
    fanout::{Coalescing, Fanout},
    notice::Encode,
    ports::Ports,
    sessions::Sessions,
    socket::Ending,
};

/// How long the check of a cursor above the newest seq of this instance may wait for the log.
const RESYNC_DEADLINE: Duration = Duration::from_secs(2);

/// The node of this instance. Clones share it.
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
    sessions: Sessions,
    phase: watch::Sender<Phase>,
    typing: Mutex<Typing>,
    publish_latency: Histogram,
}

/// The phase of the instance. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// New connections are accepted and served.
    Serving,
    /// The drain delay: not ready, so that load balancers choose other instances, but new connections are still served.
    /// `/health/ready` shows it as draining.
    Retiring,
    /// New connections are refused, and open ones are closed.
    Closed,
}

/// Whether the instance should get new connections, as `/health/ready` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It should get them.
    Ready,
    /// Not yet: the log has not been read since the start.
    Starting,
    /// Not any more: the phase is [`Retiring`](Phase::Retiring) or [`Closed`](Phase::Closed).
    Draining,
    /// The log answers but the channel does not deliver.
    Deaf,
}

/// The sender of a publish.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The user that the message is from.
    pub user: User,
    /// The address of the client, as limits count it. None for a back end with the API key, which has no limits.
    pub address: Option<IpAddr>,
}

impl Sender {
    /// Whose share of the publish queue its messages take: all clients of one address have one together.
    fn share(&self) -> Share {
        self.address.map_or_else(|| Share::of(&self.user.id), |address| Share::of(&address))
    }
}

/// The cursor where the service of a connection starts.
#[derive(Debug)]
pub struct Admission {
    /// The cursor: the connection gets everything above it.
    pub seq: Seq,
    /// Why the client's cursor cannot be used. None if it can, or if the client sent none.
    pub reset: Option<ResetReason>,
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
            fanout: Fanout::start(&ring, Arc::clone(&ports.directory), Coalescing::default(), encode, shutdown),
            ring,
            relay,
            ports,
            sessions: Sessions::default(),
            phase: watch::Sender::new(Phase::Serving),
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

    /// The registry of connections and their fan-out.
    pub fn fanout(&self) -> &Fanout {
        &self.instance.fanout
    }

    /// The interfaces that check permissions and read people's seats.
    pub fn ports(&self) -> &Ports {
        &self.instance.ports
    }

    /// Which sockets belong to which session of an account.
    pub fn sessions(&self) -> &Sessions {
        &self.instance.sessions
    }

    /// Admits a client. Its service starts at `cursor`, or, without one that can be used, at the newest seq. Cancel safe.
    ///
    /// # Errors
    ///
    /// `TryAgainLater` if its cursor is above the newest seq here and the log cannot be reached.
    pub async fn admit(&self, cursor: Option<Seq>) -> Result<Admission, CloseReason> {
        let reset = match cursor {
            Some(cursor) => self.check_cursor(cursor).await?,
            None => None,
        };
        let seq = cursor.filter(|_| reset.is_none()).unwrap_or_else(|| self.seq());
        Ok(Admission { seq, reset })
    }

    /// Why a cursor cannot be used. None if it can.
    async fn check_cursor(&self, cursor: Seq) -> Result<Option<ResetReason>, CloseReason> {
        let mut check = self.instance.ring.check_cursor(cursor);
        let mut source = "ring";
        if check == CursorCheck::Ahead {
            // all clients that wait share one read of the log: the next sync that begins serves all of them
            let synced = self.instance.relay.resync(RESYNC_DEADLINE).await;
            check = self.instance.ring.check_cursor(cursor);
            source = "log";
            if check == CursorCheck::Ahead && !synced {
                // the log may have this cursor: a reset would repeat messages that the client already has
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

    /// Publishes a message. `done` runs once, when the log has given it a seq or has refused its id with `id_reused`.
    ///
    /// # Errors
    ///
    /// `overloaded` if the publish queue, or the sender's share of it, is full.
    pub fn publish(
        &self,
        sender: Sender,
        publish: Publish,
        done: impl FnOnce(Result<Ack, Refusal>) + Send + 'static,
    ) -> Result<(), Refusal> {
        let Publish { id, room, body } = publish;
        let (instance, started, accepted_at) = (Arc::clone(&self.instance), Instant::now(), unix_millis());
        let (share, person, address) = (sender.share(), sender.user.id.clone(), sender.address);
        let record = Record { room, id: id.clone(), from: sender.user, body, at: accepted_at };
        let queued = self.instance.relay.publish(record, share, move |placed| {
            instance.publish_latency.record(started.elapsed().as_secs_f64());
            let (seq, duplicate) = match placed {
                Placement::Appended(seq) => (seq, false),
                Placement::Duplicate(seq) => (seq, true),
                Placement::IdReused(_) => return done(Err(id_reused(&id))),
            };
            let instance = instance.name.as_ref().to_owned();
            done(Ok(Ack { id, seq, duplicate, instance, accepted_at, logged_at: unix_millis() }));
        });
        queued.map_err(|Overloaded { full, retry_after_ms }| {
            if full == Full::Share {
                warn_of_full_share(&person, address);
            }
            Refusal::new(ErrorCode::Overloaded, full.to_string()).retry_after_ms(retry_after_ms)
        })
    }

    /// Sends typing to the other instances and to the clients of the room, coalesced.
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

    /// The messages of a room above a `seq`, for a reader that has the older ones from elsewhere.
    pub fn recent(&self, room: &RoomId, above: Seq) -> Recent {
        self.instance.ring.recent(room, above)
    }

    /// The number of connections of all instances.
    pub fn count(&self) -> Count {
        *self.instance.census.count().borrow()
    }

    /// The newest seq of the log that this instance has applied.
    pub fn seq(&self) -> Seq {
        self.instance.ring.last()
    }

    /// The state of the relay between the instances.
    pub fn relay_state(&self) -> RelayState {
        *self.instance.relay.state().borrow()
    }

    /// The phase of the instance.
    pub fn phase(&self) -> Phase {
        *self.instance.phase.borrow()
    }

    /// Completes when new connections are refused. Cancel safe.
    pub async fn closed(&self) {
        let mut phase = self.instance.phase.subscribe();
        // the sender lives as long as this node
        let _closed = phase.wait_for(|phase| *phase == Phase::Closed).await.is_ok();
    }

    /// Moves forward to this phase. Does nothing if the instance is in it or in a later one.
    pub fn enter(&self, phase: Phase) {
        self.instance.phase.send_modify(|now| *now = phase.max(*now));
    }

    /// Whether the instance should get new connections. A relay that is down leaves it ready: all instances share
    /// Redis, and removing all instances from service would not help.
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

    /// Closes every connection at once, with 1012. Returns their number.
    pub fn close_all(&self) -> usize {
        let connections = self.instance.fanout.connections();
        for connection in &connections {
            connection.link().close(Ending::Ours(CloseReason::Drain));
        }
        connections.len()
    }

    /// Leaves the census, then the channel. Call it after the last connection is closed. Leaving the census takes at
    /// most half of `deadline`; then the publishes that still wait have `deadline` to be appended to the log.
    pub async fn leave(&self, deadline: Duration) {
        self.instance.census.leave(deadline / 2).await;
        let given_up = self.instance.relay.close(deadline).await;
        if given_up > 0 {
            warn!(
                messages = given_up,
                "the log cannot be reached: this instance discards its waiting messages. New publishes among them were not \
                 acked: their clients publish them again on another instance. Messages that Redis lost are appended again \
                 only if another instance still holds them"
            );
        }
    }
}

fn warn_of_full_share(person: &UserId, address: Option<IpAddr>) {
    static FULL: Throttle = Throttle::new();
    if let Some(held_back) = FULL.pass() {
        warn!(
            user.id = person.as_str(),
            net.address = address.map(tracing::field::display),
            held_back,
            "a publish is refused with overloaded: too many messages of this sender and its address wait for the log, which \
             is slow or cannot be reached"
        );
    }
}

fn id_reused(id: &MessageId) -> Refusal {
    let detail = format!("the id {id} names another message of this sender in this room");
    Refusal::new(ErrorCode::IdReused, detail).about(Some(id.as_str()))
}
