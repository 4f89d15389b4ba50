//! The live count of connections on all instances.
//!
//! Each instance reports its own absolute count, which holds for a lease of 3 s. An instance that stops reporting is
//! swept when its lease ends. So the sum is right within 4 s of any crash, and neither retries nor losses make it drift.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::Shutdown;
use hubbub_protocol::Count;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Relay;

/// Changes within this time are reported as one.
const COALESCE: Duration = Duration::from_millis(100);
/// Longest time between two reports; a lease lasts for six of them.
const REPORT_INTERVAL: Duration = COALESCE.saturating_mul(5);

/// This instance's part in the census. Cloning shares it; dropping the last one ends the reports.
#[derive(Clone, Debug)]
pub struct Census {
    connections: Arc<watch::Sender<u64>>,
    count: watch::Receiver<Count>,
    leaving: CancellationToken,
    left: CancellationToken,
    _running: Arc<DropGuard>,
}

impl Census {
    /// Starts to report. The first report is of no connections.
    pub fn start(relay: &Relay, shutdown: &Shutdown) -> Self {
        let (connections, current) = watch::channel(0);
        let (counts, count) = watch::channel(Count::default());
        let (leaving, left, dropped) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let reporter = Reporter {
            relay: relay.clone(),
            connections: current,
            number: 0,
            leaving: leaving.clone(),
            dropped: dropped.clone(),
        };
        let (ended, relay) = (left.clone(), relay.clone());
        shutdown.spawn(async move {
            reporter.run().await;
            ended.cancel();
        });
        shutdown.spawn(follow(relay, counts, dropped.clone()));
        Self { connections: Arc::new(connections), count, leaving, left, _running: Arc::new(dropped.drop_guard()) }
    }

    /// Sets the number of connections of this instance. Cheap: there is at most one report each 100 ms.
    pub fn set(&self, connections: u64) {
        self.connections.send_if_modified(|known| std::mem::replace(known, connections) != connections);
    }

    /// The count of all instances. All zero until the first report has succeeded.
    pub fn count(&self) -> watch::Receiver<Count> {
        self.count.clone()
    }

    /// Removes this instance from the census and ends the reports. Waits at most for `deadline`; if the removal fails, the
    /// instance is swept when its lease ends. Cancel safe.
    pub async fn leave(&self, deadline: Duration) {
        self.leaving.cancel();
        // after the deadline the lease ends it
        drop(timeout(deadline, self.left.cancelled()).await);
    }
}

struct Reporter {
    relay: Relay,
    connections: watch::Receiver<u64>,
    number: u64,
    leaving: CancellationToken,
    dropped: CancellationToken,
}

impl Reporter {
    async fn run(mut self) {
        while !self.is_over() {
            let connections = *self.connections.borrow_and_update();
            self.report(Some(connections)).await;
            self.pause().await;
        }
        if self.leaving.is_cancelled() {
            self.report(None).await;
        }
    }

    fn is_over(&self) -> bool {
        self.leaving.is_cancelled() || self.dropped.is_cancelled()
    }

    /// The relay bounds the wait. After a report that failed the next one corrects the census.
    async fn report(&mut self, connections: Option<u64>) {
        self.number += 1;
        self.relay.report(self.number, connections).await;
    }

    /// Waits until the number of connections has changed, at most for an interval.
    async fn pause(&mut self) {
        let Self { relay, connections, leaving, dropped, .. } = self;
        let due = async {
            sleep(COALESCE).await;
            // an error means that the handles are gone, which cancels `dropped` too
            drop(timeout(REPORT_INTERVAL.saturating_sub(COALESCE), connections.changed()).await);
        };
        tokio::select! {
            biased;
            () = leaving.cancelled() => (),
            () = dropped.cancelled() => (),
            () = relay.closed() => dropped.cancel(),
            () = due => (),
        }
    }
}

/// Passes each newer count on to the handles.
async fn follow(relay: Relay, counts: watch::Sender<Count>, dropped: CancellationToken) {
    let mut latest = relay.count();
    loop {
        tokio::select! {
            () = dropped.cancelled() => return,
            () = relay.closed() => return,
            changed = latest.changed() => if changed.is_err() { return },
        }
        let count = latest.borrow_and_update().count;
        counts.send_if_modified(|known| std::mem::replace(known, count) != count);
    }
}
