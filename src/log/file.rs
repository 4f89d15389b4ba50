//! The log in one SQLite file: for a single instance that keeps what was said.
//!
//! The rows of the file are the log. In memory are only its end, which epochs it has, and the keys of the dedupe window. A
//! batch is one statement and one commit; it is acked, and published on the channel, after the commit. What a statement
//! has changed whose answer is missing is read from the file before the next one.
//!
//! Each process that opens the file begins an epoch, although nothing is lost: a power cut may have taken the newest
//! commits, and a client that has seen them must be told so.

mod connections;
mod error;
mod extent;
mod keeper;
mod known;
mod load;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use connections::Connections;
pub use error::FileError;
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use hubbub_lifecycle::clock::{unix_micros, unix_millis};
use hubbub_protocol::Seq;
use keeper::Keeper;
use known::{Known, Recorded};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    backend::{
        AppendOutcome, Backend, BackendError, Claim, ClaimStep, Event, Fence, Lease, LogBounds, Report, Snapshot,
        Submission, SyncRequest, VersionedCount,
    },
    channel::Channel,
    leases::Leases,
    recording::RecordingRight,
    wire,
};

/// Longest time that a call takes. A disk that hangs must not hang its callers.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a read begins again because what it was to read has been trimmed meanwhile.
const ATTEMPTS: usize = 5;

/// When an append is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: a power cut takes nothing that was acked.
    #[default]
    Full,
    /// When the system has it: the end of the process takes nothing that was acked, a power cut may take the newest.
    Normal,
}

/// The log in a file. Cloning shares it. One process at a time may open a file.
#[derive(Clone)]
pub struct File {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    /// Ends the task of the keeper.
    closing: CancellationToken,
    /// One for each clone.
    clones: Arc<DropGuard>,
}

struct Shared {
    path: PathBuf,
    log_id: Arc<str>,
    connections: Connections,
    known: Mutex<Known>,
    /// The keeper has something to do.
    due: Notify,
    channel: Channel,
    census: Mutex<Leases>,
    right: Mutex<RecordingRight>,
}

impl File {
    /// Opens the file at this path, and makes it if there is none. Its folder must exist. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`FileError`], which says what to do.
    pub async fn open(path: &Path, durability: Durability) -> Result<Self, FileError> {
        let path = std::path::absolute(path).map_err(|error| FileError::of_io(path, &error))?;
        let connections = Connections::open(&path, durability).await?;
        let found = match connections.writer.take().await {
            Ok(mut writer) => load::everything(&mut writer).await,
            Err(error) => Err(error),
        };
        let (log_id, known) = found.map_err(|error| FileError::of(&path, &error))?;
        let shared = Arc::new(Shared {
            path,
            log_id: log_id.into(),
            connections,
            known: Mutex::new(known),
            due: Notify::new(),
            channel: Channel::new(),
            census: Mutex::default(),
            right: Mutex::default(),
        });
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Keeper { shared: Arc::clone(&shared), closing: closing.clone() }.run());
        Ok(Self { shared, tasks, clones: Arc::new(closing.clone().drop_guard()), closing })
    }
}

impl Shared {
    /// Says what is wrong with the file, and what to do.
    fn explain(&self, error: &sqlx::Error) -> FileError {
        FileError::of(&self.path, error)
    }

