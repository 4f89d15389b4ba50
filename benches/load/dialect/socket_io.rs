//! Socket.IO's protocol, version 5, over Engine.IO's, version 4, over WebSocket from the start.
//!
//! The first digit of a text is Engine.IO's: 0 open, 2 ping, 3 pong, 4 message. The second, of a message, is Socket.IO's:
//! 0 connect, 1 disconnect, 2 event, 4 refusal to connect.

use anyhow::{Result, ensure};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::Utf8Bytes};

use super::super::room;
use super::{Entry, Peer, Received, Stamp, socket::Socket};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";
const OPEN: &str = "0{";
const PING: &str = "2";
const PONG: &str = "3";
const JOINED: &str = r#"42["joined""#;
/// Disconnected, refused.
const REFUSALS: [&str; 2] = ["41", "44"];
const MESSAGE: &str = r#"42["message",""#;

/// A client of Socket.IO and socketioxide.
#[derive(Debug)]
pub(crate) struct SocketIo(Socket);

/// The stamp of a message event, found without parsing it.
pub(crate) fn message(packet: &str) -> Option<Stamp> {
    Stamp::read(packet.strip_prefix(MESSAGE)?)
}

/// The packet that connects and names the room.
pub(crate) fn connect(room: u32) -> String {
    format!(r#"40{{"room":"{}"}}"#, room::name(room))
}

/// The event that publishes a message. A body needs no escapes.
pub(crate) fn publish(room: u32, stamp: Stamp, bytes: usize) -> String {
    format!(r#"42["publish","{}","{}"]"#, room::name(room), stamp.body(bytes))
}

impl SocketIo {
    /// What comes next. Cancel safe.
    async fn packet(&mut self) -> Result<Utf8Bytes> {
        let packet = self.0.next().await?.into_text()?;
        ensure!(!REFUSALS.iter().any(|refusal| packet.starts_with(refusal)), "the server sent {packet}");
        if packet.as_str() == PING {
            self.0.owe(Message::text(PONG));
        }
        Ok(packet)
    }
}

impl Peer for SocketIo {
    async fn open(entry: &Entry) -> Result<Self> {
        let mut client = Self(Socket::open(entry, PATH).await?);
        while !client.packet().await?.starts_with(OPEN) {}
        client.0.send(Message::text(connect(entry.room))).await?;
        while !client.packet().await?.starts_with(JOINED) {}
        Ok(client)
    }

    async fn next(&mut self) -> Result<Received> {
        Ok(message(&self.packet().await?).map_or(Received::Other, Received::Message))
    }

    async fn publish(&mut self, room: u32, stamp: Stamp, bytes: usize) -> Result<Received> {
        self.0.send(Message::text(publish(room, stamp, bytes))).await?;
        Ok(Received::Accepted)
    }

    fn cursor(&self) -> Option<u64> {
        None
    }
}
