//! What the fan-out sends to clients beside the entries of the log.

use hubbub_protocol::{Count, Frame, RelayState, RoomId, Seq, User};

/// A change that a client is told about. The fan-out knows when it becomes true; the conversation knows how it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection has caught up: everything up to `seq` is sent.
    Live {
        /// The cursor of the connection.
        seq: Seq,
    },
    /// A sign of life: everything up to `seq` is sent.
    Heartbeat {
        /// The cursor of the connection.
        seq: Seq,
    },
    /// The connection has a seat in the room.
    Joined {
        /// The room.
        room: RoomId,
        /// The place above which the seat begins.
        seq: Seq,
    },
    /// The connection has no seat in the room any more.
    Left {
        /// The room.
        room: RoomId,
        /// The last place of the seat.
        seq: Seq,
    },
    /// The number of connections of all instances changed.
    Count(Count),
    /// The relay changed its state.
    Status(RelayState),
    /// People type in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// Who typed within the last second.
        from: Vec<User>,
    },
}

/// Builds the frame that carries a notice.
pub type Encode = fn(&Notice) -> Frame;
