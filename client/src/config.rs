//! The configuration of a client.

use hubbub_protocol::{GuestSecret, RoomId, Seq, UserName};

use crate::{Backoff, Upgrade};

/// Who a client is and where it connects.
#[derive(Clone, Debug)]
pub struct Config {
    /// Instances as `host:port`. The client starts with the first and takes the next one after every disconnect.
    pub addresses: Vec<String>,
    /// The person's name.
    pub name: UserName,
    /// The secret that makes the client the same sender on every connection. By default a new one.
    pub session: GuestSecret,
    /// The rooms to be in.
    pub rooms: Vec<RoomId>,
    /// The cursor at which an earlier client stopped. By default none: the client gets no old messages.
    pub resume: Option<Seq>,
    /// Subprotocol, headers and buffer size of each connection.
    pub upgrade: Upgrade,
    /// The waits between attempts to connect.
    pub backoff: Backoff,
    /// Number of messages that are remembered to recognise repeated ones. Default 16,384.
    ///
    /// It should hold the messages of two minutes: that long after it was sent, a message that Redis lost can come again.
    pub remembered_messages: usize,
}

impl Config {
    /// A guest with a new secret, and the defaults.
    pub fn new(addresses: Vec<String>, name: UserName, rooms: Vec<RoomId>) -> Self {
        let (upgrade, backoff) = (Upgrade::default(), Backoff::default());
        Self {
            addresses,
            name,
            session: GuestSecret::random(),
            rooms,
            resume: None,
            upgrade,
            backoff,
            remembered_messages: 16_384,
        }
    }
}
