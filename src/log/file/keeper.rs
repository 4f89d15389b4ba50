//! Keeps the file small, beside the appends.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::Throttle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Shared, table};

/// Rows that are deleted at a time. An append may wait for it.
const PIECE: u32 = 500;
/// Pages of the write-ahead log from which on it begins anew. Until then it only grows while there are appends.
const LONG: i64 = 8192;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The task that deletes what is trimmed and moves the write-ahead log into the file.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) closing: CancellationToken,
}

impl Keeper {
    /// Runs until the file is closed.
    pub(super) async fn run(self) {
        static FAILED: Throttle = Throttle::new();
        while self.closing.run_until_cancelled(self.shared.due.notified()).await.is_some() {
            if let Err(error) = self.keep().await {
                if let Some(held_back) = FAILED.pass() {
                    let error = self.shared.explain(&error);
                    warn!(%error, held_back, "the file of the log could not be made smaller");
                }
                self.closing.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }

    async fn keep(&self) -> Result<(), sqlx::Error> {
        let trimmed = self.shared.known.lock().take_trimmed();
        if let Some((last, kept)) = trimmed {
            self.delete(last, kept).await?;
        }
        let is_due = self.shared.known.lock().take_pages();
        if is_due {
            self.checkpoint().await?;
        }
        Ok(())
    }

    async fn delete(&self, last: u64, kept: u64) -> Result<(), sqlx::Error> {
        let connections = &self.shared.connections;
        {
            let mut keeper = connections.keeper.take().await?;
            let _only = connections.writer.take().await?;
            table::set_trimmed(&mut keeper, last).await?;
            table::delete_markers(&mut keeper, kept, last).await?;
        }
        // what is left when the file is closed is deleted with what is trimmed next
        while !self.closing.is_cancelled() {
            // appends and the recorder get their turn between two pieces
            let mut keeper = connections.keeper.take().await?;
            let _only = connections.writer.take().await?;
            if table::delete(&mut keeper, last, PIECE).await? < u64::from(PIECE) {
                break;
            }
        }
        Ok(())
    }

    async fn checkpoint(&self) -> Result<(), sqlx::Error> {
        let connections = &self.shared.connections;
        let mut keeper = connections.keeper.take().await?;
        if table::checkpoint(&mut keeper).await? < LONG {
            return Ok(());
        }
        let _only = connections.writer.take().await?;
        let _nobody = connections.reader.take().await?;
        table::truncate(&mut keeper).await
    }
}
