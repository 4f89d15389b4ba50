//! One way to stop: a token that says "stop" and a tracker that says "all stopped".
//!
//! An HTTP server forgets a connection once it is upgraded, so its own graceful shutdown returns while sessions still
//! run. The tracker is what the process waits for.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handle given to every long-lived task. Cloning shares the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Spawns a task that [`finish`](Self::finish) waits for, and without which the process is of no use:
    /// [`failed`](Self::failed) tells if it panics.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let failed = self.failed.clone();
        self.spawn_expendable(async move {
            // what it has left half done serves only those who are about to be sent elsewhere
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                failed.cancel();
            }
        });
    }

    /// As [`spawn`](Self::spawn), but the task is dropped when shutdown begins. For loops that own nothing worth
    /// finishing.
    pub fn spawn_until_started<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let token = self.token.clone();
        self.spawn(async move { token.run_until_cancelled(task).await });
    }

    /// Spawns a task that [`finish`](Self::finish) waits for, and whose panic concerns nobody else: one connection.
    pub fn spawn_expendable<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        drop(self.tasks.spawn(task));
    }

    /// Completes when shutdown has begun. Cancel safe.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }

    /// Completes when a task that is needed has panicked. Cancel safe.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Begins shutdown: every task is told to stop.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Begins shutdown and waits up to `deadline` for every spawned task.
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
        shutdown.spawn_until_started(std::future::pending::<()>());
        let polite = shutdown.clone();
        shutdown.spawn(async move { polite.started().await });

        assert_eq!(shutdown.finish(Duration::from_secs(5)).await, Err(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_told_unless_the_task_was_expendable() {
        let shutdown = Shutdown::default();
        shutdown.spawn(async {});
        shutdown.spawn_expendable(async { panic!("on purpose") });
        assert!(timeout(Duration::from_secs(5), shutdown.failed()).await.is_err());
        shutdown.spawn_until_started(async { panic!("on purpose") });
        assert!(timeout(Duration::from_secs(5), shutdown.failed()).await.is_ok());
        assert_eq!(shutdown.finish(Duration::from_secs(5)).await, Ok(()));
    }
}
