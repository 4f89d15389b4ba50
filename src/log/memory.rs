//! The log inside this process: what a single instance runs on, and the twin of Redis for tests.
//!
//! Several relays on clones of one [`Local`] are to each other what instances on one Redis are.

mod census;
mod store;

use std::{fmt, future::ready, sync::Arc};

use bytes::Bytes;
use census::Roll;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hubbub_lifecycle::clock::unix_micros;
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    backend::{Backend, BackendError, Event, Known, Position, Receipt, Report, Snapshot, Submission, Tally},
    wire,
};
#[cfg(test)]
pub(crate) use store::Store;
#[cfg(not(test))]
use store::Store;

/// Payloads that a relay may lag behind before it has to read the log.
const CHANNEL: usize = 4096;

/// The log inside this process. Cloning shares it.
#[derive(Clone)]
pub struct Local(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    channel: broadcast::Sender<Bytes>,
}

struct Inner {
    store: Store,
    roll: Roll,
}

impl Local {
    /// An empty log.
    pub fn new() -> Self {
        let inner = Mutex::new(Inner { store: Store::default(), roll: Roll::default() });
        Self(Arc::new(Shared { inner, channel: broadcast::Sender::new(CHANNEL) }))
    }

    /// Forgets everything, as a server without persistence does when it restarts. For tests of what comes after.
    pub fn forget(&self) {
        let mut inner = self.0.inner.lock();
        inner.store = Store::default();
        inner.roll = Roll::default();
    }

    fn publish(&self, payload: Bytes) {
        // nobody listens: nobody misses it
        drop(self.0.channel.send(payload));
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Local {
    fn append<'a>(
        &'a self,
        known: Known,
        capacity: usize,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<Receipt, BackendError>> {
        let mut inner = self.0.inner.lock();
        let (receipt, payload) = inner.store.append(known, capacity, batch);
        // under the lock: the channel has the order of the log
        if let Some(payload) = payload {
            self.publish(payload);
        }
        ready(Ok(receipt)).boxed()
    }

    fn sync(&self, position: Position) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        let now = unix_micros();
        let mut inner = self.0.inner.lock();
        let opened = match inner.store.open(position, now) {
            Ok(opened) => opened,
            Err(error) => return ready(Err(error)).boxed(),
        };
        if let Some(base) = opened {
            self.publish(wire::epoch(base));
        }
        ready(Ok(inner.store.read(position))).boxed()
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        self.publish(payload);
        ready(Ok(())).boxed()
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<Tally, BackendError>> {
        let mut inner = self.0.inner.lock();
        let (tally, changed) = inner.roll.report(report);
        if changed {
            self.publish(wire::count(tally));
        }
        ready(Ok(tally)).boxed()
    }

    fn events(&self) -> BoxStream<'static, Event> {
        let pushes = stream::unfold(self.0.channel.subscribe(), async |mut channel| match channel.recv().await {
            Ok(payload) => Some((Event::Push(payload), channel)),
            Err(RecvError::Lagged(_)) => Some((Event::Lagged, channel)),
            Err(RecvError::Closed) => None,
        });
        stream::once(ready(Event::Reconnected)).chain(pushes).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.0.inner.lock().store).finish()
    }
}