    /// Ends in bounded time.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, BackendError> {
        match timeout(DEADLINE, work).await {
            Ok(result) => result.map_err(|error| BackendError(self.explain(&error).to_string())),
            Err(_) => Err(BackendError(format!("the disk of {} does not answer", self.path.display()))),
        }
    }

    async fn append(
        &self,
        fence: Fence,
        bounds: LogBounds,
        batch: &[Submission],
    ) -> Result<AppendOutcome, sqlx::Error> {
        let mut writer = self.connections.writer.take().await?;
        load::doubtful(&mut writer, &self.known).await?;
        let planned = self.known.lock().plan(fence, bounds, batch);
        let plan = match planned {
            Ok(plan) => plan,
            Err(outcome) => return Ok(outcome),
        };
        if !plan.new.is_empty() {
            let written = self.known.lock().begin();
            table::append(&mut writer, plan.first, unix_millis(), written, &plan.new).await?;
            self.known.lock().advance(&plan);
            // still with the writer, so that the channel has the order of the log
            plan.payloads().into_iter().for_each(|payload| self.channel.publish(payload));
        }
        if self.known.lock().trim(bounds) {
            self.due.notify_one();
        }
        Ok(AppendOutcome::Placed(plan.placements))
    }

    async fn open_epoch(&self, request: SyncRequest) -> Result<(), BackendError> {
        if self.known.lock().next_marker(request, unix_micros())?.is_none() {
            return Ok(());
        }
        self.bounded(async {
            let mut writer = self.connections.writer.take().await?;
            load::doubtful(&mut writer, &self.known).await?;
            // again: another call may have opened it meanwhile
            let Ok(Some(marker)) = self.known.lock().next_marker(request, unix_micros()) else { return Ok(()) };
            self.known.lock().begin();
            table::open_epoch(&mut writer, marker).await?;
            self.known.lock().open(marker);
            self.channel.publish(wire::epoch(marker.base));
            Ok(())
        })
        .await
    }

    async fn read(&self, request: SyncRequest) -> Result<Snapshot, sqlx::Error> {
        for _ in 0..ATTEMPTS {
            let view = self.known.lock().view(request);
            let rows = match view.rows() {
                Some(limit) => {
                    let mut reader = self.connections.reader.take().await?;
                    table::read(&mut reader, view.after, view.last(), limit).await?
                }
                None => Vec::new(),
            };
            if let Some(snapshot) = view.with(rows) {
                return Ok(snapshot);
            }
        }
        Err(sqlx::Error::Decode("rows of the log are gone: another program has changed the file".into()))
    }

    /// The database has the log up to here, in this epoch.
    async fn record(&self, recorded: Seq, base: Seq) -> Result<(), sqlx::Error> {
        if !self.known.lock().is_news(recorded, base) {
            return Ok(());
        }
        let recorded = self.measure(recorded).await?;
        let mut keeper = self.connections.keeper.take().await?;
        let _only = self.connections.writer.take().await?;
        table::set_recorded(&mut keeper, recorded.seq).await?;
        self.known.lock().set_recorded(recorded);
        Ok(())
    }

    async fn rewind(&self, recorded: Seq) -> Result<(), sqlx::Error> {
        let last = self.known.lock().seq();
        let recorded = self.measure(recorded.min(last)).await?;
        let mut writer = self.connections.writer.take().await?;
        table::set_recorded(&mut writer, recorded.seq).await?;
        self.known.lock().set_recorded(recorded);
        Ok(())
    }

    /// How many bytes of records there are up to this place.
    async fn measure(&self, seq: Seq) -> Result<Recorded, sqlx::Error> {
        let written = self.known.lock().written();
        let mut reader = self.connections.reader.take().await?;
        let bytes = table::total_up_to(&mut reader, seq).await?.unwrap_or(written);
        Ok(Recorded { seq, bytes })
    }
}

impl Backend for File {
    fn append<'a>(
        &'a self,
        fence: Fence,
        bounds: LogBounds,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<AppendOutcome, BackendError>> {
        self.shared.bounded(self.shared.append(fence, bounds, batch)).boxed()
    }

    fn sync(&self, request: SyncRequest) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        async move {
            self.shared.open_epoch(request).await?;
            self.shared.bounded(self.shared.read(request)).await
        }
        .boxed()
    }

    fn lease<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Lease, BackendError>> {
        async move {
            let is_held = self.shared.right.lock().claim(claim);
            if let ClaimStep::Hold { recorded, base } = claim.step
                && is_held
            {
                self.shared.bounded(self.shared.record(recorded, base)).await?;
            }
            let known = self.shared.known.lock();
            let (recorded, base) = (known.recorded().seq, known.recorded_epoch());
            Ok(Lease { is_held, log_id: Arc::clone(&self.shared.log_id), recorded, base })
        }
        .boxed()
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        self.shared.bounded(self.shared.rewind(recorded)).boxed()
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        self.shared.channel.publish(payload);
        async { Ok(()) }.boxed()
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<VersionedCount, BackendError>> {
        let mut census = self.shared.census.lock();
        let (count, changed) = census.report(report);
        if changed {
            self.shared.channel.publish(wire::count(count));
        }
        async move { Ok(count) }.boxed()
    }

    fn events(&self) -> BoxStream<'static, Event> {
        self.shared.channel.events()
    }

    /// Closes the file if this is the last clone.
    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if Arc::strong_count(&self.clones) == 1 {
                self.closing.cancel();
                self.tasks.close();
                self.tasks.wait().await;
                self.shared.connections.close().await;
            }
        }
        .boxed()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.shared.path).finish_non_exhaustive()
    }
}
