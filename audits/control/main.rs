//! The control of the delivery audit: the server's protocol over the usual relay, Redis PUBLISH and SUBSCRIBE, and
//! nothing else. There is no log: the seq of a message is the clock of the instance that receives or acks it, and nothing can be resumed.
//! It works while nothing fails; an audit that finds no loss here under faults could not find any.
//!
//! It takes the flags of the server, and heeds those for addresses, Redis, prefix, instance and log filter.

mod relay;

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use hubbub_audits::flags::Flags;
use hubbub_edge::socket::{Ending, Inbound, Socket};
use hubbub_http::{
    listener::{self, Bounds},
    upgrade::Upgrade,
};
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

use relay::{Relay, Relayed, Subscription, micros};

/// Connections that may use HTTP or wait for that.
const CONNECTIONS: usize = 1024;
/// How long the last connections may take to end.
const END_LIMIT: Duration = Duration::from_secs(3);

/// This instance. Cloning shares it.
#[derive(Clone)]
struct App {
    instance: Arc<str>,
    relay: Relay,
    shutdown: Shutdown,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse(std::env::args().skip(1))?;
    tracing_subscriber::fmt().with_env_filter(&flags.log).with_writer(std::io::stderr).json().init();
    let mut terminated = signal(SignalKind::terminate())?;
    let shutdown = Shutdown::default();
    let relay = Relay::start(&flags.redis_url, &flags.prefix, &shutdown)?;
    let app = App { instance: flags.instance.into(), relay, shutdown: shutdown.clone() };
    let routes = Router::new()
        .route("/ws", get(accept))
        .route("/health/live", get(|| async { "alive" }))
        .route("/health/ready", get(ready))
        .with_state(app);
    let public = listener::bind(flags.listen)?;
    let address = public.local_addr()?;
    shutdown.spawn(listener::serve(public, Bounds::of(CONNECTIONS), routes.clone(), shutdown.clone()));
    let mut admin_address = None;
    if let Some(address) = flags.admin_listen {
        let admin = listener::bind(address)?;
        admin_address = Some(tracing::field::display(admin.local_addr()?));
        shutdown.spawn(listener::serve(admin, Bounds::of(CONNECTIONS), routes, shutdown.clone()));
    }
    info!(listen.address = %address, admin.address = admin_address, "listening");
    tokio::select! {
        _ = terminated.recv() => (),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    shutdown.finish(END_LIMIT).await.map_err(|tasks| anyhow::anyhow!("{tasks} tasks did not end"))
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
    let hello = timeout(HELLO_TIMEOUT, receive_hello(socket)).await;
    let Hello { name, session, rooms, resume } = hello.map_err(|_| Ending::Ours(CloseReason::HelloTimeout))??;
    let (given, session) = (session.is_none(), session.unwrap_or_else(GuestSecret::random));
    let user = User { id: session.user_id(), name };
    let Subscription { messages, seq, number, count } = app.relay.subscribe_local();
    send(
        socket,
        &ServerFrame::Welcome(Box::new(Welcome {
            version: VERSION,
            connection: ConnectionId::new(number),
            instance: app.instance.to_string(),
            user: user.clone(),
            account: false,
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
        send(socket, &ServerFrame::Reset { seq, reason: ResetReason::UnknownCursor });
    }
    send(socket, &ServerFrame::Live { seq });
    Conversation { app, socket, user, rooms: rooms.into_iter().collect(), cursor: seq }.serve(messages).await
}

async fn receive_hello(socket: &mut Socket) -> Result<Hello, Ending> {
    loop {
        let refusal = match decode(socket.next().await?)? {
            Some(Ok(ClientFrame::Hello(hello))) => return Ok(hello),
            Some(Ok(_)) => Refusal::new(ErrorCode::HelloRequired, "send hello first"),
            Some(Err(refusal)) => refusal,
            None => continue,
        };
        send(socket, &ServerFrame::Error(refusal));
    }
}

/// The frame in what a socket received; none if it was a control frame of WebSocket.
fn decode(inbound: Inbound) -> Result<Option<Result<ClientFrame, Refusal>>, Ending> {
    match inbound {
        Inbound::Text(text) => Ok(Some(ClientFrame::decode(&text))),
        Inbound::Binary(_) => Err(Ending::Ours(CloseReason::BinaryFrame)),
        Inbound::Control => Ok(None),
    }
}

fn send(socket: &Socket, frame: &ServerFrame) {
    socket.reply(&Frame::json(frame));
}

/// A client that has sent `hello`.
struct Conversation<'a> {
    app: &'a App,
    socket: &'a mut Socket,
    user: User,
    rooms: HashSet<RoomId>,
    /// Everything up to here has been sent.
    cursor: Seq,
}

impl Conversation<'_> {
    async fn serve(mut self, mut messages: broadcast::Receiver<Arc<Relayed>>) -> Result<Infallible, Ending> {
        let mut beats = interval(HEARTBEAT_INTERVAL);
        loop {
            tokio::select! {
                () = self.app.shutdown.started() => {
                    send(self.socket, &ServerFrame::Drain { reconnect_after_ms: 0 });
                    return Err(Ending::Ours(CloseReason::Drain));
                }
                relayed = messages.recv() => {
                    let Ok(relayed) = relayed else { return Err(Ending::Ours(CloseReason::SlowConsumer)) };
                    self.cursor = relayed.seq;
                    if self.rooms.contains(&relayed.room) {
                        self.socket.send(&relayed.frame).await?;
                    }
                }
                inbound = self.socket.next() => {
                    let answer = match decode(inbound?)? {
                        Some(Ok(frame)) => self.on_frame(frame).await,
                        Some(Err(refusal)) => Some(ServerFrame::Error(refusal)),
                        None => None,
                    };
                    if let Some(frame) = answer {
                        send(self.socket, &frame);
                    }
                }
                _ = beats.tick() => send(self.socket, &ServerFrame::Heartbeat { seq: self.cursor }),
            }
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame) -> Option<ServerFrame> {
        let seq = self.cursor;
        match frame {
            ClientFrame::Hello(_) | ClientFrame::AccountHello(_) => {
                Some(ServerFrame::Error(Refusal::new(ErrorCode::HelloRepeated, "hello was sent before")))
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

    /// Acked as soon as Redis took it. Whether anybody receives it is not known.
    async fn publish(&self, Publish { id, room, body }: Publish) -> Result<Ack, Refusal> {
        if !self.rooms.contains(&room) {
            return Err(Refusal::new(ErrorCode::NotJoined, format!("join the room {room} first")));
        }
        let accepted_at = micros() / 1000;
        let record = Record { room, id: id.clone(), from: self.user.clone(), body, at: accepted_at };
        let published = self.app.relay.publish(&record).await;
        published.map_err(|error| Refusal::new(ErrorCode::Overloaded, error.to_string()).retry_after_ms(200))?;
        // A seq of its own: which one the receivers give it is not known here.
        let seq = micros();
        let instance = self.app.instance.to_string();
        Ok(Ack { id, seq, duplicate: false, instance, accepted_at, logged_at: micros() / 1000 })
    }
}
