//! The log inside this process: for a single instance without Redis, and for tests.
//!
//! Relays on clones of one [`Memory`] share its log and channel, as instances share one Redis.

mod store;

use std::{fmt, future::ready, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use hubbub_lifecycle::clock::unix_micros;
use hubbub_protocol::Seq;
use parking_lot::Mutex;

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
#[cfg(test)]
pub(crate) use store::Store;
#[cfg(not(test))]
use store::Store;

/// The log inside this process. Cloning shares it.
#[derive(Clone)]
pub struct Memory {
    server: Arc<Mutex<Server>>,
    channel: Channel,
}

/// What a Redis server would keep.
#[derive(Default)]
struct Server {
    store: Store,
    right: RecordingRight,
    leases: Leases,
}

impl Memory {
    /// An empty log.
    pub fn new() -> Self {
        Self { server: Arc::default(), channel: Channel::new() }
    }

    /// Loses everything, as a server without persistence does when it restarts. For tests.
    pub fn forget(&self) {
        *self.server.lock() = Server::default();
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Memory {
    fn append<'a>(
        &'a self,
        fence: Fence,
        bounds: LogBounds,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<AppendOutcome, BackendError>> {
        let mut server = self.server.lock();
        let (outcome, payloads) = server.store.append(fence, bounds, batch);
        // still under the lock, so that the channel has the order of the log
        for payload in payloads {
            self.channel.publish(payload);
        }
        ready(Ok(outcome)).boxed()
    }

    fn sync(&self, request: SyncRequest) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        let now = unix_micros();
        let mut server = self.server.lock();
        let opened = match server.store.open(request, now) {
            Ok(opened) => opened,
            Err(error) => return ready(Err(error)).boxed(),
        };
        if let Some(base) = opened {
            self.channel.publish(wire::epoch(base));
        }
        ready(Ok(server.store.read(request))).boxed()
    }

    fn lease<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Lease, BackendError>> {
        let mut server = self.server.lock();
        let is_held = server.right.claim(claim);
        if let (true, ClaimStep::Hold { recorded, base }) = (is_held, claim.step) {
            server.store.record(recorded, base);
        }
        let (log_id, (recorded, base)) = (server.store.log_id(), server.store.recorded());
        let unopened = || BackendError("no epoch of the log has opened yet".into());
        ready(log_id.map(|log_id| Lease { is_held, log_id, recorded, base }).ok_or_else(unopened)).boxed()
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        self.server.lock().store.rewind(recorded);
        ready(Ok(())).boxed()
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        self.channel.publish(payload);
        ready(Ok(())).boxed()
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<VersionedCount, BackendError>> {
        let mut server = self.server.lock();
        let (count, changed) = server.leases.report(report);
        if changed {
            self.channel.publish(wire::count(count));
        }
        ready(Ok(count)).boxed()
    }

    fn events(&self) -> BoxStream<'static, Event> {
        self.channel.events()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("store", &self.server.lock().store).finish_non_exhaustive()
    }
}
