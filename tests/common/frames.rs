//! One connection, frame by frame.

use hubbub_client::{Closed, Connection, Upgrade};
use hubbub_protocol::{ErrorCode, Message, Refusal, RoomId, ServerFrame, Welcome};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use hubbub_testbed::within;

/// A connection that has not said hello.
pub(crate) async fn open(address: &str) -> Connection {
    within(Connection::open(address, &Upgrade::default())).await.unwrap()
}

/// A connection that is live in these rooms.
pub(crate) async fn enter(address: &str, name: &str, rooms: &[&RoomId]) -> (Connection, Welcome) {
    greet(address, &json!({"type": "hello", "name": name, "rooms": rooms})).await
}

/// A connection that has said this hello and is live.
pub(crate) async fn greet(address: &str, hello: &Value) -> (Connection, Welcome) {
    let mut connection = open(address).await;
    say(&mut connection, hello).await;
    let welcome = welcome(&mut connection).await;
    find(&mut connection, |frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
    (connection, welcome)
}

pub(crate) async fn welcome(connection: &mut Connection) -> Welcome {
    find(connection, |frame| match frame {
        ServerFrame::Welcome(welcome) => Some(*welcome),
        _ => None,
    })
    .await
}

/// Sends any JSON.
pub(crate) async fn say(connection: &mut Connection, frame: &Value) {
    connection.send_text(&frame.to_string()).await.unwrap();
}

/// Publishes.
pub(crate) async fn publish(connection: &mut Connection, room: &RoomId, id: &str, body: &str) {
    say(connection, &json!({"type": "publish", "id": id, "room": room, "body": body})).await;
}

/// Writes bytes below the WebSocket layer.
pub(crate) async fn write_raw(connection: &mut Connection, bytes: &[u8]) {
    connection.websocket().get_mut().write_all(bytes).await.unwrap();
}

/// A masked frame of a client with this first byte.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
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
pub(crate) fn find<T>(
    connection: &mut Connection,
    mut pick: impl FnMut(ServerFrame) -> Option<T>,
) -> impl Future<Output = T> {
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
pub(crate) fn message(connection: &mut Connection) -> impl Future<Output = Message> {
    find(connection, |frame| match frame {
        ServerFrame::Message(message) => Some(message),
        _ => None,
    })
}

/// The next `error`.
#[track_caller]
pub(crate) fn refusal(connection: &mut Connection) -> impl Future<Output = Refusal> {
    find(connection, |frame| match frame {
        ServerFrame::Error(refusal) => Some(refusal),
        _ => None,
    })
}

/// Reads until the connection ends.
#[track_caller]
pub(crate) fn closed(connection: &mut Connection) -> impl Future<Output = Closed> {
    within(async move {
        loop {
            if let Err(closed) = connection.next().await {
                return closed;
            }
        }
    })
}

/// Says the text and expects this error, on a connection that goes on.
pub(crate) async fn assert_refused(connection: &mut Connection, text: &str, code: ErrorCode) -> Refusal {
    connection.send_text(text).await.unwrap();
    let refusal = refusal(connection).await;
    assert_eq!(refusal.code, code, "{text:.100}: {}", refusal.detail);
    assert!(!refusal.detail.is_empty());
    assert_pongs(connection).await;
    refusal
}

/// The connection is served.
pub(crate) async fn assert_pongs(connection: &mut Connection) {
    say(connection, &json!({"type": "ping", "n": 4711})).await;
    find(connection, |frame| (frame == ServerFrame::Pong { n: Some(4711) }).then_some(())).await;
}

/// A client that minds its own business while others misbehave.
pub(crate) struct Bystander {
    connection: Connection,
    room: RoomId,
}

impl Bystander {
    /// Live in the lobby.
    pub(crate) async fn enter(address: &str) -> Self {
        let room = RoomId::lobby();
        let (connection, _) = enter(address, "Bystander", &[&room]).await;
        Self { connection, room }
    }

    /// The same connection as before still works, and heard nothing from others but the counter.
    pub(crate) async fn assert_undisturbed(mut self) {
        publish(&mut self.connection, &self.room, "undisturbed", "still here").await;
        let heard = message(&mut self.connection).await;
        assert_eq!(heard.record.id.as_str(), "undisturbed");
    }
}
