//! The bare server: it sends Hubbub's messages, and reads nothing.

use anyhow::{Result, bail};
use hubbub_client::{Connection, Upgrade};

use super::{Entry, Peer, Received, Stamp, hubbub::message};

/// The request header with the number of the room.
pub(crate) const ROOM_HEADER: &str = "x-room";

/// A client of the bare server.
#[derive(Debug)]
pub(crate) struct Raw {
    connection: Connection,
}

impl Peer for Raw {
    async fn open(entry: &Entry) -> Result<Self> {
        let headers = vec![(ROOM_HEADER.to_owned(), entry.room.to_string())];
        let receive_buffer_bytes = entry.receive_buffer_bytes;
        let upgrade = Upgrade { headers, receive_buffer_bytes, ..Upgrade::default() };
        Ok(Self { connection: Connection::open(&entry.address, &upgrade).await? })
    }

    async fn next(&mut self) -> Result<Received> {
        let text = self.connection.next_text().await?;
        Ok(message(&text).map_or(Received::Other, |(_, stamp)| Received::Message(stamp)))
    }

    async fn publish(&mut self, _: u32, _: Stamp, _: usize) -> Result<Received> {
        bail!("the bare server makes its messages itself")
    }

    fn cursor(&self) -> Option<u64> {
        None
    }
}
