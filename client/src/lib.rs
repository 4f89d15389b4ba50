//! The Rust client of Hubbub's protocol, written once for the tests, the audit and the load generator.
//!
//! Two layers:
//! * [`Connection`] is one WebSocket. It sends and receives frames, remembers nothing, and lets a test misbehave.
//! * [`Client`] is a person's seat. It keeps the cursor and the unconfirmed messages, comes back after a disconnect, and
//!   does the client's half of what `docs/protocol.md` promises: nothing lost, nothing twice, in order.
//!
//! Neither spawns a task: whoever owns a client polls it, so a thousand clients are a thousand small futures.

mod backoff;
mod client;
mod connection;
mod event;
mod outbox;
mod seen;

pub use backoff::Backoff;
pub use client::{Client, Config, Violations};
pub use connection::{Closed, ConnectError, Connection, Upgrade};
pub use event::{Event, FailReason};
