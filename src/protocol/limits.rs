//! The limits of the protocol, in one place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest inbound WebSocket message, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Largest message body, in bytes of UTF-8.
pub const MAX_BODY_BYTES: usize = 8 * 1024;
/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Rooms that one connection may be in.
pub const MAX_ROOMS: usize = 32;
/// Publishes of one connection that may wait for their ack; then its socket is not read until some are acked.
pub const MAX_UNACKED_PUBLISHES: usize = 256;
/// Connections that one session may hold on one instance.
pub const MAX_CONNECTIONS_PER_SESSION: usize = 100;
/// Connections of a room on this instance above which `typing` is not passed on.
pub const MAX_TYPING_AUDIENCE: usize = 100;
/// How long a client may take to say `hello`.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Each connection hears a `heartbeat` this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
/// How long a publish may be repeated under its id without being delivered twice.
pub const DEDUPE_WINDOW: Duration = Duration::from_mins(2);

/// The limits as `welcome` tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Limits {
    /// Largest inbound frame, in bytes.
    pub frame_bytes: usize,
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Longest name, in characters.
    pub name_chars: usize,
    /// Rooms a connection.
    pub rooms: usize,
    /// Publishes without an ack.
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
