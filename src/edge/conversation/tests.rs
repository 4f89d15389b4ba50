//! The conversation over a real TCP connection, with test implementations of the ports.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use hubbub_lifecycle::{Rate, Shutdown};
use hubbub_log::{
    Memory, Relay, RelayOptions,
    ring::{Retention, Rights, Ring},
};
use hubbub_protocol::{
    AccessToken, CloseReason, ErrorCode, MAX_FRAME_BYTES, Refusal, RelayState, RoomId, ServerFrame, SessionId, User,
    UserId,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    door::Limits,
    ports::{Denial, Directory, Gate, Identity, Ports, Seats, Sitter, Unavailable},
};

const DEADLINE: Duration = Duration::from_secs(30);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// No limit gets in the way.
fn roomy() -> Door {
    let rate = Rate { per_second: 1000.0, burst: 1000.0 };
    Door::new(Limits { connections_per_address: 1000, publish_rate: rate, publish_rate_of_address: rate })
}

/// Refuses joins in the room `enter`, publishes in `publish` and typing in `type`. Panics at a publish in `broken`.
#[derive(Debug)]
struct StrictGate;

fn refuse_in(name: &str, room: &RoomId) -> Result<(), Refusal> {
    let refusal = || Refusal::new(ErrorCode::NotJoined, format!("no {name}"));
    if room.as_str() == name { Err(refusal()) } else { Ok(()) }
}

impl Gate for StrictGate {
    fn may_enter(&self, _: &Person, room: &RoomId) -> Result<(), Refusal> {
        refuse_in("enter", room)
    }

    fn may_publish(&self, _: &Person, room: &RoomId) -> Result<(), Refusal> {
        assert_ne!(room.as_str(), "broken", "on purpose");
        refuse_in("publish", room)
    }

    fn may_type(&self, _: &Person, room: &RoomId) -> Result<(), Refusal> {
        refuse_in("type", room)
    }
}

/// An instance with these ports.
struct Instance {
    node: Node,
    shutdown: Shutdown,
    listener: TcpListener,
    door: Door,
}

impl Instance {
    async fn start() -> Self {
        Self::with_ports(Ports { gate: Arc::new(StrictGate), ..Ports::default() }).await
    }

    async fn with(directory: Arc<dyn Directory>) -> Self {
        Self::with_ports(Ports { directory, identity: Arc::new(Numbered), ..Ports::default() }).await
    }

    async fn with_ports(ports: Ports) -> Self {
        let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
        let relay = Relay::start(Memory::new(), Arc::clone(&ring), RelayOptions::default(), &shutdown);
        within(relay.state().wait_for(|state| *state == RelayState::Live)).await.unwrap();
        let node = crate::start("test", ring, relay, ports, &shutdown);
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        Self { node, shutdown, listener, door: roomy() }
    }

    /// A client that has sent nothing yet.
    async fn connect(&self) -> Client {
        let address = self.listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let socket = Socket::new(server.unwrap().0, &Bytes::new(), MAX_FRAME_BYTES);
        self.shutdown.spawn(run(socket, self.node.clone(), self.door.clone(), LOCALHOST));
        Client(WebSocketStream::from_raw_socket(client.unwrap(), Role::Client, None).await)
    }

    /// A client that is live in these rooms.
    async fn enter(&self, rooms: &[&str]) -> Client {
        let mut client = self.connect().await;
        client.send(json!({"type": "hello", "name": "Ann", "rooms": rooms})).await;
        client.find(|frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
        client
    }

    async fn connections(&self, count: usize) {
        within(self.node.fanout().count().wait_for(|connections| *connections == count)).await.unwrap();
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Waits for the first frame for which `pick` returns a value. Drops the others.
    async fn find<T>(&mut self, mut pick: impl FnMut(ServerFrame) -> Option<T>) -> T {
        within(async {
            loop {
                let Message::Text(text) = self.0.next().await.unwrap().unwrap() else { continue };
                if let Some(found) = pick(serde_json::from_str(&text).unwrap()) {
                    return found;
                }
            }
        })
        .await
    }

    async fn refusal(&mut self) -> String {
        let refusal = |frame| match frame {
            ServerFrame::Error(refusal) => Some(refusal.detail),
            _ => None,
        };
        self.find(refusal).await
    }

    async fn message(&mut self) -> String {
        let body = |frame| match frame {
            ServerFrame::Message(message) => Some(message.record.body),
            _ => None,
        };
        self.find(body).await
    }

    async fn close_code(&mut self) -> u16 {
        within(async {
            loop {
                if let Message::Close(close) = self.0.next().await.unwrap().unwrap() {
                    return close.unwrap().code.into();
                }
            }
        })
        .await
    }
}

/// A directory that answers the same of everybody.
#[derive(Debug)]
struct Listed {
    answer: Mutex<Result<Option<Seats>, Unavailable>>,
    calls: AtomicUsize,
    asked: AtomicUsize,
}

impl Listed {
    /// It cannot be asked.
    fn away() -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(Err(Unavailable)), calls: AtomicUsize::new(0), asked: AtomicUsize::new(0) })
    }
}

