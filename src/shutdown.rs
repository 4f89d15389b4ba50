//! One way to stop: a token that says "stop" and a tracker that says "all stopped".
//!
//! An HTTP server forgets a connection once it is upgraded, so its own graceful shutdown returns while sessions still
//! run. The tracker is what the process waits for.

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handle given to every long-lived task. Cloning shares the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Spawns a task that [`finish`](Self::finish) waits for.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        drop(self.tasks.spawn(task));
    }

    /// Spawns a task that is dropped when shutdown begins. For loops that own nothing worth finishing.
    pub fn spawn_until_started<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let token = self.token.clone();
        drop(self.tasks.spawn(async move { token.run_until_cancelled(task).await }));
    }

    /// Completes when shutdown has begun. Cancel safe.
    pub async fn started(&self) {
        self.token.cancelled().await;
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
}
