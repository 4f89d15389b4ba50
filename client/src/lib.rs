//! The Rust client of Hubbub's protocol, shared by its tests, its audit and its load generator.
//!
//! Three layers, each usable without those above it:
//! * [`Connection`] is one WebSocket. It sends and receives frames and keeps no state, so a test can break the protocol.
//! * [`Core`] is the client's half of `docs/protocol.md` without I/O: the cursor, the unconfirmed messages, when to
//!   connect. With it no message is lost, none is shown twice, and all come in order.
//! * [`Client`] is a `Core` with a `Connection` that it opens again after each disconnect. Begin there.
//!
//! None of them spawns a task. The owner polls a client, so a thousand clients are a thousand small futures.

mod backoff;
mod client;
mod config;
mod connection;
mod core;
mod event;
mod outbox;
mod recent;

pub use backoff::Backoff;
pub use client::Client;
pub use config::Config;
pub use connection::{Closed, ConnectError, Connection, Upgrade};
pub use event::{Event, FailReason};

pub use self::core::{Core, Violations};
