//! The connections of this instance: sockets, the fan-out from the ring, one client's conversation, the drain.
//!
//! ```text
//! socket ──▶ conversation ──▶ node ──▶ relay (hubbub-log)
//!   ▲                          │          │
//!   └── fan-out workers ◀──────┴── ring ◀─┘
//! ```
//!
//! One client is four types: [`socket::Socket`] reads, [`socket::Link`] writes, [`connection::Connection`] knows its
//! seats and how far it has been served, and the conversation is the task that follows the protocol. The edge asks
//! others through [`ports`]: who may do what, and in which rooms a person sits.

pub mod connection;
pub mod conversation;
#[cfg(test)]
mod dice;
pub mod drain;
pub mod fanout;
pub mod node;
pub mod notice;
pub mod person;
pub mod ports;
pub mod socket;

use std::sync::Arc;

use hubbub_lifecycle::Shutdown;
use hubbub_log::{Relay, ring::Ring};

/// Starts an instance with this name. It serves from `ring`, which `relay` fills.
pub fn start(name: &str, ring: Arc<Ring>, relay: Relay, ports: ports::Ports, shutdown: &Shutdown) -> node::Node {
    node::Node::start(name, ring, relay, ports, conversation::notice_frame, shutdown)
}
