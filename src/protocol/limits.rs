//! The limits of the protocol.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest inbound WebSocket message, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Largest message body, in bytes of UTF-8.
pub const MAX_BODY_BYTES: usize = 8 * 1024;
/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Rooms that a connection may be in at a time.
pub const MAX_ROOMS: usize = 32;
/// Publishes of a connection that may wait for their ack. At this number the server stops reading its socket until some
/// are acked.
pub const MAX_UNACKED_PUBLISHES: usize = 256;
/// Connections with the same session that an instance accepts at a time.
pub const MAX_CONNECTIONS_PER_SESSION: usize = 100;
/// Connections of a room on an instance above which it does not pass `typing` on to them.
pub const MAX_TYPING_AUDIENCE: usize = 100;
/// Time from the upgrade until `hello` has to be there.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between the `heartbeat` frames of a connection.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
/// Time within which a publish that is sent again under its id is not delivered twice.
pub const DEDUPE_WINDOW: Duration = Duration::from_mins(2);

/// The limits of the server, as `welcome` carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Limits {
    /// Largest frame that a client may send, in bytes. Above it the connection is closed with 1009.
    pub frame_bytes: usize,
    /// Largest body of a message, in bytes of UTF-8.
    pub body_bytes: usize,
    /// Longest name, in characters.
    pub name_chars: usize,
    /// Rooms that a connection may be in at a time.
    pub rooms: usize,
    /// Publishes that may wait for their ack. At this number the server stops reading until some are acked.
    pub unacked_publishes: usize,
}

impl Limits {
    /// The limits of this version of the protocol.
    pub const V1: Self = Self {
        frame_bytes: MAX_FRAME_BYTES,
        body_bytes: MAX_BODY_BYTES,
        name_chars: MAX_NAME_CHARS,
        rooms: MAX_ROOMS,
        unacked_publishes: MAX_UNACKED_PUBLISHES,
    };
}
