//! Guests who have said hello.

use std::{io, net::SocketAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use hubbub_client::{Connection, Upgrade};
use hubbub_protocol::{ClientFrame, GuestSecret, Hello, MAX_BODY_BYTES, Publish, RoomId};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::Tally;

/// Publishes as fast as the socket takes it, in a room of its own.
pub(super) async fn publish(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let me = GuestSecret::random();
    let room: RoomId = format!("flood-{:08x}", rand::random::<u32>()).parse().map_err(io::Error::other)?;
    let mut connection = enter(to, &tally, me, &room).await?;
    let body = "x".repeat(MAX_BODY_BYTES);
    let mut number = 0_u64;
    flood(&mut connection, &tally, move || {
        number += 1;
        let publish = Publish { id: number.to_string().parse().ok()?, room: room.clone(), body: body.clone() };
        Some(Message::text(serde_json::to_string(&ClientFrame::Publish(publish)).ok()?))
    })
    .await
}

/// Sends pings of both kinds in turn.
pub(super) async fn ping(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let mut connection = enter(to, &tally, GuestSecret::random(), &RoomId::lobby()).await?;
    let mut is_frame = false;
    flood(&mut connection, &tally, move || {
        is_frame = !is_frame;
        let frame = Message::text(r#"{"type":"ping","n":1}"#);
        Some(if is_frame { frame } else { Message::Ping(Bytes::from_static(&[0; 125])) })
    })
    .await
}

/// Says hello and goes.
pub(super) async fn come_and_go(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let mut connection = enter(to, &tally, GuestSecret::random(), &RoomId::lobby()).await?;
    connection.next().await.map_err(io::Error::other)?;
    tally.count_sent();
    Ok(())
}

async fn enter(to: SocketAddr, tally: &Tally, me: GuestSecret, room: &RoomId) -> io::Result<Connection> {
    let stream = tally.connect(to).await?;
    let opened = Connection::over(stream, &to.to_string(), &Upgrade::default()).await;
    let mut connection = opened.map_err(io::Error::other)?;
    let name = "Guest".parse().map_err(io::Error::other)?;
    let hello = Hello { name, session: Some(me), rooms: vec![room.clone()], resume: None };
    connection.send(&ClientFrame::Hello(hello)).await.map_err(io::Error::other)?;
    Ok(connection)
}

/// Sends as fast as the socket takes it, and reads what comes, until the connection ends.
async fn flood(
    connection: &mut Connection,
    tally: &Tally,
    mut next: impl FnMut() -> Option<Message>,
) -> io::Result<()> {
    let (mut sink, mut stream) = connection.websocket().split();
    let write = async {
        while let Some(message) = next() {
            sink.send(message).await.map_err(io::Error::other)?;
            tally.count_sent();
        }
        Ok(())
    };
    let read = async {
        while let Some(message) = stream.next().await {
            message.map_err(io::Error::other)?;
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    };
    tokio::select! {
        outcome = write => outcome,
        outcome = read => outcome,
    }
}
