//! The subscription: made again after every reconnect, confirmed by a ping, and kept from going deaf.

use std::{future::pending, time::Duration};

use fred::{
    clients::SubscriberClient,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message, Value, config::Server},
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::advice::explain;
use crate::backend::Event;

/// How often the connection is asked for a sign of life. One that only listens would never notice its own death.
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// A subscription that hears nothing for this long is made again.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Subscription {
    client: SubscriberClient,
    channel: String,
    sharded: bool,
    messages: Receiver<Message>,
    reconnects: Receiver<Server>,
    errors: Receiver<(Error, Option<Server>)>,
    stands: bool,
    /// When the channel last had anything to say.
    heard_at: Instant,
    /// A ping in flight. It is never dropped before it has ended.
    pinging: Option<BoxFuture<'static, Result<Value, Error>>>,
    tick: Interval,
}

/// What woke the loop.
enum Wake {
    Message(Result<Message, RecvError>),
    Reconnected,
    Failed(String),
    Pinged,
    Tick,
}

impl Subscription {
    pub(super) fn new(client: SubscriberClient, channel: String, sharded: bool) -> Self {
        let mut tick = interval(PING_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            messages: client.message_rx(),
            reconnects: client.reconnect_rx(),
            errors: client.error_rx(),
            client,
            channel,
            sharded,
            stands: false,
            heard_at: Instant::now(),
            pinging: None,
            tick,
        }
    }

    /// What happens next. Never ends.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let wake = self.wake().await;
            if let Some(event) = self.on(wake).await {
                return event;
            }
        }
    }

    async fn on(&mut self, wake: Wake) -> Option<Event> {
        match wake {
            Wake::Message(Ok(message)) => {
                self.heard_at = Instant::now();
                message.value.into_bytes().map(Event::Push)
            }
            Wake::Message(Err(RecvError::Lagged(_))) => Some(Event::Lagged),
            // quit() has replaced the channels: nothing comes any more
            Wake::Message(Err(RecvError::Closed)) => pending().await,
            Wake::Failed(reason) => {
                self.stands = false;
                Some(Event::Lost(reason))
            }
            Wake::Reconnected => self.subscribe().await,
            Wake::Pinged => {
                self.pinging = None;
                None
            }
            // each instance sends a probe a second, this one too: the server has forgotten the subscription
            Wake::Tick if self.stands && self.heard_at.elapsed() >= SILENCE_LIMIT => self.subscribe().await,
            Wake::Tick if self.stands => {
                self.begin_ping();
                None
            }
            // the reconnect came, but its subscribing failed
            Wake::Tick if self.client.is_connected() => self.subscribe().await,
            Wake::Tick => None,
        }
    }

    async fn wake(&mut self) -> Wake {
        tokio::select! {
            // an error is older than the reconnect that follows it
            biased;
            error = self.errors.recv() => match error {
                Ok((error, _)) => Wake::Failed(explain(&error)),
                Err(RecvError::Lagged(_)) => Wake::Failed("many errors".to_owned()),
                Err(RecvError::Closed) => pending().await,
            },
            server = self.reconnects.recv() => match server {
                Ok(_) | Err(RecvError::Lagged(_)) => Wake::Reconnected,
                Err(RecvError::Closed) => pending().await,
            },
            () = ended(&mut self.pinging) => Wake::Pinged,
            _ = self.tick.tick() => Wake::Tick,
            message = self.messages.recv() => Wake::Message(message),
        }
    }

    /// SUBSCRIBE returns when it is written, not when it is confirmed: the reply to a PING behind it is the confirmation.
    async fn subscribe(&mut self) -> Option<Event> {
        let subscribed = if self.sharded {
            self.client.ssubscribe(self.channel.as_str()).await
        } else {
            self.client.subscribe(self.channel.as_str()).await
        };
        self.heard_at = Instant::now();
        self.stands = subscribed.is_ok() && self.ping().await.is_ok();
        self.stands.then_some(Event::Reconnected)
    }

    /// With the channel as its text, which in a cluster leads it to the node that the subscription is on.
    fn ping(&self) -> BoxFuture<'static, Result<Value, Error>> {
        let (client, channel) = (self.client.clone(), self.channel.clone());
        async move { client.ping(Some(channel)).await }.boxed()
    }

    fn begin_ping(&mut self) {
        if self.pinging.is_none() {
            self.pinging = Some(self.ping());
        }
    }
}

/// Completes when the ping does; that it failed shows as an error of the connection. Cancel safe: the ping stays where
/// it is.
async fn ended(pinging: &mut Option<BoxFuture<'static, Result<Value, Error>>>) {
    match pinging {
        Some(ping) => drop(ping.await),
        None => pending().await,
    }
}