impl Directory for Listed {
    fn seats<'a>(&'a self, sitters: &'a [Sitter]) -> BoxFuture<'a, Result<Vec<Option<Seats>>, Unavailable>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.asked.fetch_add(sitters.len(), Ordering::Relaxed);
        async {
            sleep(Duration::from_millis(20)).await;
            self.answer.lock().clone().map(|answer| vec![answer; sitters.len()])
        }
        .boxed()
    }
}

fn private() -> RoomId {
    RoomId::private(1)
}

/// In one private room, with these rights.
fn seats(may_post: bool) -> Seats {
    Seats { rev: 5, rooms: vec![(private(), Rights { may_post, leads: false })] }
}

/// Knows whoever sends a number as token.
#[derive(Debug)]
struct Numbered;

impl Identity for Numbered {
    fn authenticate<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, Result<Person, Denial>> {
        let user = User { id: UserId::of(token.reveal().parse().unwrap()), name: "Ann".parse().unwrap() };
        async { Ok(Person::account(user, "s1".parse().unwrap())) }.boxed()
    }

    fn has_ended(&self, _: &SessionId) -> bool {
        false
    }
}

impl Instance {
    /// A client with an account that has sent its hello.
    async fn sign_in(&self, number: u128, rooms: &[&str]) -> Client {
        let mut client = self.connect().await;
        client.send(json!({"type": "hello", "token": number.to_string(), "rooms": rooms})).await;
        client
    }
}

