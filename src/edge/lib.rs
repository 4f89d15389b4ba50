//! The connections of this instance: sockets, the fan-out from the ring, one client's conversation, the graceful
//! shutdown (drain).
//!
//! ```text
//! socket ──▶ conversation ──▶ node ──▶ relay (hubbub-log)
//!   ▲                          │          │
//!   └── fan-out workers ◀──────┴── ring ◀─┘
//! ```
//!
//! One client is four types. [`socket::Socket`] reads. [`socket::Link`] writes. [`connection::Connection`] stores its
//! room memberships (seats) and its cursor. [`conversation`] is the task that decodes the client's frames and answers
//! them. The [`ports`] are interfaces that check permissions and list a person's rooms. The [`door`] counts connections and
//! publishes by address and by person.

pub mod connection;
pub mod conversation;
pub mod door;
pub mod drain;
pub mod fanout;
pub mod node;
pub mod notice;
pub mod person;
pub mod ports;
pub mod sessions;
pub mod socket;
#[cfg(test)]
mod test_rng;

use std::sync::Arc;

use hubbub_lifecycle::Shutdown;
use hubbub_log::{Relay, ring::Ring};

/// Starts an instance with this name. It serves from `ring`, which `relay` fills.
pub fn start(name: &str, ring: Arc<Ring>, relay: Relay, ports: ports::Ports, shutdown: &Shutdown) -> node::Node {
    node::Node::start(name, ring, relay, ports, conversation::notice_frame, shutdown)
}
