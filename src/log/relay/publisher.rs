//! Appends the queued messages, one batch at a time.
//!
//! All messages that gather while one round trip is under way go into the next append. So the round trip is the batching
//! window: no timer delays a single message, and messages cannot overtake each other.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::{
    Throttle,
    clock::steady_millis,
    metric::{self, RELAY_APPENDED, RELAY_BACKLOG_FULL, RELAY_BATCHES},
};
use hubbub_protocol::Seq;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    liveness::Liveness,
    publish_queue::{AppendBatch, Next, PublishQueue},
    sync_requests::SyncRequests,
};
use crate::{
    backend::{AppendOutcome, Backend, Fence, LogBounds, Placement, Unrecorded},
    ring::Ring,
};

/// How long a fenced publisher waits for the new epoch to be applied before it tries again.
const FENCED: Duration = Duration::from_millis(500);
/// First and longest pause after a failed append.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

pub(super) struct Publisher {
    queue: Arc<PublishQueue>,
    syncs: Arc<SyncRequests>,
    liveness: Arc<Liveness>,
    ring: Arc<Ring>,
    backend: Arc<dyn Backend>,
    epoch: watch::Receiver<Seq>,
    unrecorded: Option<Unrecorded>,
    closed: CancellationToken,
    pause: Duration,
    /// The epoch of the last batch, and the highest `seq` known in it.
    fence: Fence,
    appended: Counter,
    batches: Counter,
    backlog_full: Gauge,
}

impl Publisher {
    #[expect(clippy::too_many_arguments, reason = "each of them is a part of the relay that it works with")]
    pub(super) fn new(
        queue: Arc<PublishQueue>,
        syncs: Arc<SyncRequests>,
        liveness: Arc<Liveness>,
        ring: Arc<Ring>,
        backend: Arc<dyn Backend>,
        epoch: watch::Receiver<Seq>,
        unrecorded: Option<Unrecorded>,
        closed: CancellationToken,
    ) -> Self {
        let backlog_full = gauge!(RELAY_BACKLOG_FULL);
        backlog_full.set(0.0);
        Self {
            queue,
            syncs,
            liveness,
            ring,
            backend,
            epoch,
            unrecorded,
            closed,
            pause: RETRY.0,
            fence: Fence { epoch: 0, last: 0 },
            appended: counter!(RELAY_APPENDED),
            batches: counter!(RELAY_BATCHES),
            backlog_full,
        }
    }

    /// Runs until the relay closes.
    pub(super) async fn run(mut self) {
        // the sender of the epoch is gone when the subscriber is
        while !self.closed.is_cancelled() && self.epoch.has_changed().is_ok() {
            // first the epoch, then the batch: the queue then has the messages that the log lost before this epoch
            let base = *self.epoch.borrow_and_update();
            let next = if base == 0 { Next::Idle } else { self.queue.next(steady_millis()) };
            match next {
                Next::Append(batch) => self.append(base, batch).await,
                Next::Wait(until) => tokio::select! {
                    () = sleep_until(until) => (),
                    () = self.closed.cancelled() => return,
                },
                Next::Idle => {
                    if base != 0 {
                        self.recover();
                    }
                    tokio::select! {
                        biased;
                        () = self.closed.cancelled() => return,
                        () = self.queue.wait_for_work() => (),
                        _ = self.epoch.changed() => (),
                    }
                }
            }
        }
    }

    /// One round trip.
    async fn append(&mut self, base: Seq, batch: AppendBatch) {
        let (applied, _) = self.ring.applied();
        let bounds = LogBounds { entries: self.ring.capacity(), unrecorded: self.unrecorded };
        let placed = if self.fence.epoch == base { self.fence.last } else { base };
        self.fence = Fence { epoch: base, last: placed.max(applied) };
        match self.backend.append(self.fence, bounds, &batch.submissions).await {
            Ok(AppendOutcome::Placed(placements)) => {
                self.recover();
                self.placed(batch, &placements).await;
            }
            Ok(AppendOutcome::Full) => {
                self.queue.append_failed();
                // the log answers: what it refuses waits in the queue, which refuses more when it is full
                self.liveness.append_recovered();
                self.backlog_full.set(1.0);
                warn_of_backlog();
                self.rest().await;
            }
            Ok(AppendOutcome::Fenced) => {
                self.recover();
                self.queue.append_failed();
                self.syncs.request();
                if timeout(FENCED, self.epoch.wait_for(|open| *open != base)).await.is_err() {
                    debug!(base, "fenced, and no newer epoch is applied yet");
                }
            }
            Err(error) => {
                self.queue.append_failed();
                self.liveness.append_failed(&error.to_string());
                self.syncs.request();
                self.rest().await;
            }
        }
    }

    async fn placed(&mut self, batch: AppendBatch, placements: &[Placement]) {
        self.fence.last = placements.iter().map(|placement| placement.seq()).fold(self.fence.last, Seq::max);
        let appended = placements.iter().filter(|placement| matches!(placement, Placement::Appended(_)));
        self.appended.increment(metric::count(appended.count()));
        self.batches.increment(1);
        self.backlog_full.set(0.0);
        if !self.queue.settle(batch, placements) {
            debug!(base = self.fence.epoch, "no placement is valid: a new epoch must be applied first");
            self.syncs.request();
            self.rest().await;
        }
    }

    /// Pauses, longer each time, until something succeeds.
    async fn rest(&mut self) {
        tokio::select! {
            () = sleep(self.pause) => (),
            () = self.closed.cancelled() => (),
        }
        self.pause = (self.pause * 2).min(RETRY.1);
    }

    /// Appends work: the last one succeeded, or another instance has made it needless.
    fn recover(&mut self) {
        if self.pause != RETRY.0 {
            self.pause = RETRY.0;
            self.liveness.append_recovered();
        }
    }
}

fn warn_of_backlog() {
    static FULL: Throttle = Throttle::new();
    if FULL.pass().is_some() {
        warn!(
            "too much of the log waits for the recorder: new messages wait, and are refused with overloaded when the publish \
             queue is full. Find out why nothing is recorded: the database, or an instance with the role worker, is missing or \
             too slow. More can wait with a larger --backlog or --backlog-bytes"
        );
    }
}
