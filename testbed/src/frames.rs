//! One connection, frame by frame.

use hubbub_client::{Closed, Connection, Upgrade};
use hubbub_protocol::{ErrorCode, Message, Refusal, RoomId, ServerFrame, Welcome};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::wait::within;

/// A connection that has not sent `hello`.
pub async fn open(address: &str) -> Connection {
    within(Connection::open(address, &Upgrade::default())).await.unwrap()
}

/// A connection that is live in these rooms.
pub async fn enter(address: &str, name: &str, rooms: &[&RoomId]) -> (Connection, Welcome) {
    enter_with(address, &json!({"type": "hello", "name": name, "rooms": rooms})).await
}

/// A connection that has sent this `hello` and is live.
pub async fn enter_with(address: &str, hello: &Value) -> (Connection, Welcome) {
    let mut connection = open(address).await;
    send(&mut connection, hello).await;
    let welcome = welcome(&mut connection).await;
    find(&mut connection, |frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
    (connection, welcome)
}

/// The next `welcome`.
pub async fn welcome(connection: &mut Connection) -> Welcome {
    find(connection, |frame| match frame {
        ServerFrame::Welcome(welcome) => Some(*welcome),
        _ => None,
    })
    .await
}

/// Sends any JSON.
pub async fn send(connection: &mut Connection, frame: &Value) {
    connection.send_text(&frame.to_string()).await.unwrap();
}

/// Publishes.
pub async fn publish(connection: &mut Connection, room: &RoomId, id: &str, body: &str) {
    send(connection, &json!({"type": "publish", "id": id, "room": room, "body": body})).await;
}

/// Writes bytes below the WebSocket layer.
pub async fn write_raw(connection: &mut Connection, bytes: &[u8]) {
    connection.websocket().get_mut().write_all(bytes).await.unwrap();
}

/// A masked frame of a client with this first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => frame.push(0x80 | short),
        (_, Ok(medium)) => {
            frame.push(0xfe);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend(u64::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Reads until the wanted frame comes; the others are dropped.
#[track_caller]
pub fn find<T>(connection: &mut Connection, mut pick: impl FnMut(ServerFrame) -> Option<T>) -> impl Future<Output = T> {
    within(async move {
        loop {
            let frame = connection.next().await.unwrap();
            if let Some(found) = pick(frame) {
                return found;
            }
        }
    })
}

/// The next `message`.
#[track_caller]
pub fn message(connection: &mut Connection) -> impl Future<Output = Message> {
    find(connection, |frame| match frame {
        ServerFrame::Message(message) => Some(message),
        _ => None,
    })
}

/// The next `error`.
#[track_caller]
pub fn refusal(connection: &mut Connection) -> impl Future<Output = Refusal> {
    find(connection, |frame| match frame {
        ServerFrame::Error(refusal) => Some(refusal),
        _ => None,
    })
}

/// Reads until the connection ends.
#[track_caller]
pub fn closed(connection: &mut Connection) -> impl Future<Output = Closed> {
    within(async move {
        loop {
            if let Err(closed) = connection.next().await {
                return closed;
            }
        }
    })
}

/// Sends the text and expects this error, on a connection that goes on.
pub async fn assert_refused(connection: &mut Connection, text: &str, code: ErrorCode) -> Refusal {
    connection.send_text(text).await.unwrap();
    let refusal = refusal(connection).await;
    assert_eq!(refusal.code, code, "{text:.100}: {}", refusal.detail);
    assert!(!refusal.detail.is_empty());
    assert_pongs(connection).await;
    refusal
}

/// The connection is served.
pub async fn assert_pongs(connection: &mut Connection) {
    send(connection, &json!({"type": "ping", "n": 4711})).await;
    find(connection, |frame| (frame == ServerFrame::Pong { n: Some(4711) }).then_some(())).await;
}

/// A client that does nothing wrong while others do.
#[derive(Debug)]
pub struct Bystander {
    connection: Connection,
    room: RoomId,
}

impl Bystander {
    /// Live in the lobby.
    pub async fn enter(address: &str) -> Self {
        let room = RoomId::lobby();
        let (connection, _) = enter(address, "Bystander", &[&room]).await;
        Self { connection, room }
    }

    /// The same connection as before still works, and has received no message of another client.
    pub async fn assert_undisturbed(mut self) {
        publish(&mut self.connection, &self.room, "undisturbed", "still here").await;
        let received = message(&mut self.connection).await;
        assert_eq!(received.record.id.as_str(), "undisturbed");
    }
}
