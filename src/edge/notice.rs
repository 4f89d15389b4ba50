//! The frames that the fan-out sends to clients besides the entries of the log.

use hubbub_protocol::{Count, Frame, RelayState, RoomId, Seq, User};

/// A state change that is sent to clients. The fan-out decides when to send it; [`Encode`] builds its frame.
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
        /// The seat begins above this seq.
        seq: Seq,
    },
    /// The connection has no seat in the room any more.
    Left {
        /// The room.
        room: RoomId,
        /// The last seq of the seat.
        seq: Seq,
    },
    /// The seats of the connection are others than it was told: what came before `seq` may be incomplete.
    Reset {
        /// The cursor of the connection.
        seq: Seq,
    },
    /// The number of connections of all instances changed.
    Count(Count),
    /// The relay changed its state.
    Status(RelayState),
    /// Persons type in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// The persons who typed within the last second, at most 20.
        from: Vec<User>,
    },
}

/// Builds the frame that carries a notice.
pub type Encode = fn(&Notice) -> Frame;
