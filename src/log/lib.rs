//! The sequenced log of the system, its channel, the newest part of it in memory, and the census.
//!
//! [`Relay`] is the way in, [`ring::Ring`] the way out. [`Redis`], [`File`] and [`Memory`] are the stores behind
//! them.
//!
//! The log may lose its newest entries, for example in a restart of Redis. Then an epoch opens, and instances that
//! have the lost messages in memory append them again. Such a *re-appended message* gets a new `seq`; `was` is its
//! former one.

mod backend;
pub mod census;
mod channel;
mod file;
mod first_place;
mod head;
mod identity;
mod kind;
mod leases;
mod marker;
mod memory;
mod recording;
mod redis;
mod relay;
pub mod ring;
mod seen;
mod sequencer;
mod tail;
#[cfg(test)]
mod tests;
mod wire;

pub use backend::{
    AppendOutcome, Backend, BackendError, Claim, ClaimStep, Event, Fence, Lease, LogBounds, LogEntry, Placement,
    RECORDING_LEASE, Report, Snapshot, Submission, SyncRequest, Unrecorded, VersionedCount,
};
pub use file::{Durability, File, FileError};
pub use identity::ContentHash;
pub use kind::{Kind, Telling};
pub use marker::Marker;
pub use memory::Memory;
pub use redis::{Redis, RedisConfig, RedisError, Renewal, Renewer, TlsFiles};
pub use relay::{Full, Overloaded, Relay, RelayOptions, Share, Untold};
pub use tail::Tail;
pub use wire::Announcement;
