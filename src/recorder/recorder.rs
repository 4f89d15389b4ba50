//! The handle of a recorder, and the supervision of its task.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use hubbub_lifecycle::{Shutdown, metric::RECORDER_RESTARTS};
use hubbub_log::ClaimStep;
use hubbub_messenger::journal::Journal;
use hubbub_protocol::Seq;
use metrics::counter;
use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{Outlet, RecorderOptions, RecordingState, Source, backoff::Backoff, report::Report, task::Task};

/// How long the recorder may go on after the beginning of a shutdown, if nobody has closed it before.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How long giving up the lease may take.
const RELEASE_DEADLINE: Duration = Duration::from_secs(1);

/// Handle of a running recorder. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Recorder {
    report: Report,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Recorder {
    /// Starts to record what the log has and gets, and brings through the outlet what is left in the outbox. It goes on until [`close`](Self::close), or until the shutdown begins.
    pub fn start(
        journal: Arc<dyn Journal>,
        source: Arc<dyn Source>,
        outlet: Option<Arc<dyn Outlet>>,
        options: RecorderOptions,
        shutdown: &Shutdown,
    ) -> Self {
        let recorder =
            Self { report: Report::new(), closing: CancellationToken::new(), closed: CancellationToken::new() };
        let (handle, token) = (recorder.clone(), shutdown.clone());
        shutdown.spawn(async move {
            let start = || {
                let (journal, source, outlet) = (Arc::clone(&journal), Arc::clone(&source), outlet.clone());
                Task::new(journal, source, outlet, options, handle.report.clone(), rand::random())
            };
            let stopped = async {
                select! {
                    () = handle.closing.cancelled() => (),
                    () = token.started() => handle.closing.cancel(),
                }
                sleep(LAST_RECORDS).await;
            };
            select! {
                biased;
                () = handle.supervise(start) => (),
                () = stopped => warn!("the recorder ends before it has recorded everything; the log keeps the rest"),
            }
            // without an answer the lease ends by itself
            drop(timeout(RELEASE_DEADLINE, source.lease(ClaimStep::Release)).await);
            handle.closed.cancel();
        });
        recorder
    }

    /// What the recorder of this instance is doing.
    pub fn state(&self) -> watch::Receiver<RecordingState> {
        self.report.state()
    }

    /// The last `seq` of the log that the database has, as far as this instance knows. It falls when the database goes
    /// back.
    pub fn cursor(&self) -> watch::Receiver<Seq> {
        self.report.cursor()
    }

    /// Records what the log has, gives up the lease, and ends. Waits at most for `deadline`; the log keeps what is not
    /// recorded by then. Call it after the last publish and before the log is closed. Cancel safe.
    pub async fn close(&self, deadline: Duration) {
        self.closing.cancel();
        drop(timeout(deadline, self.closed.cancelled()).await);
    }

    /// Runs one task after another, until one ends without a panic.
    async fn supervise(&self, start: impl Fn() -> Task) {
        let mut backoff = Backoff::default();
        // a task that has panicked is dropped with all that it knew
        while AssertUnwindSafe(start().run(&self.closing)).catch_unwind().await.is_err() {
            counter!(RECORDER_RESTARTS).increment(1);
            self.report.enter(RecordingState::Starting);
            let pause = backoff.next(rand::random());
            error!(?pause, "the recorder has panicked; it starts again after a pause");
            sleep(pause).await;
        }
    }
}