#[tokio::test]
async fn an_account_is_in_its_private_rooms_without_a_join_and_may_do_there_what_its_seat_says() {
    let directory = Listed::away();
    *directory.answer.lock() = Ok(Some(seats(true)));
    let instance = Instance::with(directory.clone()).await;
    let mut ann = instance.sign_in(1, &["fine"]).await;
    let kind = |frame: ServerFrame| serde_json::to_value(frame).unwrap()["type"].as_str().map(str::to_owned);
    assert_eq!((ann.find(kind).await, ann.find(kind).await), ("welcome".to_owned(), "live".to_owned()));
    *directory.answer.lock() = Ok(Some(seats(false)));
    let mut bob = instance.sign_in(2, &["fine"]).await;
    bob.find(|frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;

    let publish = |room: &RoomId| json!({"type": "publish", "id": "1", "room": room, "body": "to members"});
    ann.send(publish(&private())).await;
    assert_eq!((ann.message().await, bob.message().await), ("to members".to_owned(), "to members".to_owned()));
    let code = |frame| match frame {
        ServerFrame::Error(refusal) => Some(refusal.code),
        _ => None,
    };
    bob.send(publish(&private())).await;
    assert_eq!(bob.find(code).await, ErrorCode::NotAllowed);
    bob.send(publish(&RoomId::private(2))).await;
    assert_eq!(bob.find(code).await, ErrorCode::NoSuchRoom);
    for (kind, room, expected) in [
        ("join", private(), ErrorCode::NotAllowed),
        ("leave", private(), ErrorCode::NotAllowed),
        ("join", RoomId::private(2), ErrorCode::NoSuchRoom),
        ("leave", RoomId::private(2), ErrorCode::NoSuchRoom),
        ("typing", RoomId::private(2), ErrorCode::NoSuchRoom),
    ] {
        bob.send(json!({"type": kind, "room": room})).await;
        assert_eq!(bob.find(code).await, expected, "{kind} {room}");
    }
    ann.send(publish(&"fine".parse().unwrap())).await;
    assert_eq!(bob.message().await, "to members");
}

#[tokio::test]
async fn an_account_is_closed_with_1013_while_its_rooms_cannot_be_read_and_with_4503_when_its_session_has_ended() {
    let directory = Listed::away();
    let instance = Instance::with(directory.clone()).await;
    assert_eq!(instance.sign_in(1, &[]).await.close_code().await, CloseReason::TryAgainLater.code());
    *directory.answer.lock() = Ok(None);
    assert_eq!(instance.sign_in(1, &[]).await.close_code().await, CloseReason::SessionEnded.code());
    instance.connections(0).await;
}

#[tokio::test]
async fn a_storm_of_hellos_asks_for_the_rooms_of_many_at_a_time() {
    let directory = Listed::away();
    *directory.answer.lock() = Ok(Some(seats(true)));
    let instance = Instance::with(directory.clone()).await;
    let mut clients = Vec::new();
    for number in 0..200 {
        clients.push(instance.sign_in(number, &[]).await);
    }
    for client in &mut clients {
        client.find(|frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
    }
    let (calls, asked) = (directory.calls.load(Ordering::Relaxed), directory.asked.load(Ordering::Relaxed));
    assert!(asked == 200 && calls <= 60, "{asked} in {calls} calls");
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.unwrap()
}

#[tokio::test]
async fn a_panic_in_a_conversation_closes_only_it_with_1011() {
    let instance = Instance::start().await;
    let (mut ann, mut bob) = (instance.enter(&["broken"]).await, instance.enter(&["fine"]).await);
    ann.send(json!({"type": "publish", "id": "1", "room": "broken", "body": "x"})).await;
    assert_eq!(ann.close_code().await, CloseReason::Internal.code());
    instance.connections(1).await;
    bob.send(json!({"type": "publish", "id": "1", "room": "fine", "body": "still here"})).await;
    assert_eq!(bob.message().await, "still here");
}

#[tokio::test]
async fn the_gate_is_asked_at_hello_join_publish_and_typing_and_the_client_gets_its_answer() {
    let instance = Instance::start().await;
    let mut client = instance.connect().await;
    client.send(json!({"type": "hello", "name": "Ann", "rooms": ["fine", "enter"]})).await;
    assert_eq!(client.refusal().await, "no enter");
    client.send(json!({"type": "hello", "name": "Ann", "rooms": ["publish", "type"]})).await;
    client.find(|frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
    client.send(json!({"type": "join", "room": "enter"})).await;
    assert_eq!(client.refusal().await, "no enter");
    client.send(json!({"type": "publish", "id": "1", "room": "publish", "body": "x"})).await;
    assert_eq!(client.refusal().await, "no publish");
    client.send(json!({"type": "typing", "room": "type"})).await;
    assert_eq!(client.refusal().await, "no type");
}

#[tokio::test]
async fn a_publish_right_behind_the_join_of_its_room_is_taken_and_one_behind_the_leave_is_not() {
    let instance = Instance::start().await;
    let mut client = instance.enter(&[]).await;
    for n in 0..50 {
        client.send(json!({"type": "join", "room": "fine"})).await;
        client.send(json!({"type": "publish", "id": format!("a{n}"), "room": "fine", "body": "in"})).await;
        client.send(json!({"type": "leave", "room": "fine"})).await;
        client.send(json!({"type": "publish", "id": format!("b{n}"), "room": "fine", "body": "out"})).await;
        let acked = |frame| match frame {
            ServerFrame::Ack(ack) => Some(ack.id.to_string()),
            ServerFrame::Error(refusal) => Some(refusal.detail),
            _ => None,
        };
        // the ack of the first may come after the refusal of the second
        let mut answers = [client.find(acked).await, client.find(acked).await];
        answers.sort();
        assert_eq!(answers, [format!("a{n}"), "join the room fine first".to_owned()]);
    }
}

#[tokio::test]
async fn the_task_of_an_idle_connection_is_small() {
    let instance = Instance::start().await;
    let address = instance.listener.local_addr().unwrap();
    let (_client, server) = tokio::join!(TcpStream::connect(address), instance.listener.accept());
    let socket = Socket::new(server.unwrap().0, &Bytes::new(), MAX_FRAME_BYTES);
    let bytes = size_of_val(&run(socket, instance.node.clone(), instance.door.clone(), LOCALHOST));
    assert!(bytes <= 2048, "{bytes} bytes: box the state of rare steps");
}
