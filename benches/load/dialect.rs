//! The protocol of each peer. Another server is another file here and another [`Peer`].

pub(crate) mod hubbub;
pub(crate) mod nats;
pub(crate) mod plain;
pub(crate) mod raw;
pub(crate) mod socket;
pub(crate) mod socket_io;

use anyhow::Result;

use super::schedule::Stamp;

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where to.
    pub(crate) address: String,
    /// The room, a number.
    pub(crate) room: u32,
    /// Where it stopped, if it was here before.
    pub(crate) cursor: Option<u64>,
    /// Size of the kernel's receive buffer, if it is not to be the default.
    pub(crate) receive_buffer_bytes: Option<u32>,
}

/// What a client received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message as it was published.
    Message(Stamp),
    /// A message that it had missed.
    Replayed(Stamp),
    /// A message of its own was taken.
    Accepted,
    /// A message of its own was not.
    Refused,
    /// Its cursor could not be taken up.
    Reset,
    /// Anything else.
    Other,
}

/// One connection to a server, in the server's own dialect.
pub(crate) trait Peer: Sized + Send + 'static {
    /// Connects and enters the room; messages may come from here on.
    fn open(entry: &Entry) -> impl Future<Output = Result<Self>> + Send;

    /// What comes next. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Result<Received>> + Send;

    /// Sends a message of so many bytes to a room. Returns [`Received::Accepted`] where no answer will come.
    fn publish(&mut self, room: u32, stamp: Stamp, bytes: usize) -> impl Future<Output = Result<Received>> + Send;

    /// Its cursor, for the next connection.
    fn cursor(&self) -> Option<u64>;
}
