//! The way of a message: into the log, and through the one channel to every instance.
//!
//! A publish is appended to the log, gets its `seq` there, and comes back through the channel to every instance, the
//! publishing one included; only then it enters the [`Ring`] and is fanned out. What the channel loses is read from the
//! log. What the log loses is appended again by an instance that has it. The store is Redis ([`Redis`](crate::Redis))
//! or this process ([`Memory`](crate::Memory)); the algorithm is the same.
//!
//! Three tasks: the publisher appends, one batch at a time; the subscriber applies the channel and the log to the ring;
//! the announcer publishes ephemeral events, and probes that show whether the channel delivers. They outlive the
//! beginning of a shutdown, since a drain still publishes: [`Relay::close`] ends them, or dropping the last handle.
//!
//! | state | written by | read by |
//! |---|---|---|
//! | publish queue | handle, publisher, ring writer | publisher |
//! | ring, epoch | ring writer (part of the subscriber) | publisher, clients |
//! | sync requests | handle, publisher | subscriber |
//! | liveness | all three tasks | handle, announcer |
//! | count of the census | handle, subscriber | handle |
//!
//! No lock is held across an await, and no task holds two of them.

mod announcer;
mod latest_count;
mod liveness;
pub(crate) mod publish_queue;
mod publisher;
pub(crate) mod ring_writer;
mod subscriber;
mod sync_requests;

use std::{sync::Arc, time::Duration};

use announcer::Announcer;
use bytes::Bytes;
use hubbub_lifecycle::{Shutdown, Throttle};
use hubbub_protocol::{Record, RelayState, Seq, UnixMillis};
use latest_count::LatestCount;
use liveness::Liveness;
pub use publish_queue::Share;
use publish_queue::{Bounds, PublishQueue};
use publisher::Publisher;
use ring_writer::RingWriter;
use serde::Deserialize;
use subscriber::Subscriber;
use sync_requests::SyncRequests;
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::{
    backend::{Backend, Placement, Report, Submission, Unrecorded, VersionedCount},
    kind::Kind,
    ring::Ring,
    tail::Tail,
    wire::Announcement,
};

/// Least time for unsubscribing, however late it is.
const LEAST_CLOSING: Duration = Duration::from_millis(200);

/// Too many messages wait for the log: this one was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{full}; try again in {retry_after_ms} ms")]
pub struct Overloaded {
    /// What is full.
    pub full: Full,
    /// When to try again, in milliseconds.
    pub retry_after_ms: u64,
}

/// What of the publish queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All of it.
    #[error("the publish queue is full: the log is slow, cannot be reached, or is full of what waits for the recorder")]
    Queue,
    /// As much as this sender may use, while others still get in.
    #[error("too many messages of this sender wait for the log")]
    Share,
}

/// What a service tells was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// Too much waits for the log.
    #[error("{0}")]
    Full(Full),
    /// Its record is not one of an event.
    #[error("the record of the event cannot be read")]
    Unreadable,
}

/// What the relay reads of the record of an event.
#[derive(Deserialize)]
struct Outline {
    at: UnixMillis,
    from: Teller,
}

#[derive(Deserialize)]
struct Teller {
    id: Box<str>,
}

/// Settings of a relay.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Name of this instance, without spaces; another one after each start of the process. Default: random.
    pub instance: String,
    /// Announcements that a slow receiver may lag behind. Default 1024.
    pub channel_capacity: usize,
    /// Messages that may wait for the log. Default 10 000.
    pub pending_messages: usize,
    /// Bytes of records that may wait for the log. Default 16 MiB.
    pub pending_bytes: usize,
    /// Longest random delay before an instance appends lost messages again, so that not all instances do it. Default
    /// 200 ms.
    pub offer_jitter: Duration,
    /// What may wait for the recorder. Default: None, nothing is recorded.
    pub unrecorded: Option<Unrecorded>,
    /// How far the database is, read before the relay starts: no epoch opens at or below it. Default 0.
    pub floor: Seq,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            instance: format!("{:016x}", rand::random::<u64>()),
            channel_capacity: 1024,
            pending_messages: 10_000,
            pending_bytes: 16 * 1024 * 1024,
            offer_jitter: Duration::from_millis(200),
            unrecorded: None,
            floor: 0,
        }
    }
}

