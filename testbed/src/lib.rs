//! What the tests, the audits and the load generator share: the real binary, a Redis and a Postgres of their own, a network that fails on
//! demand, and clients in tasks.
//!
//! Nothing sleeps, except where the caller asks for a fault of some duration. Callers wait for an event, or ask again
//! until a condition holds, always under a deadline. A step that fails panics, for neither a test nor a measurement can
//! go on without it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a step that fails should fail the test"
)]
#![expect(clippy::missing_panics_doc, reason = "everything here panics when it fails")]

pub mod account;
mod certificate;
mod client;
pub mod frames;
pub mod growth;
pub mod http;
pub mod ledger;
mod mail_server;
pub mod memory;
mod postgres;
mod process;
mod proxy;
mod redis;
mod reverse_proxy;
mod server;
mod transcript;
mod wait;

pub use certificate::Certificate;
pub use client::{Observer, TestClient};
pub use http::dial;
pub use mail_server::{Delivered, MailServer};
pub use postgres::Postgres;
pub use process::{program, room, scratch, signal, unique};
pub use proxy::{Flow, Proxy};
pub use redis::{Cluster, Redis, Sentinel, can_turn_clocks};
pub use reverse_proxy::{Product, ReverseProxy};
pub use server::{Server, command};
pub use transcript::{Transcript, assert_complete, chatter, gather};
pub use wait::{PATIENCE, eventually, within};
