//! Deletes what is older than it is kept, in pieces, so that recording does not wait for it.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::metric::RECORDER_PRUNED;
use hubbub_messenger::journal::Journal;
use metrics::counter;
use tokio::time::Instant;
use tracing::warn;

use crate::answer::within;

const INTERVAL: Duration = Duration::from_mins(1);
/// Messages that are deleted at once.
const PIECE: usize = 1000;

#[derive(Debug)]
pub(crate) struct Pruner {
    journal: Arc<dyn Journal>,
    /// None: messages are kept for ever.
    keep: Option<Duration>,
    due_at: Instant,
}

impl Pruner {
    pub(crate) fn new(journal: Arc<dyn Journal>, keep: Option<Duration>) -> Self {
        Self { journal, keep, due_at: Instant::now() + INTERVAL }
    }

    /// Deletes one piece, once a minute. True: there may be more, and the next piece is due at once. A failure waits for
    /// the next minute: recording is more important.
    pub(crate) async fn prune(&mut self) -> bool {
        let Some(keep) = self.keep.filter(|_| Instant::now() >= self.due_at) else { return false };
        let pruned = within(self.journal.prune(keep, PIECE)).await.unwrap_or_else(|error| {
            warn!(%error, "old messages cannot be deleted now");
            0
        });
        counter!(RECORDER_PRUNED).increment(pruned);
        let has_more = usize::try_from(pruned).is_ok_and(|pruned| pruned >= PIECE);
        if !has_more {
            self.due_at = Instant::now() + INTERVAL;
        }
        has_more
    }
}
