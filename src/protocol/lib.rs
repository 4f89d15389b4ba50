//! Wire protocol v1: what clients and this server say to each other.
//!
//! One module, pure and without I/O, that the server, the Rust client, the load generator and the tests share.
//! `docs/protocol.md` is its prose; a test holds the two together.

mod close;
mod frame;
mod id;
mod inbound;
mod limits;
mod outbound;
#[cfg(test)]
mod typescript;

pub use close::{CloseReason, is_reconnectable};
pub use frame::Frame;
pub use id::{ConnectionId, GuestSecret, InvalidId, MessageId, RoomId, UserId, UserName};
pub use inbound::{ClientFrame, Hello, Publish, Resume, too_many_rooms};
pub use limits::{
    DEDUPE_WINDOW, HEARTBEAT_INTERVAL, HELLO_TIMEOUT, Limits, MAX_BODY_BYTES, MAX_CONNECTIONS_PER_SESSION,
    MAX_FRAME_BYTES, MAX_NAME_CHARS, MAX_ROOMS, MAX_TYPING_AUDIENCE, MAX_UNACKED_PUBLISHES,
};
pub use outbound::{
    Ack, Count, ErrorCode, HistoryPage, Message, Record, Refusal, RelayState, ResetReason, ServerFrame, User, Welcome,
};

/// Version of the protocol, told in `welcome`.
pub const VERSION: u32 = 1;

/// The WebSocket subprotocol: answered when offered, not required.
pub const SUBPROTOCOL: &str = "hubbub.v1";

/// Place of a message in the one log of the whole system.
///
/// Strictly growing, not dense from a client's point of view, always below 2^53 so that a JavaScript number holds it.
/// Zero stands for "nothing yet".
pub type Seq = u64;

/// Milliseconds since 1970.
pub type UnixMillis = u64;
