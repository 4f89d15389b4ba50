//! Requests to read the log again, and how far the subscriber has come with them.

use std::time::Duration;

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// Any task requests a sync; the subscriber runs one at a time.
#[derive(Debug, Default)]
pub(super) struct SyncRequests {
    wanted: Notify,
    progress: watch::Sender<Progress>,
}

/// Syncs are numbered from 1 in the order in which they begin.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    begun: u64,
    /// The last one that applied the log to its end.
    done: u64,
}

impl SyncRequests {
    /// Asks for a sync that begins from now on. Several requests before it begins are one.
    pub(super) fn request(&self) {
        self.wanted.notify_one();
    }

    /// Asks for a sync and waits until one that began after this call has applied the log to its end. False: it did
    /// not within `deadline`. Cancel safe.
    pub(super) async fn complete(&self, deadline: Duration) -> bool {
        let mut progress = self.progress.subscribe();
        let number = progress.borrow().begun + 1;
        self.request();
        timeout(deadline, progress.wait_for(|progress| progress.done >= number)).await.is_ok()
    }

    /// Completes when a sync is requested. Cancel safe.
    pub(super) async fn requested(&self) {
        self.wanted.notified().await;
    }

    /// The subscriber begins the next sync. Returns its number.
    pub(super) fn begin(&self) -> u64 {
        let mut number = 0;
        self.progress.send_modify(|progress| {
            progress.begun += 1;
            number = progress.begun;
        });
        number
    }

    /// The sync with this number has applied the log to its end.
    pub(super) fn finish(&self, number: u64) {
        self.progress.send_modify(|progress| progress.done = number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sync_that_began_before_the_request_does_not_complete_it() {
        let requests = SyncRequests::default();
        let before = requests.begin();
        let mut completed = Box::pin(requests.complete(Duration::from_secs(1)));
        assert!(completed.as_mut().now_or_never().is_none());
        requests.finish(before);
        assert!(completed.as_mut().now_or_never().is_none(), "it may have read the log before the request");
        requests.requested().await;
        requests.finish(requests.begin());
        assert!(completed.await);
        assert!(!requests.complete(Duration::from_secs(1)).await, "no task serves the request");
    }
}
