//! A database that is written in the wrong order.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_messenger::{
    StoreError,
    journal::{Batch, Cursor, Journal, Recorded, Recording, Unmet},
};
use hubbub_protocol::Seq;
use hubbub_store::Database;
use tokio::time::sleep;

/// Between the two transactions, so that some of many kills fall there.
const PAUSE: Duration = Duration::from_millis(20);

/// A database where the cursor is moved before the messages are recorded.
#[derive(Debug)]
pub(crate) struct Hasty(pub(crate) Database);

impl Journal for Hasty {
    fn record<'a>(&'a self, log_id: &'a str, batch: &'a Batch) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        async move {
            if !self.0.skip(log_id, &batch.from, &batch.to).await? {
                return Ok(Recorded::Moved);
            }
            sleep(PAUSE).await;
            // from where the cursor stands now; another recorder may have moved it on, and that is no matter here
            loop {
                let Some(Recording { cursor, .. }) = self.0.recording().await? else { return Ok(Recorded::Moved) };
                let rest = Batch { from: cursor.clone(), to: cursor, ..batch.clone() };
                if let recorded @ Recorded::Committed { .. } = self.0.record(log_id, &rest).await? {
                    return Ok(recorded);
                }
            }
        }
        .boxed()
    }

    fn recording(&self) -> BoxFuture<'_, Result<Option<Recording>, StoreError>> {
        self.0.recording()
    }

    fn begin<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.0.begin(log_id)
    }

    fn skip<'a>(
        &'a self,
        log_id: &'a str,
        from: &'a Cursor,
        to: &'a Cursor,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.0.skip(log_id, from, to)
    }

    fn touch<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.0.touch(log_id)
    }

    fn take_over<'a>(&'a self, from: &'a Recording, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.0.take_over(from, log_id)
    }

    fn restored<'a>(&'a self, gaps: &'a [(Seq, Seq)]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.restored(gaps)
    }

    fn unmet<'a>(
        &'a self,
        kinds: &'a [&'a str],
        older_than: Duration,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Unmet>, StoreError>> {
        self.0.unmet(kinds, older_than, limit)
    }

    fn give_up<'a>(&'a self, unmet: &'a [Unmet]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.give_up(unmet)
    }

    fn prune(&self, older_than: Duration, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.0.prune(older_than, limit)
    }
}
