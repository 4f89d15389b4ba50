//! Wire protocol v1: the frames, ids, limits and codes of clients and server.
//!
//! Without I/O. The server, the Rust client, the load generator and the tests share it. `docs/protocol.md` describes it,
//! and `tests/docs.rs` checks that description against these types.

mod close;
mod frame;
mod id;
mod inbound;
mod limits;
mod outbound;
mod refusal;
mod text;
mod token;
#[cfg(test)]
mod typescript;

pub use close::{CloseReason, is_reconnectable};
pub use frame::Frame;
pub use id::{ConnectionId, GuestSecret, InvalidId, MessageId, RoomId, RoomKind, SessionId, UserId, UserName};
pub use inbound::{AccountHello, ClientFrame, Hello, Publish, Resume, no_such_room, too_many_rooms};
pub use limits::{
    DEDUPE_WINDOW, HEARTBEAT_INTERVAL, HELLO_TIMEOUT, Limits, MAX_BODY_BYTES, MAX_CONNECTIONS_PER_SESSION,
    MAX_FRAME_BYTES, MAX_NAME_CHARS, MAX_ROOMS, MAX_TYPING_AUDIENCE, MAX_UNACKED_PUBLISHES,
};
pub use outbound::{Ack, Count, HistoryPage, Message, Record, RelayState, ResetReason, ServerFrame, User, Welcome};
pub use refusal::{ErrorCode, Refusal};
pub use token::{AccessToken, InvalidAccessToken};

/// Version of the protocol, sent in `welcome`.
pub const VERSION: u32 = 1;

/// Name of the WebSocket subprotocol. A client may offer it and need not.
pub const SUBPROTOCOL: &str = "hubbub.v1";

/// Number of a message in the one log of all instances.
///
/// It grows strictly from message to message. Numbers are skipped, so a difference of more than 1 is no gap. It stays below
/// 2^53, which a JavaScript number can hold. 0 means that there is no message yet.
pub type Seq = u64;

/// Milliseconds since 1970-01-01 UTC.
pub type UnixMillis = u64;
