//! The shutdown of a process: one token signals the tasks to stop, and one tracker waits until they have ended.
//!
//! An HTTP server no longer counts a connection once it is upgraded, so its own graceful shutdown returns while
//! WebSockets are still open. The tracker counts them.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts tasks, signals them to stop and waits for them. Clones are handles to the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Spawns a task that the process cannot work without. [`finish`](Self::finish) waits for it; if it panics,
    /// [`failed`](Self::failed) completes.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let failed = self.failed.clone();
        self.spawn_isolated(async move {
            // After a panic the process stops, so state that the task left inconsistent is not used for long.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                failed.cancel();
            }
        });
    }

    /// Like [`spawn`](Self::spawn), but the task is dropped at its next await once shutdown begins. For loops that
    /// have nothing to finish.
    pub fn spawn_until_shutdown<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let token = self.token.clone();
        self.spawn(async move { token.run_until_cancelled(task).await });
    }

    /// Spawns a task whose panic has no effect on the rest of the process, such as one connection.
    /// [`finish`](Self::finish) waits for it.
    pub fn spawn_isolated<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        drop(self.tasks.spawn(task));
    }

    /// Completes when shutdown has begun. Cancel safe.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }

    /// Completes when a task of [`spawn`](Self::spawn) or [`spawn_until_shutdown`](Self::spawn_until_shutdown) has
    /// panicked. Cancel safe.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Begins shutdown: signals every task to stop, and does not wait.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Begins shutdown and waits at most `deadline` for every spawned task.
    ///
    /// # Errors
    ///
    /// The number of tasks still running at the deadline.
    pub async fn finish(&self, deadline: Duration) -> Result<(), usize> {
        self.start();
        self.tasks.close();
        timeout(deadline, self.tasks.wait()).await.map_err(|_| self.tasks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finish_counts_the_tasks_that_ignore_it() {
        let shutdown = Shutdown::default();
        shutdown.spawn(std::future::pending::<()>());
        shutdown.spawn_until_shutdown(std::future::pending::<()>());
        let polite = shutdown.clone();
        shutdown.spawn(async move { polite.started().await });

        assert_eq!(shutdown.finish(Duration::from_secs(5)).await, Err(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_unless_the_task_is_isolated() {
        let shutdown = Shutdown::default();
        shutdown.spawn(async {});
        shutdown.spawn_isolated(async { panic!("on purpose") });
        assert!(timeout(Duration::from_secs(5), shutdown.failed()).await.is_err());
        shutdown.spawn_until_shutdown(async { panic!("on purpose") });
        assert!(timeout(Duration::from_secs(5), shutdown.failed()).await.is_ok());
        assert_eq!(shutdown.finish(Duration::from_secs(5)).await, Ok(()));
    }
}
