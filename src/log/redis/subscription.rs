//! The subscription to the channel. It is repeated after every reconnect and after a silence, and confirmed by a ping.

use std::{future::pending, sync::Arc, time::Duration};

use fred::{
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message, Value, config::Server},
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{advice::with, connection::Clients};
use crate::backend::Event;

/// How often the connection is pinged. One that only receives would never notice that it is dead.
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// A subscription that receives nothing for this long is repeated.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Subscription {
    current: watch::Receiver<Arc<Clients>>,
    clients: Arc<Clients>,
    channel: String,
    messages: Receiver<Message>,
    reconnects: Receiver<Server>,
    errors: Receiver<(Error, Option<Server>)>,
    confirmed: bool,
    /// When the channel brought the last payload, or the subscription was made.
    received_at: Instant,
    /// A ping under way. It is never dropped before it has ended.
    pinging: Option<BoxFuture<'static, Result<Value, Error>>>,
    tick: Interval,
}

impl Subscription {
    pub(super) fn new(mut current: watch::Receiver<Arc<Clients>>, channel: String) -> Self {
        let clients = Arc::clone(&current.borrow_and_update());
        let mut tick = interval(PING_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            messages: clients.subscriber.message_rx(),
            reconnects: clients.subscriber.reconnect_rx(),
            errors: clients.subscriber.error_rx(),
            current,
            clients,
            channel,
            confirmed: false,
            received_at: Instant::now(),
            pinging: None,
            tick,
        }
    }

    /// The next event. Not cancel safe: an event may be lost.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let event = tokio::select! {
                // an error comes before the reconnect that follows it
                biased;
                Ok(()) = self.current.changed() => self.switch(),
                error = self.errors.recv() => self.failed(error).await,
                server = self.reconnects.recv() => self.reconnected(&server).await,
                () = ended(&mut self.pinging) => {
                    self.pinging = None;
                    None
                }
                _ = self.tick.tick() => self.check().await,
                message = self.messages.recv() => self.received(message).await,
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Goes on with the clients of now. What the former subscription has not delivered comes with the sync after the next
    /// one.
    fn switch(&mut self) -> Option<Event> {
        *self = Self::new(self.current.clone(), std::mem::take(&mut self.channel));
        None
    }

    async fn reconnected(&mut self, server: &Result<Server, RecvError>) -> Option<Event> {
        match server {
            Ok(_) | Err(RecvError::Lagged(_)) => self.subscribe().await,
            Err(RecvError::Closed) => pending().await,
        }
    }

    async fn failed(&mut self, error: Result<(Error, Option<Server>), RecvError>) -> Option<Event> {
        let reason = match error {
            Ok((error, server)) => with(self.clients.advise(&error, server.as_ref()), &error),
            Err(RecvError::Lagged(_)) => "many errors".to_owned(),
            Err(RecvError::Closed) => pending().await,
        };
        self.confirmed = false;
        Some(Event::Disconnected(reason))
    }

    async fn received(&mut self, message: Result<Message, RecvError>) -> Option<Event> {
        match message {
            Ok(message) => {
                self.received_at = Instant::now();
                message.value.into_bytes().map(Event::Payload)
            }
            Err(RecvError::Lagged(_)) => Some(Event::Lagged),
            // quit() has replaced the channels: nothing follows
            Err(RecvError::Closed) => pending().await,
        }
    }

    /// Pings a subscription that receives, and repeats any other.
    async fn check(&mut self) -> Option<Event> {
        if self.confirmed && self.received_at.elapsed() < SILENCE_LIMIT {
            if self.pinging.is_none() {
                self.pinging = Some(self.ping());
            }
            return None;
        }
        // confirmed, but silent: each instance publishes a probe a second, so the server has lost the subscription.
        // Connected, but not confirmed: the last attempt to subscribe failed
        if self.confirmed || self.clients.subscriber.is_connected() { self.subscribe().await } else { None }
    }

    /// fred's SUBSCRIBE returns when it is written. The reply to a PING after it confirms it.
    async fn subscribe(&mut self) -> Option<Event> {
        let Clients { subscriber, clustered, .. } = &*self.clients;
        let subscribed = if *clustered {
            subscriber.ssubscribe(self.channel.as_str()).await
        } else {
            subscriber.subscribe(self.channel.as_str()).await
        };
        self.received_at = Instant::now();
        self.confirmed = subscribed.is_ok() && self.ping().await.is_ok();
        self.confirmed.then_some(Event::Subscribed)
    }

    /// The channel is its text: in a cluster that routes it to the node that has the subscription.
    fn ping(&self) -> BoxFuture<'static, Result<Value, Error>> {
        let (client, channel) = (self.clients.subscriber.clone(), self.channel.clone());
        async move { client.ping(Some(channel)).await }.boxed()
    }
}

/// Completes when the ping does. Its failure comes as an error of the connection. Cancel safe: the ping stays where it
/// is.
async fn ended(pinging: &mut Option<BoxFuture<'static, Result<Value, Error>>>) {
    match pinging {
        Some(ping) => drop(ping.await),
        None => pending().await,
    }
}
