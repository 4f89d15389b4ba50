//! The channel of a log inside this process.

use std::future::ready;

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::backend::Event;

/// Payloads that a relay may lag behind. One that lags further must read the log.
const CAPACITY: usize = 4096;

/// Brings every payload to every relay of this process. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Channel(broadcast::Sender<Bytes>);

impl Channel {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(crate) fn publish(&self, payload: Bytes) {
        // an error means there is no subscriber
        drop(self.0.send(payload));
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> BoxStream<'static, Event> {
        let pushes = stream::unfold(self.0.subscribe(), async |mut channel| match channel.recv().await {
            Ok(payload) => Some((Event::Payload(payload), channel)),
            Err(RecvError::Lagged(_)) => Some((Event::Lagged, channel)),
            Err(RecvError::Closed) => None,
        });
        stream::once(ready(Event::Subscribed)).chain(pushes).boxed()
    }
}
