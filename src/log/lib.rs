//! The one sequenced log of the system, its channel, and the newest part of it in memory.

mod backend;
pub mod census;
mod memory;
mod redis;
mod relay;
pub mod ring;
mod sequencer;
#[cfg(test)]
mod tests;
mod wire;

pub use backend::{
    Appended, Backend, BackendError, Event, Known, LogEntry, Position, Receipt, Report, Snapshot, Submission, Tally,
};
pub use memory::Local;
pub use redis::{Redis, RedisConfig, RedisError};
pub use relay::{Overloaded, Relay, RelayOptions};
pub use wire::Announcement;
