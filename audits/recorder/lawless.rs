//! The log of a recorder that does not ask whether it may record.

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_log::{BackendError, ClaimStep, Lease, Snapshot, Tail};
use hubbub_protocol::Seq;
use hubbub_recorder::Source;

/// The log, which says to each that it may record.
#[derive(Debug)]
pub(crate) struct Lawless(pub(crate) Tail);

impl Source for Lawless {
    fn read(&self, after: Seq, limit: usize) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        self.0.read(after, limit).boxed()
    }

    fn lease(&self, step: ClaimStep) -> BoxFuture<'_, Result<Lease, BackendError>> {
        async move { Ok(Lease { is_held: true, ..self.0.lease(step).await? }) }.boxed()
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        self.0.rewind(recorded).boxed()
    }

    fn grown(&self, beyond: Seq) -> BoxFuture<'_, ()> {
        self.0.grown(beyond).boxed()
    }
}
