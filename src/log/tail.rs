//! The log as a recorder reads it: from any `seq` on, beside the ring.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hubbub_protocol::Seq;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::{Backend, BackendError, Claim, ClaimStep, Lease, Snapshot, SyncRequest},
    ring::Ring,
};

/// The log as a recorder reads it. Cloning shares it. Every call is cancel safe, and fails once the relay has closed.
#[derive(Clone, Debug)]
pub struct Tail {
    holder: Arc<str>,
    backend: Arc<dyn Backend>,
    ring: Arc<Ring>,
    closed: CancellationToken,
    calls: TaskTracker,
}

impl Tail {
    pub(crate) fn new(holder: Arc<str>, backend: Arc<dyn Backend>, ring: Arc<Ring>, closed: CancellationToken) -> Self {
        Self { holder, backend, ring, closed, calls: TaskTracker::new() }
    }

    /// Reads at most `limit` entries above `after`, which the database has: no epoch opens at or below it, and one opens
    /// if the log ends below it.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the log did not answer or refused.
    pub async fn read(&self, after: Seq, limit: usize) -> Result<Snapshot, BackendError> {
        // an epoch that this call opens admits the cursors that the ring can complete
        let (_, low) = self.ring.recoverable();
        let request = SyncRequest { after, low, floor: after, limit };
        self.call(move |backend| Box::pin(async move { backend.sync(request).await })).await
    }

    /// Takes, renews or gives up the right to record the log, in the name of this instance.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the log did not answer or refused, or has not opened its first epoch yet.
    pub async fn lease(&self, step: ClaimStep) -> Result<Lease, BackendError> {
        let claim = Claim { holder: Arc::clone(&self.holder), step };
        self.call(move |backend| Box::pin(async move { backend.lease(&claim).await })).await
    }

    /// Sets how far the log is recorded, also to less than before: the database was restored.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the log did not answer or refused.
    pub async fn rewind(&self, recorded: Seq) -> Result<(), BackendError> {
        self.call(move |backend| Box::pin(async move { backend.rewind(recorded).await })).await
    }

    /// Completes when the ring of this instance has an entry above `beyond`.
    pub async fn grown(&self, beyond: Seq) {
        // the ring lives as long as this
        drop(self.ring.watch().wait_for(|last| *last > beyond).await);
    }

    /// The futures of a backend must be polled to their end, so they run on a task of their own.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(Arc<dyn Backend>) -> BoxFuture<'static, Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        if self.closed.is_cancelled() {
            return Err(BackendError("this instance has closed the log".to_owned()));
        }
        let ended = self.calls.spawn(call(Arc::clone(&self.backend))).await;
        ended.unwrap_or_else(|error| Err(BackendError(error.to_string())))
    }
}
