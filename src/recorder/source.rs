//! The log, as the recorder needs it.

use std::fmt;

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_log::{BackendError, ClaimStep, Lease, Snapshot, Tail};
use hubbub_protocol::Seq;

/// The log as the recorder reads it. Every call may be dropped and repeated.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Reads at most `limit` entries above `after`, which is also what the database has: no epoch opens below it, and
    /// one opens if the log ends below it.
    fn read(&self, after: Seq, limit: usize) -> BoxFuture<'_, Result<Snapshot, BackendError>>;

    /// Takes, renews or gives up the right to record, and notes how far the log is recorded. The answer says how far,
    /// also to one that has no right.
    fn lease(&self, step: ClaimStep) -> BoxFuture<'_, Result<Lease, BackendError>>;

    /// Sets how far the log is recorded, also to less than before.
    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Waits until this instance knows of an entry above `beyond`.
    fn grown(&self, beyond: Seq) -> BoxFuture<'_, ()>;
}

impl Source for Tail {
    fn read(&self, after: Seq, limit: usize) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        Self::read(self, after, limit).boxed()
    }

    fn lease(&self, step: ClaimStep) -> BoxFuture<'_, Result<Lease, BackendError>> {
        Self::lease(self, step).boxed()
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        Self::rewind(self, recorded).boxed()
    }

    fn grown(&self, beyond: Seq) -> BoxFuture<'_, ()> {
        Self::grown(self, beyond).boxed()
    }
}
