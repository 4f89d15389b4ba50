//! The one sequenced log of the system, and the one channel that tells every instance of it.
//!
//! A publish goes into the log, gets its `seq` there, and comes back through the channel to every instance, the
//! publishing one included; only then it enters the [`Ring`] and is fanned out. What the channel loses is read from
//! the log; what the log loses is offered again by those who hold it. The store behind it is Redis ([`Redis`]) or
//! this process ([`Local`]); the algorithm is the same.
//!
//! Three tasks: the publisher appends, one batch at a time; the subscriber walks the channel and the log into the
//! ring; the announcer sends what is ephemeral, and a probe that shows whether the channel carries at all. They
//! outlive the beginning of a shutdown, since a drain still publishes: [`Relay::close`] ends them, or dropping the last handle.

mod announcer;
pub(crate) mod health;
pub(crate) mod outbox;
mod publisher;
mod subscriber;
pub(crate) mod walker;

use std::{sync::Arc, time::Duration};

use health::Health;
use hubbub_lifecycle::Shutdown;
use hubbub_protocol::{Record, RelayState, Seq};
use outbox::{Bounds, Outbox};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use walker::Walker;

use crate::{
    backend::{Appended, Backend, Report, Submission, Tally},
    ring::Ring,
    wire::{self, Announcement},
};

/// Too much waits for the log already: this message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many messages wait for the log; try again in {retry_after_ms} ms")]
pub struct Overloaded {
    /// When it may be worth trying again, in milliseconds.
    pub retry_after_ms: u64,
}

/// How a relay behaves.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// This instance, unique to the start of its process. Without spaces.
    pub instance: String,
    /// Announcements that a slow reader may lag behind. Default 1024.
    pub channel_capacity: usize,
    /// Messages that may wait for the log. Default 10 000.
    pub pending_messages: usize,
    /// Bytes of records that may wait for the log. Default 16 MiB.
    pub pending_bytes: usize,
    /// How long an instance waits at most, after the log lost something, for another one to offer it again. Default
    /// 200 ms.
    pub offer_jitter: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            instance: format!("{:016x}", rand::random::<u64>()),
            channel_capacity: 1024,
            pending_messages: 10_000,
            pending_bytes: 16 * 1024 * 1024,
            offer_jitter: Duration::from_millis(200),
        }
    }
}

/// Handle of a running relay. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Announcement>,
    _running: Arc<DropGuard>,
}

/// What the handle and the tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) instance: Arc<str>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) ring: Arc<Ring>,
    /// Never held together with the ring's lock.
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) health: Health,
    /// Wakes the publisher.
    pub(crate) work: Notify,
    /// The publisher has nothing left.
    pub(crate) flushed: Notify,
    /// Base of the last marker walked; moves after what the marker took is in the outbox.
    pub(crate) epoch: watch::Sender<Seq>,
    /// Wakes the subscriber for a sync.
    pub(crate) wants_sync: Notify,
    /// Number of the last sync begun and of the last one that ended well.
    pub(crate) syncs: watch::Sender<Syncs>,
    pub(crate) announcements: broadcast::Sender<Announcement>,
    pub(crate) tally: watch::Sender<Tally>,
    pub(crate) closed: CancellationToken,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Syncs {
    pub(crate) begun: u64,
    pub(crate) done: u64,
}

impl Relay {
    /// Starts the relay's tasks on this backend. They fill the ring; the state becomes live after that.
    pub fn start(backend: impl Backend, ring: Arc<Ring>, options: RelayOptions, shutdown: &Shutdown) -> Self {
        let bounds =
            Bounds { messages: options.pending_messages, bytes: options.pending_bytes, jitter: options.offer_jitter };
        let RelayOptions { instance, channel_capacity, .. } = options;
        let shared = Arc::new(Shared::new(instance.into(), Arc::new(backend), ring, bounds, channel_capacity));
        let closed = shared.closed.clone();
        let (outgoing, queue) = mpsc::channel(announcer::QUEUE);
        let events = shared.backend.events();
        shutdown.spawn(subscriber::run(Walker::new(Arc::clone(&shared)), events));
        shutdown.spawn(publisher::run(Arc::clone(&shared)));
        shutdown.spawn(announcer::run(Arc::clone(&shared), queue));
        Self { shared, outgoing, _running: Arc::new(closed.drop_guard()) }
    }

