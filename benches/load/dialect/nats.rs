//! The text protocol of NATS. WebSocket carries its bytes; where a frame ends means nothing.

use std::str;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use tokio_tungstenite::tungstenite::Message;

use super::super::room;
use super::{Entry, Peer, Received, Stamp, socket::Socket};

const CONNECT: &str = r#"CONNECT {"verbose":false,"pedantic":false,"lang":"rust","version":"0","protocol":1}"#;
const PONG: &str = "PONG\r\n";

/// A client of NATS.
#[derive(Debug)]
pub(crate) struct Nats {
    socket: Socket,
    /// What came and is not a whole operation yet.
    input: BytesMut,
}

/// An operation of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A message, if it has a stamp.
    Message(Option<Stamp>),
    /// To be answered.
    Ping,
    /// The answer; all that was sent before is done.
    Pong,
    /// Anything else that is no error.
    Other,
}

/// Takes the first operation off the input, if it is there as a whole.
///
/// # Errors
///
/// It is an error of the server's, or not of this protocol.
pub(crate) fn operation(input: &mut BytesMut) -> Result<Option<Operation>> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = str::from_utf8(input.get(..end).unwrap_or_default())?.trim_end();
    let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let (operation, payload) = match name {
        "MSG" => {
            let size: usize = arguments.rsplit(' ').next().context("a MSG without a size")?.parse()?;
            let Some(payload) = input.get(end + 1..end + 1 + size + 2) else { return Ok(None) };
            let stamp = payload.get(..Stamp::BYTES).and_then(|stamp| Stamp::read(str::from_utf8(stamp).ok()?));
            (Operation::Message(stamp), payload.len())
        }
        "PING" => (Operation::Ping, 0),
        "PONG" => (Operation::Pong, 0),
        "INFO" | "+OK" => (Operation::Other, 0),
        _ => bail!("{line}"),
    };
    input.advance(end + 1 + payload);
    Ok(Some(operation))
}

/// The operations that enter a room, and one whose answer shows that this is done.
pub(crate) fn join(room: u32) -> String {
    format!("{CONNECT}\r\nSUB {} 1\r\nPING\r\n", room::name(room))
}

/// The operation that publishes a message.
pub(crate) fn publish(room: u32, stamp: Stamp, bytes: usize) -> String {
    let body = stamp.body(bytes);
    format!("PUB {} {}\r\n{body}\r\n", room::name(room), body.len())
}

impl Nats {
    async fn operation(&mut self) -> Result<Operation> {
        loop {
            if let Some(operation) = operation(&mut self.input)? {
                if operation == Operation::Ping {
                    self.socket.owe(Message::binary(PONG));
                }
                return Ok(operation);
            }
            let bytes = self.socket.next().await?.into_data();
            self.input.extend_from_slice(&bytes);
        }
    }
}

impl Peer for Nats {
    async fn open(entry: &Entry) -> Result<Self> {
        let mut client = Self { socket: Socket::open(entry, "/").await?, input: BytesMut::new() };
        client.socket.send(Message::binary(join(entry.room))).await?;
        while client.operation().await? != Operation::Pong {}
        Ok(client)
    }

    async fn next(&mut self) -> Result<Received> {
        let Operation::Message(Some(stamp)) = self.operation().await? else { return Ok(Received::Other) };
        Ok(Received::Message(stamp))
    }

    async fn publish(&mut self, room: u32, stamp: Stamp, bytes: usize) -> Result<Received> {
        self.socket.send(Message::binary(publish(room, stamp, bytes))).await?;
        Ok(Received::Accepted)
    }

    fn cursor(&self) -> Option<u64> {
        None
    }
}
