//! The control of the delivery audit: the server's protocol over the usual relay, Redis PUBLISH and SUBSCRIBE, and
//! nothing else. There is no log, so a place is the clock of whoever hears or acks, and nothing can be resumed. It works
//! while nothing fails; an audit that finds no loss here when something does could not find any.
//!
//! It takes the server's flags, and heeds those of addresses, Redis, prefix, instance and log filter.

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Parser;
use fred::{
    clients::{Client, SubscriberClient},
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{
        Builder, RespVersion, Value,
        config::{Config, ReconnectPolicy, UnresponsiveConfig},
    },
};
use hubbub::{
    config::{AdminListen, Cli},
    protocol::{
        Ack, ClientFrame, CloseReason, ConnectionId, Count, DEDUPE_WINDOW, ErrorCode, Frame, HEARTBEAT_INTERVAL,
        HELLO_TIMEOUT, Hello, Limits, MAX_FRAME_BYTES, Message, Publish, Record, Refusal, RelayState, ResetReason,
        RoomId, Seq, ServerFrame, Session, UnixMillis, User, VERSION, Welcome,
    },
    server::{listener, upgrade::Upgrade},
    shutdown::Shutdown,
    socket::{Ending, Inbound, Socket},
    telemetry,
};
use parking_lot::Mutex;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::broadcast::{self, error::RecvError},
    time::{interval, timeout},
};
use tracing::{info, warn};

/// Messages that a connection, or this instance, may be behind; above, some are lost.
const BEHIND: usize = 8192;
/// How long the last connections may take to end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// This instance. Cloning shares it.
#[derive(Clone)]
struct App {
    instance: Arc<str>,
    channel: Arc<str>,
    redis: Client,
    heard: Arc<Mutex<Heard>>,
    shutdown: Shutdown,
}

/// What came through the channel. One lock, so that who begins to listen knows from where on.
struct Heard {
    /// Place of the last message; 0 before the first subscription stands.
    seq: Seq,
    said: broadcast::Sender<Arc<Said>>,
    /// Connections so far.
    connections: u64,
}

/// A message, encoded once for everyone.
struct Said {
    seq: Seq,
    room: RoomId,
    frame: Frame,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Cli::parse().serve;
    telemetry::log_json(&config.log)?;
    let url = config.redis_url()?.context("a relay needs --redis-url")?;
    let (redis, subscriber) = connect(url.reveal())?;
    let mut terminated = signal(SignalKind::terminate())?;