/// Handle of a running relay. Cloning shares it; dropping the last one ends the tasks.
#[derive(Clone, Debug)]
pub struct Relay {
    instance: Arc<str>,
    backend: Arc<dyn Backend>,
    ring: Arc<Ring>,
    queue: Arc<PublishQueue>,
    syncs: Arc<SyncRequests>,
    liveness: Arc<Liveness>,
    outgoing: mpsc::Sender<Announcement>,
    announcements: broadcast::Sender<Announcement>,
    count: LatestCount,
    closed: CancellationToken,
    _running: Arc<DropGuard>,
}

impl Relay {
    /// Starts the relay's tasks on this backend. The state becomes live after they have filled the ring.
    pub fn start(backend: impl Backend, ring: Arc<Ring>, options: RelayOptions, shutdown: &Shutdown) -> Self {
        let RelayOptions {
            instance,
            channel_capacity,
            pending_messages,
            pending_bytes,
            offer_jitter,
            unrecorded,
            floor,
        } = options;
        let bounds = Bounds { messages: pending_messages, bytes: pending_bytes, jitter: offer_jitter };
        let closed = CancellationToken::new();
        let (outgoing, queued) = mpsc::channel(announcer::QUEUE);
        let relay = Self {
            instance: instance.into(),
            backend: Arc::new(backend),
            ring,
            queue: Arc::new(PublishQueue::new(bounds)),
            syncs: Arc::default(),
            liveness: Arc::new(Liveness::new()),
            outgoing,
            announcements: broadcast::Sender::new(channel_capacity.max(1)),
            count: LatestCount::default(),
            closed: closed.clone(),
            _running: Arc::new(closed.drop_guard()),
        };
        let events = relay.backend.events();
        let writer = RingWriter::new(Arc::clone(&relay.ring), Arc::clone(&relay.queue), floor);
        shutdown.spawn(relay.publisher(&writer, unrecorded).run());
        shutdown.spawn(relay.subscriber(writer).run(events));
        shutdown.spawn(relay.announcer(queued).run());
        relay
    }

    fn publisher(&self, writer: &RingWriter, unrecorded: Option<Unrecorded>) -> Publisher {
        let Self { queue, syncs, liveness, ring, backend, closed, .. } = self.clone();
        Publisher::new(queue, syncs, liveness, ring, backend, writer.epoch(), unrecorded, closed)
    }

    fn subscriber(&self, writer: RingWriter) -> Subscriber {
        let Self { instance, backend, queue, syncs, liveness, announcements, count, closed, .. } = self.clone();
        Subscriber { instance, backend, writer, queue, syncs, liveness, announcements, count, closed }
    }

    fn announcer(&self, outgoing: mpsc::Receiver<Announcement>) -> Announcer {
        let Self { instance, backend, liveness, closed, .. } = self.clone();
        Announcer { instance, backend, liveness, outgoing, closed }
    }

    /// Queues a message. It takes of the sender's `share` of the queue: one that floods is refused, others get in.
    /// `on_placed` runs once, on a task of the relay, when the log has given the message its `seq` or
    /// has refused its id, which may be after an outage. It must not block. It is dropped without running if the relay ends before that.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] if the queue or the sender's share of it is full; `on_placed` is dropped then.
    #[expect(clippy::needless_pass_by_value, reason = "the message is handed over")]
    pub fn publish(
        &self,
        record: Record,
        share: Share,
        on_placed: impl FnOnce(Placement) + Send + 'static,
    ) -> Result<(), Overloaded> {
        // a record of the protocol can always be written and read
        let submission = serde_json::to_vec(&record).ok().and_then(|json| Submission::new(json, 0, record.at));
        let submission = submission.ok_or(Overloaded { full: Full::Queue, retry_after_ms: 0 })?;
        self.queue.push(submission, share, Box::new(on_placed)).inspect_err(|refused| warn_of(*refused))
    }

