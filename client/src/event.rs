//! The events of a client.

use std::time::Duration;

use hubbub_protocol::{Ack, Count, ErrorCode, Message, MessageId, Refusal, RelayState, ResetReason, RoomId, Seq, User};

/// What happened to a [`Client`](crate::Client), in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server accepted the client: `welcome` came. The replay of missed messages follows.
    Connected {
        /// The instance that serves the client now.
        instance: String,
        /// Whether the replay begins at the client's cursor. If it had one and this is false, a `Reset` follows.
        resumed: bool,
    },
    /// The replay is over. From here on messages come as they are published.
    Live,
    /// A message, for the first time.
    Message(Message),
    /// A message that came before. Redis had lost it and it has another `seq` now, or it came twice. Do not show it.
    Repeated(Message),
    /// A message of this client is in the log.
    Acked {
        /// Its id.
        id: MessageId,
        /// Its place in the log.
        seq: Seq,
        /// The `ack` frame. `None` if the message itself came back instead, in the replay after a reconnect.
        ack: Option<Ack>,
        /// Time since it was first sent.
        waited: Duration,
    },
    /// The client has given up a message of its own. A person decides what to do with it.
    Failed {
        /// Its id.
        id: MessageId,
        /// Why.
        reason: FailReason,
    },
    /// The server refused a frame. A message refused for now is sent again after the time that the server asked for; a
    /// `join`, `leave` or `typing` is not, but the next connection asks for the rooms again.
    Refused(Refusal),
    /// The live connection counter.
    Count(Count),
    /// People are typing in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// The people.
        from: Vec<User>,
    },
    /// The client is in the room: its messages come from here on.
    Joined(RoomId),
    /// The client is no longer in the room.
    Left(RoomId),
    /// The relay between the instances changed its state.
    Status(RelayState),
    /// Messages are missing: those between the old cursor and `seq` cannot be replayed.
    Reset {
        /// The new cursor. It may be below the old one.
        seq: Seq,
        /// Why.
        reason: ResetReason,
    },
    /// The instance is about to stop. The client connects again after this time.
    Drain {
        /// Time to wait, counted from the close.
        reconnect_after: Duration,
    },
    /// The connection ended. Unless the code forbids it, the client connects again by itself.
    Disconnected {
        /// The close code. 1006 if there was no close frame.
        code: u16,
        /// The reason text of the close frame, or what went wrong.
        reason: String,
    },
    /// An attempt to connect failed. The client tries again by itself.
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What went wrong.
        error: String,
    },
}

/// Why the client gave up a message of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// The server refused it for good.
    Refused(ErrorCode),
    /// It was sent and never confirmed, and is older than `dedupe_ms`. It may have been delivered, and sending it again
    /// could deliver it twice.
    Expired,
}
