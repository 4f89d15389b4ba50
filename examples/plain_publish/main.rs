//! The control of the delivery audit: the server's protocol over the usual relay, Redis PUBLISH and SUBSCRIBE, and
//! nothing else. There is no log, so a place is the clock of whoever hears or acks, and nothing can be resumed. It works
//! while nothing fails; an audit that finds no loss here when something does could not find any.
//!
//! It takes the server's flags, and heeds those of addresses, Redis, prefix, instance and log filter.

#[path = "../../src/cli/config.rs"]
#[expect(dead_code, reason = "it heeds some of the flags only")]
mod config;
mod relay;

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
use hubbub_edge::socket::{Ending, Inbound, Socket};
use hubbub_http::{listener, upgrade::Upgrade};
use hubbub_lifecycle::Shutdown;
use hubbub_protocol::{
    Ack, ClientFrame, CloseReason, ConnectionId, DEDUPE_WINDOW, ErrorCode, Frame, GuestSecret, HEARTBEAT_INTERVAL,
    HELLO_TIMEOUT, Hello, Limits, MAX_FRAME_BYTES, Publish, Record, Refusal, RelayState, ResetReason, RoomId, Seq,
    ServerFrame, User, VERSION, Welcome,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::broadcast,
    time::{interval, timeout},
};
use tracing::info;

use config::{AdminListen, Config};
use relay::{Listener, Relay, Said};

/// Connections that may speak HTTP or wait for that.
const CONNECTIONS: usize = 1024;
/// How long the last connections may take to end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The server's flags.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

/// This instance. Cloning shares it.
#[derive(Clone)]
struct App {
    instance: Arc<str>,
    relay: Relay,
    shutdown: Shutdown,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { config } = Cli::parse();
    tracing_subscriber::fmt().with_env_filter(&config.log).with_writer(std::io::stderr).json().init();
    let url = config.redis_url()?.context("a relay needs --redis-url")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let shutdown = Shutdown::default();
    let relay = Relay::start(url.reveal(), &config.prefix, &shutdown)?;
    let app = App { instance: config.instance_name().into(), relay, shutdown: shutdown.clone() };
    let routes = Router::new()
        .route("/ws", get(accept))
        .route("/health/live", get(|| async { "alive" }))
        .route("/health/ready", get(ready))
        .with_state(app);
    let public = listener::bind(config.listen)?;
    let address = public.local_addr()?;
    shutdown.spawn(listener::serve(public, CONNECTIONS, routes.clone(), shutdown.clone()));
    let mut admin_address = None;
    if let Some(AdminListen::At(address)) = config.admin_listen {
        let admin = listener::bind(address)?;
        admin_address = Some(tracing::field::display(admin.local_addr()?));
        shutdown.spawn(listener::serve(admin, CONNECTIONS, routes, shutdown.clone()));
    }
    info!(listen.address = %address, admin.address = admin_address, "listening");
    tokio::select! {
        _ = terminated.recv() => (),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    shutdown.finish(LAST_WORDS).await.map_err(|tasks| anyhow::anyhow!("{tasks} tasks did not end"))
}

/// Since 1970.
fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

async fn ready(State(app): State<App>) -> StatusCode {
    if app.relay.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn accept(State(app): State<App>, upgrade: Upgrade) -> Response {
    if !app.relay.is_ready() {
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
    let (given, session) = (session.is_none(), session.unwrap_or_else(GuestSecret::random));
    let user = User { id: session.user_id(), name };
    let Listener { said, seq, number, count } = app.relay.listen();
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
            heartbeat_ms: millis(HEARTBEAT_INTERVAL),
            dedupe_ms: millis(DEDUPE_WINDOW),
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
    socket.reply(&Frame::json(frame));
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
        let accepted_at = millis(now());
        let record = Record { room, id: id.clone(), from: self.user.clone(), body, at: accepted_at };
        let published = self.app.relay.publish(&record).await;
        published.map_err(|error| Refusal::new(ErrorCode::Overloaded, error.to_string()).retry_after_ms(200))?;
        // a place of its own: nobody knows which one those who hear it give it
        let seq = now().as_micros().try_into().unwrap_or(Seq::MAX);
        let instance = self.app.instance.to_string();
        Ok(Ack { id, seq, duplicate: false, instance, accepted_at, logged_at: millis(now()) })
    }
}