    /// Queues an event that a service tells. Never blocks. The record is as the log has it: it has a `room`, an `id`, a `from`
    /// and an `at`. It is dropped if the queue is full, or if the relay ends before it is in the log: the caller repeats it,
    /// and the log recognises the repetition.
    ///
    /// # Errors
    ///
    /// [`Untold`] if the event was dropped at once.
    pub fn append(&self, kind: Kind, record: impl Into<Bytes>) -> Result<(), Untold> {
        let record = record.into();
        let Outline { at, from } = serde_json::from_slice(&record).map_err(|_| Untold::Unreadable)?;
        let share = Share::of(&from.id);
        let submission = Submission::of_kind(kind, record, 0, at).ok_or(Untold::Unreadable)?;
        let queued = self.queue.push(submission, share, Box::new(|_| ()));
        queued.map_err(|refused| {
            warn_of(refused);
            Untold::Full(refused.full)
        })
    }

    /// Sends an ephemeral event to every instance, this one included. It is dropped while degraded or when 256 wait.
    pub fn announce(&self, announcement: Announcement) {
        // an error means that the queue is full: a lost announcement does no harm
        drop(self.outgoing.try_send(announcement));
    }

    /// The announcements of all instances from now on, this one included.
    pub fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.announcements.subscribe()
    }

    /// The log as a recorder reads it. It does not keep the relay running, and fails when the relay has closed.
    pub fn tail(&self) -> Tail {
        let Self { instance, backend, ring, closed, .. } = self.clone();
        Tail::new(instance, backend, ring, closed)
    }

    /// Whether messages flow. Degraded until the ring has been filled.
    pub fn state(&self) -> watch::Receiver<RelayState> {
        self.liveness.state()
    }

    /// Whether the state has been live since the start.
    pub fn was_ever_live(&self) -> bool {
        self.liveness.was_ever_live()
    }

    /// Whether the log has answered for 3 s, while no probe of this instance came back through the channel.
    pub fn is_deaf(&self) -> bool {
        self.liveness.is_deaf()
    }

    /// Waits until the log, as it is at this call or later, has been applied to its end. False: it was not within
    /// `deadline`. Use it for a cursor that is ahead of the ring. Cancel safe.
    pub async fn resync(&self, deadline: Duration) -> bool {
        self.syncs.complete(deadline).await
    }

    /// How many new messages wait for their `seq`.
    pub fn backlog(&self) -> usize {
        self.queue.new_count()
    }

    /// Appends the queued messages, then unsubscribes and ends the tasks. Call it after the last publish. Returns soon
    /// after `deadline` even if the log is out of reach: messages that are still queued then, new or lost, are dropped.
    /// Returns their number. Not cancel safe: a dropped call may leave the tasks running.
    pub async fn close(&self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        drop(timeout_at(until, self.queue.wait_until_empty()).await);
        self.closed.cancel();
        drop(timeout_at(until.max(Instant::now() + LEAST_CLOSING), self.backend.close()).await);
        self.queue.clear()
    }

    /// The count of the census, as the channel and the replies to reports bring it.
    pub(crate) fn count(&self) -> watch::Receiver<VersionedCount> {
        self.count.subscribe()
    }

    /// Reports this instance's connections to the census; None when it leaves.
    pub(crate) async fn report(&self, number: u64, connections: Option<u64>) {
        let report = Report { instance: Arc::clone(&self.instance), number, connections };
        match self.backend.report(&report).await {
            Ok(count) => self.count.update(count),
            Err(error) => debug!(%error, "a report to the census failed"),
        }
    }

    /// Completes when the relay closes. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// A full share concerns one sender: the caller, who knows it, tells of it.
fn warn_of(Overloaded { full, .. }: Overloaded) {
    static QUEUE: Throttle = Throttle::new();
    if full == Full::Queue
        && let Some(more) = QUEUE.pass()
    {
        warn!(more, "a publish is refused with overloaded: {full}. `more` were refused since the last such line");
    }
}
