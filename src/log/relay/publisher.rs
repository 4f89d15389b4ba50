//! Appends what waits, stop-and-wait.
//!
//! Everything that gathered while the last round trip was in flight goes in the next call: the round trip is the
//! batching window, so there is no timer in the way of a single message, and order needs no thought.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::clock::unix_millis;
use hubbub_lifecycle::metric::{self, RELAY_APPENDED, RELAY_BATCHES};
use hubbub_protocol::Seq;
use metrics::{Counter, counter};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::debug;

use super::{
    Shared,
    outbox::{Batch, Next},
};
use crate::backend::{Appended, Known, Receipt};

/// How long a fenced publisher waits for the subscriber to walk into the new epoch before it tries again.
const FENCED: Duration = Duration::from_millis(500);
/// First and longest pause after a failed append.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

struct Publisher {
    shared: Arc<Shared>,
    pause: Duration,
    /// The epoch of the last batch, and the highest place known in it.
    known: Known,
    appended: Counter,
    batches: Counter,
}

/// Runs until the relay ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut publisher = Publisher {
        shared: Arc::clone(&shared),
        pause: RETRY.0,
        known: Known { epoch: 0, last: 0 },
        appended: counter!(RELAY_APPENDED),
        batches: counter!(RELAY_BATCHES),
    };
    let mut epoch = shared.epoch.subscribe();
    while !shared.closed.is_cancelled() {
        // first the epoch, then the batch: who knows an epoch knows what its marker took
        let base = *epoch.borrow_and_update();
        let next = if base == 0 { Next::Idle } else { shared.outbox.lock().next(unix_millis()) };
        match next {
            Next::Append(batch) => publisher.append(base, batch).await,
            Next::Wait(until) => tokio::select! {
                () = sleep_until(until) => (),
                () = shared.closed.cancelled() => return,
            },
            Next::Idle => {
                if base != 0 {
                    publisher.recover();
                }
                shared.flushed.notify_waiters();
                tokio::select! {
                    biased;
                    () = shared.closed.cancelled() => return,
                    () = shared.work.notified() => (),
                    _ = epoch.changed() => (),
                }
            }
        }
    }
}

impl Publisher {
    /// One round trip. The batch stays in the outbox until the log has it.
    async fn append(&mut self, base: u64, batch: Batch) {
        let (walked, capacity) = (self.shared.ring.walked().0, self.shared.ring.capacity());
        let given = if self.known.epoch == base { self.known.last } else { base };
        self.known = Known { epoch: base, last: given.max(walked) };
        let result = self.shared.backend.append(self.known, capacity, &batch.submissions).await;
        if result.is_ok() {
            self.recover();
        }
        match result {
            Ok(Receipt::Placed(receipt)) => {
                self.known.last = receipt.iter().map(|appended| appended.seq).fold(self.known.last, Seq::max);
                if !self.placed(batch, &receipt) {
                    debug!(base, "every place is lost already: the subscriber has to walk first");
                    self.shared.wants_sync.notify_one();
                    self.rest().await;
                }
            }
            Ok(Receipt::Fenced) => {
                self.shared.outbox.lock().failed();
                self.shared.wants_sync.notify_one();
                let mut epoch = self.shared.epoch.subscribe();
                let moved = epoch.wait_for(|open| *open != base);
                if timeout(FENCED, moved).await.is_err() {
                    debug!(base, "fenced, and no newer epoch walked yet");
                }
            }
            Err(error) => {
                self.shared.outbox.lock().failed();
                self.shared.health.append_failed(&error.to_string());
                self.shared.wants_sync.notify_one();
                self.rest().await;
            }
        }
    }

    /// Longer each time, until something succeeds.
    async fn rest(&mut self) {
        tokio::select! {
            () = sleep(self.pause) => (),
            () = self.shared.closed.cancelled() => (),
        }
        self.pause = (self.pause * 2).min(RETRY.1);
    }

    /// Nothing stands in the way of appends: the last one succeeded, or somebody else has made it needless.
    fn recover(&mut self) {
        if self.pause != RETRY.0 {
            self.pause = RETRY.0;
            self.shared.health.append_recovered();
        }
    }

    /// False: no place has survived what was walked meanwhile.
    fn placed(&self, batch: Batch, receipt: &[Appended]) -> bool {
        let told = self.shared.outbox.lock().placed(batch, receipt);
        let new = receipt.iter().filter(|appended| !appended.duplicate).count();
        self.appended.increment(metric::count(new));
        self.batches.increment(1);
        let survived = told.is_some();
        for (done, appended) in told.into_iter().flatten() {
            done(appended);
        }
        survived
    }
}
