//! The conversation over a real TCP connection, with test implementations of the ports.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use hubbub_lifecycle::{Rate, Shutdown};
use hubbub_log::{
    Memory, Relay, RelayOptions,
    ring::{Retention, Ring},
};
use hubbub_protocol::{CloseReason, ErrorCode, MAX_FRAME_BYTES, Refusal, RelayState, RoomId, ServerFrame};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    door::Limits,
    ports::{Directory, Gate, Ports, Unavailable},
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

/// Puts every person in the room `assigned`. The rooms of a person called Unlisted cannot be read.
#[derive(Debug)]
struct Assigned;

impl Directory for Assigned {
    fn rooms<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<Vec<RoomId>, Unavailable>> {
        let is_known = person.user.name.as_str() != "Unlisted";
        let rooms = if is_known { Ok(vec!["assigned".parse().unwrap()]) } else { Err(Unavailable) };
        async { rooms }.boxed()
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
        let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
        let relay = Relay::start(Memory::new(), Arc::clone(&ring), RelayOptions::default(), &shutdown);
        within(relay.state().wait_for(|state| *state == RelayState::Live)).await.unwrap();
        let ports = Ports { gate: Arc::new(StrictGate), directory: Arc::new(Assigned), ..Ports::default() };
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
async fn the_rooms_of_the_directory_are_served_without_a_join() {
    let instance = Instance::start().await;
    let (mut ann, mut bob) = (instance.enter(&[]).await, instance.enter(&[]).await);
    ann.send(json!({"type": "publish", "id": "1", "room": "assigned", "body": "to all"})).await;
    assert_eq!((ann.message().await, bob.message().await), ("to all".to_owned(), "to all".to_owned()));
}

#[tokio::test]
async fn a_client_is_closed_with_1013_while_its_directory_cannot_be_read() {
    let instance = Instance::start().await;
    let mut client = instance.connect().await;
    client.send(json!({"type": "hello", "name": "Unlisted"})).await;
    assert_eq!(client.close_code().await, CloseReason::TryAgainLater.code());
    instance.connections(0).await;
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
