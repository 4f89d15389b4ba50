//! Appends the queued messages, one batch at a time.
//!
//! All messages that gather while one round trip is under way go into the next append. So the round trip is the batching
//! window: no timer delays a single message, and messages cannot overtake each other.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::clock::unix_millis;
use hubbub_lifecycle::metric::{self, RELAY_APPENDED, RELAY_BATCHES};
use hubbub_protocol::Seq;
use metrics::{Counter, counter};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    liveness::Liveness,
    publish_queue::{AppendBatch, Next, PublishQueue},
    sync_requests::SyncRequests,
};
use crate::{
    backend::{AppendOutcome, Backend, Fence, LogBounds, Placement},
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
    closed: CancellationToken,
    pause: Duration,
    /// The epoch of the last batch, and the highest `seq` known in it.
    fence: Fence,
    appended: Counter,
    batches: Counter,
}

impl Publisher {
    pub(super) fn new(
        queue: Arc<PublishQueue>,
        syncs: Arc<SyncRequests>,
        liveness: Arc<Liveness>,
        ring: Arc<Ring>,
        backend: Arc<dyn Backend>,
        epoch: watch::Receiver<Seq>,
        closed: CancellationToken,
    ) -> Self {
        Self {
            queue,
            syncs,
            liveness,
            ring,
            backend,
            epoch,
            closed,
            pause: RETRY.0,
            fence: Fence { epoch: 0, last: 0 },
            appended: counter!(RELAY_APPENDED),
            batches: counter!(RELAY_BATCHES),
        }
    }

    /// Runs until the relay closes.
    pub(super) async fn run(mut self) {
        // the sender of the epoch is gone when the subscriber is
        while !self.closed.is_cancelled() && self.epoch.has_changed().is_ok() {
            // first the epoch, then the batch: the queue then has the messages that the log lost before this epoch
            let base = *self.epoch.borrow_and_update();
            let next = if base == 0 { Next::Idle } else { self.queue.next(unix_millis()) };
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
        let bounds = LogBounds { entries: self.ring.capacity(), unrecorded: None };
        let placed = if self.fence.epoch == base { self.fence.last } else { base };
        self.fence = Fence { epoch: base, last: placed.max(applied) };
        match self.backend.append(self.fence, bounds, &batch.submissions).await {
            Ok(AppendOutcome::Placed(placements)) => {
                self.recover();
                self.placed(batch, &placements).await;
            }
            Ok(AppendOutcome::Full) => {
                self.queue.append_failed();
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
