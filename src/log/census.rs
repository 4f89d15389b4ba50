//! The live connection counter: how many are connected, over all instances.
//!
//! Leases, never increments: each instance reports its own absolute count, and one that stops reporting is swept when
//! its lease ends. So the number is right within 4 s of any crash and cannot drift, whatever is retried or lost.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::Shutdown;
use hubbub_protocol::Count;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Relay;

/// Changes that come closer together than this are reported as one.
const COALESCE: Duration = Duration::from_millis(100);
/// Longest silence between two reports; a lease lasts six of them.
const REPORT_INTERVAL: Duration = COALESCE.saturating_mul(5);

/// Handle of this instance's part in the census. Cloning shares it; when the last one is dropped the reports end.
#[derive(Clone, Debug)]
pub struct Census {
    connections: Arc<watch::Sender<u64>>,
    count: watch::Receiver<Count>,
    leaving: CancellationToken,
    left: CancellationToken,
    _running: Arc<DropGuard>,
}

impl Census {
    /// Starts to report, at first no connections.
    pub fn start(relay: &Relay, shutdown: &Shutdown) -> Self {
        let (connections, current) = watch::channel(0);
        let (told, count) = watch::channel(Count::default());
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
        shutdown.spawn(follow(relay, told, dropped.clone()));
        Self { connections: Arc::new(connections), count, leaving, left, _running: Arc::new(dropped.drop_guard()) }
    }

    /// This instance has so many connections now. Cheap: reports are coalesced to one each 100 ms.
    pub fn set(&self, connections: u64) {
        self.connections.send_if_modified(|known| std::mem::replace(known, connections) != connections);
    }

    /// The connections of all instances. All zero before the first report was taken.
    pub fn count(&self) -> watch::Receiver<Count> {
        self.count.clone()
    }

    /// Takes this instance out of the census at once, and ends the reports. Waits for that at most until `deadline`;
    /// an instance that could not say goodbye is swept with its lease.
    pub async fn leave(&self, deadline: Duration) {
        self.leaving.cancel();
        // too late: the lease will end it
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

    /// The relay bounds the wait. A report that failed is made good by the next one.
    async fn report(&mut self, connections: Option<u64>) {
        self.number += 1;
        self.relay.report(self.number, connections).await;
    }

    /// Until there is something to report, but no longer than an interval.
    async fn pause(&mut self) {
        let Self { relay, connections, leaving, dropped, .. } = self;
        let due = async {
            sleep(COALESCE).await;
            // its end is that of the handles, which `dropped` tells
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

/// Tells the handles what the channel says.
async fn follow(relay: Relay, told: watch::Sender<Count>, dropped: CancellationToken) {
    let mut tally = relay.tally();
    loop {
        tokio::select! {
            () = dropped.cancelled() => return,
            () = relay.closed() => return,
            changed = tally.changed() => if changed.is_err() { return },
        }
        let count = tally.borrow_and_update().count;
        told.send_if_modified(|known| std::mem::replace(known, count) != count);
    }
}
