//! The usual relay: PUBLISH to send, SUBSCRIBE to receive.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fred::{
    clients::{Client, SubscriberClient},
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{
        Builder, RespVersion, Value,
        config::{Config, ReconnectPolicy, UnresponsiveConfig},
    },
};
use hubbub_lifecycle::{Shutdown, metric};
use hubbub_protocol::{Count, Frame, Message, Record, RoomId, Seq, ServerFrame};
use parking_lot::Mutex;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::interval,
};
use tracing::warn;

/// Messages that a connection, or this instance, may be behind; above, some are lost.
const BEHIND: usize = 8192;

/// A message, encoded once for everyone.
pub(crate) struct Relayed {
    pub(crate) seq: Seq,
    pub(crate) room: RoomId,
    pub(crate) frame: Frame,
}

/// What a new connection starts with.
pub(crate) struct Subscription {
    /// The messages from now on.
    pub(crate) messages: broadcast::Receiver<Arc<Relayed>>,
    /// After this place.
    pub(crate) seq: Seq,
    /// Which connection this is.
    pub(crate) number: u64,
    /// The connections of this instance. Those of other instances are not counted.
    pub(crate) count: Count,
}

/// One instance's part. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Relay {
    channel: Arc<str>,
    redis: Client,
    state: Arc<Mutex<Channel>>,
}

/// What came through the channel. One lock, so that a new connection knows the seq that it starts after.
struct Channel {
    /// Place of the last message; 0 before the first subscription stands.
    seq: Seq,
    messages: broadcast::Sender<Arc<Relayed>>,
    /// Connections so far.
    connections: u64,
}

impl Relay {
    /// Begins to connect, and receives until shutdown begins.
    pub(crate) fn start(url: &str, prefix: &str, shutdown: &Shutdown) -> Result<Self, Error> {
        let (redis, subscriber) = connect(url)?;
        let (messages, _) = broadcast::channel(BEHIND);
        let state = Arc::new(Mutex::new(Channel { seq: 0, messages, connections: 0 }));
        let relay = Self { channel: format!("{prefix}:plain").into(), redis, state };
        shutdown.spawn_until_shutdown(relay.clone().receive(subscriber));
        Ok(relay)
    }

    /// Whether a subscription has ever stood.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().seq > 0
    }

    /// Subscribes a connection to the messages from now on.
    pub(crate) fn subscribe_local(&self) -> Subscription {
        let mut state = self.state.lock();
        state.connections += 1;
        let messages = state.messages.subscribe();
        let connections = metric::count(state.messages.receiver_count());
        let count = Count { connections, instances: 1, settling: false };
        Subscription { messages, seq: state.seq, number: state.connections, count }
    }

    /// Ok as soon as Redis took it. Whether anybody receives it is not known.
    pub(crate) async fn publish(&self, record: &Record) -> Result<(), Error> {
        let record = serde_json::to_vec(record).unwrap_or_default();
        let _receivers: u64 = self.redis.publish(&*self.channel, record.as_slice()).await?;
        Ok(())
    }

    /// Receives from the channel, and subscribes after every reconnect.
    async fn receive(self, subscriber: SubscriberClient) {
        let (mut messages, mut reconnects) = (subscriber.message_rx(), subscriber.reconnect_rx());
        let (mut ticks, mut stands) = (interval(Duration::from_millis(500)), false);
        loop {
            tokio::select! {
                Ok(_) = reconnects.recv() => stands = self.subscribe(&subscriber).await,
                _ = ticks.tick() => if !stands && subscriber.is_connected() {
                    stands = self.subscribe(&subscriber).await;
                } else if stands {
                    // A connection that only reads would not notice that it is dead.
                    drop(subscriber.ping::<Value>(None).await);
                },
                message = messages.recv() => match message {
                    Ok(message) => self.state.lock().take(message.value.as_bytes().unwrap_or_default()),
                    Err(RecvError::Lagged(lost)) => warn!(lost, "the channel was too fast"),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// True: the subscription stands.
    async fn subscribe(&self, subscriber: &SubscriberClient) -> bool {
        let asked = subscriber.subscribe(&*self.channel).await;
        // its answer comes behind that of the subscription
        let stands = asked.is_ok() && subscriber.ping::<Value>(None).await.is_ok();
        if stands {
            self.state.lock().next_seq();
        }
        stands
    }
}

/// Microseconds since 1970.
pub(crate) fn micros() -> Seq {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_micros().try_into().unwrap_or(Seq::MAX)
}

impl Channel {
    /// The clock in microseconds, and always above the last place.
    fn next_seq(&mut self) -> Seq {
        self.seq = micros().max(self.seq + 1);
        self.seq
    }

    fn take(&mut self, record: &[u8]) {
        let record = match serde_json::from_slice::<Record>(record) {
            Ok(record) => record,
            Err(error) => return warn!(%error, "no message of ours"),
        };
        let (seq, room) = (self.next_seq(), record.room.clone());
        let frame = Frame::json(&ServerFrame::Message(Message { seq, record, first: None, was: None }));
        // It fails if no client is connected.
        drop(self.messages.send(Arc::new(Relayed { seq, room, frame })));
    }
}

/// One connection to publish and one to subscribe. They reconnect by themselves, and notice as the server does that they are
/// dead.
fn connect(url: &str) -> Result<(Client, SubscriberClient), Error> {
    let mut server = Config::from_url(url)?;
    server.version = RespVersion::RESP3;
    server.fail_fast = false;
    let mut builder = Builder::from_config(server);
    builder
        .with_connection_config(|connection| {
            // A PUBLISH that the library repeats would be delivered twice.
            connection.max_command_attempts = 1;
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(Duration::from_secs(3)), interval: Duration::from_secs(1) };
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = Duration::from_secs(5);
            performance.broadcast_channel_capacity = BEHIND;
        })
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 1000, 2));
    let (redis, subscriber) = (builder.build()?, builder.build_subscriber_client()?);
    drop((redis.connect(), subscriber.connect()));
    Ok((redis, subscriber))
}
