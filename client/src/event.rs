//! What a client tells its owner.

use std::time::Duration;

use hubbub_protocol::{Ack, Count, ErrorCode, Message, MessageId, Refusal, RelayState, ResetReason, RoomId, Seq, User};

/// Something happened to a [`Client`](crate::Client).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server said `welcome`.
    Connected {
        /// The instance that serves the client now.
        instance: String,
        /// Whether the cursor was taken up.
        resumed: bool,
    },
    /// What was missed has been replayed; messages come as they are said.
    Live,
    /// A message that this client has not had yet.
    Message(Message),
    /// A message that this client has had, and drops: Redis had lost it and it has another place now, or it came twice.
    Repeated(Message),
    /// A message of this client is in the log.
    Acked {
        /// Its id.
        id: MessageId,
        /// Its place.
        seq: Seq,
        /// The server's confirmation; none if the message itself came back first, in the replay after a reconnect.
        ack: Option<Ack>,
        /// Time since it was first sent.
        waited: Duration,
    },
    /// A message of this client is not sent any more; a person has to decide.
    Failed {
        /// Its id.
        id: MessageId,
        /// Why.
        reason: FailReason,
    },
    /// The server refused a frame. What can be repeated is repeated, after the time the server asked for.
    Refused(Refusal),
    /// The live connection counter.
    Count(Count),
    /// Who types in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// The people.
        from: Vec<User>,
    },
    /// The client is in the room.
    Joined(RoomId),
    /// The client is no longer in the room.
    Left(RoomId),
    /// The relay between the instances changed its state.
    Status(RelayState),
    /// What came before `seq` cannot be replayed.
    Reset {
        /// Messages above this come.
        seq: Seq,
        /// Why.
        reason: ResetReason,
    },
    /// The instance stops; the client will come back after this time.
    Drain {
        /// Counted from the close.
        reconnect_after: Duration,
    },
    /// The answer to a ping.
    Pong(Option<u64>),
    /// The connection ended. Unless the code forbids it, the client comes back by itself.
    Disconnected {
        /// The close code; 1006 if there was none.
        code: u16,
        /// The reason text.
        reason: String,
    },
    /// No connection could be made. The client tries again by itself.
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What went wrong.
        error: String,
    },
}

/// Why a message is not sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// The server refused it for good.
    Refused(ErrorCode),
    /// It may or may not have been delivered, too long ago to send it again without the risk of a second copy.
    Expired,
}
