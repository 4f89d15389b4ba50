//! Socket.IO's protocol, version 5, over Engine.IO's, version 4, over WebSocket from the start.
//!
//! The first digit of a text is Engine.IO's: 0 open, 2 ping, 3 pong, 4 message. The second, of a message, is Socket.IO's:
//! 0 connect, 2 event, 3 acknowledgement, the latter two with the number of the event to acknowledge.

use anyhow::{Result, bail};
use tokio_tungstenite::tungstenite::Message;

use super::{Entry, Heard, Peer, Stamp, room_name, socket::Socket};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";
const OPEN: &str = "0{";
const PING: &str = "2";
const PONG: &str = "3";
const CONNECT: &str = "40";
const JOINED: &str = "430[";
const MESSAGE: &str = r#"42["message",""#;

/// A client of Socket.IO and socketioxide.
#[derive(Debug)]
pub(crate) struct SocketIo(Socket);

/// The stamp of a message event, found without parsing it.
pub(crate) fn message(packet: &str) -> Option<Stamp> {
    Stamp::read(packet.strip_prefix(MESSAGE)?)
}

/// The event that enters a room; its acknowledgement is number 0.
pub(crate) fn join(room: u32) -> String {
    format!(r#"420["join","{}"]"#, room_name(room))
}

/// The event that says a message. A body needs no escapes.
pub(crate) fn publish(room: u32, stamp: Stamp, bytes: usize) -> String {
    format!(r#"42["publish","{}","{}"]"#, room_name(room), stamp.body(bytes))
}

impl SocketIo {
    /// Waits for a packet that begins so.
    async fn await_packet(&mut self, prefix: &str) -> Result<()> {
        loop {
            let packet = self.0.next().await?.into_text()?;
            match packet.as_str() {
                expected if expected.starts_with(prefix) => return Ok(()),
                PING => self.0.owe(Message::text(PONG)),
                early if message(early).is_some() => {}
                other => bail!("{other} instead of {prefix}"),
            }
        }
    }
}

impl Peer for SocketIo {
    async fn open(entry: &Entry) -> Result<Self> {
        let mut client = Self(Socket::open(entry, PATH).await?);
        client.await_packet(OPEN).await?;
        client.0.send(Message::text(CONNECT)).await?;
        client.await_packet(CONNECT).await?;
        client.0.send(Message::text(join(entry.room))).await?;
        client.await_packet(JOINED).await?;
        Ok(client)
    }

    async fn next(&mut self) -> Result<Heard> {
        let packet = self.0.next().await?.into_text()?;
        if packet.as_str() == PING {
            self.0.owe(Message::text(PONG));
        }
        Ok(message(&packet).map_or(Heard::Other, Heard::Message))
    }

    async fn publish(&mut self, room: u32, stamp: Stamp, bytes: usize) -> Result<Heard> {
        self.0.send(Message::text(publish(room, stamp, bytes))).await?;
        Ok(Heard::Accepted)
    }

    fn cursor(&self) -> Option<u64> {
        None
    }
}
