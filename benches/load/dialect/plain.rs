//! The least of a protocol: the path is the room, a text is a message, and the first that comes is `joined`.

use anyhow::{Result, ensure};
use tokio_tungstenite::tungstenite::Message;

use super::super::room;
use super::{Entry, Peer, Received, Stamp, socket::Socket};

/// A client of ws, uWebSockets and axum.
#[derive(Debug)]
pub(crate) struct Plain(Socket);

impl Peer for Plain {
    async fn open(entry: &Entry) -> Result<Self> {
        let mut socket = Socket::open(entry, &format!("/{}", room::name(entry.room))).await?;
        let first = socket.next().await?;
        ensure!(first == Message::text("joined"), "{first} instead of `joined`");
        Ok(Self(socket))
    }

    async fn next(&mut self) -> Result<Received> {
        let text = self.0.next().await?.into_text()?;
        Ok(Stamp::read(&text).map_or(Received::Other, Received::Message))
    }

    async fn publish(&mut self, _: u32, stamp: Stamp, bytes: usize) -> Result<Received> {
        self.0.send(Message::text(stamp.body(bytes))).await?;
        Ok(Received::Accepted)
    }

    fn cursor(&self) -> Option<u64> {
        None
    }
}