    let (said, _) = broadcast::channel(BEHIND);
    let (shutdown, heard) = (Shutdown::default(), Heard { seq: 0, said, connections: 0 });
    let app = App {
        instance: config.instance_name().into(),
        channel: format!("{}:plain", config.prefix).into(),
        redis,
        heard: Arc::new(Mutex::new(heard)),
        shutdown: shutdown.clone(),
    };
    shutdown.spawn_until_started(listen(subscriber, app.clone()));
    let routes = Router::new()
        .route("/ws", get(accept))
        .route("/health/live", get(|| async { "alive" }))
        .route("/health/ready", get(ready))
        .with_state(app);
    let public = listener::bind(config.listen)?;
    let address = public.local_addr()?;
    shutdown.spawn(listener::serve(public, routes.clone(), shutdown.clone()));
    let mut admin_address = None;
    if let Some(AdminListen::At(address)) = config.admin_listen {
        let admin = listener::bind(address)?;
        admin_address = Some(tracing::field::display(admin.local_addr()?));
        shutdown.spawn(listener::serve(admin, routes, shutdown.clone()));
    }
    info!(listen.address = %address, admin.address = admin_address, "listening");
    tokio::select! {
        _ = terminated.recv() => (),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    shutdown.finish(LAST_WORDS).await.map_err(|tasks| anyhow::anyhow!("{tasks} tasks did not end"))
}

/// One connection to speak and one to hear. They come back by themselves, and notice as the server does that they are dead.
fn connect(url: &str) -> anyhow::Result<(Client, SubscriberClient)> {
    let mut server = Config::from_url(url)?;
    server.version = RespVersion::RESP3;
    server.fail_fast = false;
    let mut builder = Builder::from_config(server);
    builder
        .with_connection_config(|connection| {
            // a PUBLISH that the library repeats would be heard twice
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

/// Hears the channel, and subscribes after every reconnect.
async fn listen(subscriber: SubscriberClient, app: App) {
    let (mut messages, mut reconnects) = (subscriber.message_rx(), subscriber.reconnect_rx());
    let (mut ticks, mut stands) = (interval(Duration::from_millis(500)), false);
    loop {
        tokio::select! {
            Ok(_) = reconnects.recv() => stands = subscribe(&subscriber, &app).await,
            _ = ticks.tick() => if !stands && subscriber.is_connected() {
                stands = subscribe(&subscriber, &app).await;
            } else if stands {
                // a connection that only listens would not notice its own death
                drop(subscriber.ping::<Value>(None).await);
            },
            message = messages.recv() => match message {
                Ok(message) => app.heard.lock().take(message.value.as_bytes().unwrap_or_default()),
                Err(RecvError::Lagged(lost)) => warn!(lost, "the channel was too fast"),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// True: the subscription stands.
async fn subscribe(subscriber: &SubscriberClient, app: &App) -> bool {
    let asked = subscriber.subscribe(&*app.channel).await;
    // its answer comes behind that of the subscription
    let stands = asked.is_ok() && subscriber.ping::<Value>(None).await.is_ok();
    if stands {
        app.heard.lock().next_seq();
    }
    stands
}

impl Heard {
    /// The clock in microseconds, and always above the last place.
    fn next_seq(&mut self) -> Seq {
        self.seq = now().as_micros().try_into().unwrap_or(Seq::MAX).max(self.seq + 1);
        self.seq
    }

    fn take(&mut self, record: &[u8]) {
        let record = match serde_json::from_slice::<Record>(record) {
            Ok(record) => record,
            Err(error) => return warn!(%error, "no message of ours"),
        };
        let (seq, room) = (self.next_seq(), record.room.clone());
        let frame = Frame::json(&ServerFrame::Message(Message { seq, record, was: None }));
        // nobody listens: nobody misses it
        drop(self.said.send(Arc::new(Said { seq, room, frame })));
    }

    /// What is said from now on, after which place, and which connection of how many this is.
    fn listen(&mut self) -> (broadcast::Receiver<Arc<Said>>, Seq, u64, Count) {
        let said = self.said.subscribe();
        self.connections += 1;
        let connections = telemetry::count(self.said.receiver_count());
        (said, self.seq, self.connections, Count { connections, instances: 1, settling: false })
    }
}

fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn unix_millis() -> UnixMillis {
    now().as_millis().try_into().unwrap_or(UnixMillis::MAX)
}

async fn ready(State(app): State<App>) -> StatusCode {
    if app.heard.lock().seq == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

async fn accept(State(app): State<App>, upgrade: Upgrade) -> Response {
    if app.heard.lock().seq == 0 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (response, tasks) = (upgrade.response(), app.shutdown.clone());
    tasks.spawn(async move {
        if let Some(mut socket) = upgrade.socket(MAX_FRAME_BYTES).await {
            let Err(ending) = converse(&mut socket, &app).await;
            socket.link().close(ending);
            socket.finish().await;
        }
    });
    response
}

async fn converse(socket: &mut Socket, app: &App) -> Result<Infallible, Ending> {
    let hello = timeout(HELLO_TIMEOUT, hear_hello(socket)).await;
    let Hello { name, session, rooms, resume } = hello.map_err(|_| Ending::Ours(CloseReason::HelloTimeout))??;
    let (given, session) = (session.is_none(), session.unwrap_or_else(Session::random));
    let user = User { id: session.user_id(), name };
    let (said, seq, number, count) = app.heard.lock().listen();
    tell(
        socket,
        &ServerFrame::Welcome(Box::new(Welcome {
            version: VERSION,
            connection: ConnectionId::new(number),
            instance: app.instance.to_string(),
            user: user.clone(),
            session: given.then_some(session),
            seq,
            resumed: false,
            heartbeat_ms: HEARTBEAT_INTERVAL.as_millis().try_into().unwrap_or(u64::MAX),
            dedupe_ms: DEDUPE_WINDOW.as_millis().try_into().unwrap_or(u64::MAX),
            limits: Limits::V1,
            count,
            relay: RelayState::Live,
        })),
    );
    if resume.is_some() {
        tell(socket, &ServerFrame::Reset { seq, reason: ResetReason::UnknownCursor });
    }
    tell(socket, &ServerFrame::Live { seq });
    Seat { app, socket, user, rooms: rooms.into_iter().collect(), cursor: seq }.serve(said).await
}

async fn hear_hello(socket: &mut Socket) -> Result<Hello, Ending> {
    loop {
        let refusal = match hear(socket.next().await?)? {
            Some(Ok(ClientFrame::Hello(hello))) => return Ok(hello),
            Some(Ok(_)) => Refusal::new(ErrorCode::HelloRequired, "say hello first"),
            Some(Err(refusal)) => refusal,
            None => continue,
        };
        tell(socket, &ServerFrame::Error(refusal));
    }
}

/// What an inbound message says, if anything.
fn hear(inbound: Inbound) -> Result<Option<Result<ClientFrame, Refusal>>, Ending> {
    match inbound {
        Inbound::Text(text) => Ok(Some(ClientFrame::decode(&text))),
        Inbound::Binary(_) => Err(Ending::Ours(CloseReason::BinaryFrame)),
        Inbound::Control => Ok(None),
    }
}

fn tell(socket: &Socket, frame: &ServerFrame) {
    socket.say(&Frame::json(frame));
}

/// A client that has said hello.
struct Seat<'a> {
    app: &'a App,
    socket: &'a mut Socket,
    user: User,
    rooms: HashSet<RoomId>,
    /// Everything up to here has been sent.
    cursor: Seq,
}

impl Seat<'_> {
    async fn serve(mut self, mut said: broadcast::Receiver<Arc<Said>>) -> Result<Infallible, Ending> {
        let mut beats = interval(HEARTBEAT_INTERVAL);
        loop {
            tokio::select! {
                () = self.app.shutdown.started() => {
                    tell(self.socket, &ServerFrame::Drain { reconnect_after_ms: 0 });
                    return Err(Ending::Ours(CloseReason::Drain));
                }
                said = said.recv() => {
                    let Ok(said) = said else { return Err(Ending::Ours(CloseReason::SlowConsumer)) };
                    self.cursor = said.seq;
                    if self.rooms.contains(&said.room) {
                        self.socket.send(&said.frame).await?;
                    }
                }
                inbound = self.socket.next() => {
                    let answer = match hear(inbound?)? {
                        Some(Ok(frame)) => self.on_frame(frame).await,
                        Some(Err(refusal)) => Some(ServerFrame::Error(refusal)),
                        None => None,
                    };
                    if let Some(frame) = answer {
                        tell(self.socket, &frame);
                    }
                }
                _ = beats.tick() => tell(self.socket, &ServerFrame::Heartbeat { seq: self.cursor }),
            }
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame) -> Option<ServerFrame> {
        let seq = self.cursor;
        match frame {
            ClientFrame::Hello(_) => {
                Some(ServerFrame::Error(Refusal::new(ErrorCode::HelloRepeated, "hello has been said")))
            }
            ClientFrame::Publish(publish) => {
                let id = publish.id.clone();
                let refused = |refusal: Refusal| ServerFrame::Error(refusal.about(Some(id.as_str())));
                Some(self.publish(publish).await.map_or_else(refused, ServerFrame::Ack))
            }
            ClientFrame::Join { room } => {
                self.rooms.insert(room.clone());
                Some(ServerFrame::Joined { room, seq })
            }
            ClientFrame::Leave { room } => {
                self.rooms.remove(&room);
                Some(ServerFrame::Left { room, seq })
            }
            ClientFrame::Typing { .. } => None,
            ClientFrame::Ping { n } => Some(ServerFrame::Pong { n }),
        }
    }

    /// Acked as soon as Redis took it: that is all there is to know.
    async fn publish(&self, Publish { id, room, body }: Publish) -> Result<Ack, Refusal> {
        if !self.rooms.contains(&room) {
            return Err(Refusal::new(ErrorCode::NotJoined, format!("join the room {room} first")));
        }
        let at = unix_millis();
        let record = Record { room, id: id.clone(), from: self.user.clone(), body, at };
        let record = serde_json::to_vec(&record).unwrap_or_default();
        let published = self.app.redis.publish::<u64, _, _>(&*self.app.channel, record.as_slice()).await;
        published.map_err(|error| Refusal::new(ErrorCode::Overloaded, error.to_string()).retry_after_ms(200))?;
        let seq = now().as_micros().try_into().unwrap_or(Seq::MAX);
        let instance = self.app.instance.to_string();
        Ok(Ack { id, seq, duplicate: false, instance, accepted_at: at, logged_at: unix_millis() })
    }
}
