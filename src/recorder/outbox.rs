//! Brings into the log what its instance could not bring there: it was killed after the commit, or the log was away.

use std::{fmt, sync::Arc, time::Duration};

use hubbub_lifecycle::metric::{OUTBOX_REPEATED, count};
use hubbub_log::Kind;
use hubbub_messenger::journal::{Journal, Unmet};
use metrics::counter;
use tokio::time::Instant;
use tracing::warn;

use crate::{
    answer::within,
    events::{OF_SERVICES, id},
};

/// How old a row is before it counts as left behind, and how often somebody looks.
const AGE: Duration = Duration::from_secs(2);
/// Rows that are appended at once.
const PIECE: usize = 500;

/// Where events go into the log.
pub trait Outlet: fmt::Debug + Send + Sync + 'static {
    /// Takes an event of this kind. Never blocks. An event that does not reach the log comes again.
    fn append(&self, kind: Kind, record: String);
}

/// Appends rows of the outbox that the recorder has not met.
#[derive(Debug)]
pub(crate) struct Outbox {
    journal: Arc<dyn Journal>,
    /// None: nothing is appended.
    outlet: Option<Arc<dyn Outlet>>,
    due_at: Instant,
}

impl Outbox {
    pub(crate) fn new(journal: Arc<dyn Journal>, outlet: Option<Arc<dyn Outlet>>) -> Self {
        Self { journal, outlet, due_at: Instant::now() }
    }

    /// Appends what was left behind. Call it at the end of the log: what is not met there is not in it. An event that is
    /// under way comes twice, which is harmless. A failure waits for the next time: recording is more important.
    pub(crate) async fn flush(&mut self) {
        let Some(outlet) = self.outlet.as_ref().filter(|_| Instant::now() >= self.due_at) else { return };
        self.due_at = Instant::now() + AGE;
        let unmet = match within(self.journal.unmet(&OF_SERVICES, AGE, PIECE)).await {
            Ok(unmet) => unmet,
            Err(error) => return warn!(%error, "the outbox cannot be read now"),
        };
        let (readable, others): (Vec<_>, Vec<_>) = unmet.into_iter().partition(is_readable);
        counter!(OUTBOX_REPEATED).increment(count(readable.len()));
        for Unmet { kind, record, .. } in readable {
            if let Some(kind) = Kind::named(&kind) {
                outlet.append(kind, record);
            }
        }
        if others.is_empty() {
            return;
        }
        // they would come again for ever
        let given_up = within(self.journal.give_up(&others)).await;
        warn!(rows = others.len(), ?given_up, "rows of the outbox cannot be read: they go to dead_letters");
    }
}

/// Whether the recorder will find the row again by its event.
fn is_readable(row: &Unmet) -> bool {
    id(row.record.as_bytes()).is_ok_and(|id| id.as_str() == row.id)
}
