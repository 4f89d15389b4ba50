//! The connections of this instance: sockets, the fan-out from the ring, one client's conversation, the drain.

pub mod conversation;
pub mod drain;
pub mod fanout;
pub mod node;
pub mod socket;
