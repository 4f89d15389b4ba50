//! A WebSocket broadcast server that scales out through one Redis channel.
//!
//! ```text
//! browser ─ws─▶ socket ─▶ session ─▶ node ─▶ relay ─▶ ONE channel ─▶ every instance, the sender's included
//!                 ▲                     │       └─ one sequenced log                │
//!                 └── fan-out workers ◀─┴──── ring: the newest part of the log ◀────┘
//! ```
//!
//! Read [`protocol`] first, then follow a message: [`session`] hears it, [`node`] hands it to the [`relay`], which gives it
//! its place in the log and hears it on the channel like every other instance, and puts it into the [`ring`]; the
//! [`fanout`] workers write it to each [`socket`]. `docs/architecture.md` has the walkthroughs; `tests/architecture.rs`
//! holds which module may import which.

pub mod census;
pub mod config;
pub mod descriptors;
pub mod drain;
pub mod fanout;
pub mod node;
pub mod protocol;
pub mod quota;
pub mod relay;
pub mod ring;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod socket;
pub mod telemetry;