    /// Queues a message. `done` runs exactly once, on a task of the relay, when the log has given the message its
    /// place, be it after an outage; it must not block. It never runs if the relay ends before that.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] if as much waits already as may; `done` is dropped then.
    #[expect(clippy::needless_pass_by_value, reason = "the message is handed over")]
    pub fn publish(&self, record: Record, done: impl FnOnce(Appended) + Send + 'static) -> Result<(), Overloaded> {
        let key = wire::key(record.from.id.as_str(), record.id.as_str());
        // a record of the protocol always serialises
        let json = serde_json::to_string(&record).map_err(|_| Overloaded { retry_after_ms: 0 })?;
        let submission = Submission { key, record: json.into(), was: 0 };
        self.shared.outbox.lock().queue(submission, record.at, Box::new(done))?;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Tells every instance, this one included, something ephemeral. Dropped while degraded or when too much waits.
    pub fn announce(&self, announcement: Announcement) {
        // full: the instances will live without it
        drop(self.outgoing.try_send(announcement));
    }

    /// What any instance announces from now on, this one included.
    pub fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.shared.announcements.subscribe()
    }

    /// Whether messages flow. Degraded until the ring has been filled.
    pub fn state(&self) -> watch::Receiver<RelayState> {
        self.shared.health.state()
    }

    /// Whether the state has been live since the start.
    pub fn was_ever_live(&self) -> bool {
        self.shared.health.was_ever_live()
    }

    /// Whether the log has answered for 3 s, and yet no probe of this instance came back through the channel.
    pub fn is_deaf(&self) -> bool {
        self.shared.health.is_deaf()
    }

    /// Waits until the log, as it is from this call on, has been walked to its end, at most for `deadline`.
    ///
    /// For a cursor that is ahead of everything known here. Says whether it was walked. Cancel safe.
    pub async fn resync(&self, deadline: Duration) -> bool {
        let mut syncs = self.shared.syncs.subscribe();
        let wanted = syncs.borrow().begun + 1;
        self.shared.wants_sync.notify_one();
        timeout_at(Instant::now() + deadline, syncs.wait_for(|syncs| syncs.done >= wanted)).await.is_ok()
    }

    /// Publishes that wait for their place.
    pub fn backlog(&self) -> usize {
        self.shared.outbox.lock().backlog()
    }

    /// After the last publish: appends what waits, then leaves the channel and ends the tasks. Returns by `deadline`
    /// even if the log is out of reach; what still waits then, new or to be offered again, is given up. Says how many
    /// messages that were.
    pub async fn close(&self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        drop(timeout_at(until, self.flushed()).await);
        self.shared.closed.cancel();
        drop(timeout_at(until.max(Instant::now() + LEAST_CLOSING), self.shared.backend.close()).await);
        let mut outbox = self.shared.outbox.lock();
        let given_up = outbox.waiting();
        // what is to be told holds on to those who would be told, and they to this relay
        outbox.clear();
        given_up
    }

    /// The census as the channel tells it.
    pub(crate) fn tally(&self) -> watch::Receiver<Tally> {
        self.shared.tally.subscribe()
    }

    /// Reports this instance's connections; None: it leaves.
    pub(crate) async fn report(&self, number: u64, connections: Option<u64>) {
        let report = Report { instance: Arc::clone(&self.shared.instance), number, connections };
        match self.shared.backend.report(&report).await {
            Ok(tally) => self.shared.counted(tally),
            Err(error) => debug!(%error, "a report to the census failed"),
        }
    }

    /// Completes when the relay ends. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    async fn flushed(&self) {
        loop {
            let flushed = self.shared.flushed.notified();
            if self.shared.outbox.lock().waiting() == 0 {
                return;
            }
            flushed.await;
        }
    }
}

/// What leaving the channel may take, however late it is.
const LEAST_CLOSING: Duration = Duration::from_millis(200);

impl Shared {
    pub(crate) fn new(
        instance: Arc<str>,
        backend: Arc<dyn Backend>,
        ring: Arc<Ring>,
        bounds: Bounds,
        channel_capacity: usize,
    ) -> Self {
        Self {
            instance,
            backend,
            ring,
            outbox: Mutex::new(Outbox::new(bounds)),
            health: Health::new(),
            work: Notify::new(),
            flushed: Notify::new(),
            epoch: watch::Sender::new(0),
            wants_sync: Notify::new(),
            syncs: watch::Sender::new(Syncs::default()),
            announcements: broadcast::Sender::new(channel_capacity.max(1)),
            tally: watch::Sender::new(Tally::default()),
            closed: CancellationToken::new(),
        }
    }

    /// The census is at least this new.
    fn counted(&self, tally: Tally) {
        self.tally.send_if_modified(|known| {
            let newer = tally.version > known.version;
            if newer {
                *known = tally;
            }
            newer
        });
    }
}
