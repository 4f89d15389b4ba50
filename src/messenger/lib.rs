//! The domain of the messenger: its types, its rules, and the ports that it needs of a store. No SQL, no HTTP.

pub mod access_token;
pub mod account;
pub mod account_store;
pub mod accounts;
mod ended_sessions;
pub mod journal;
pub mod mail;
pub mod message;
pub mod outbox;
mod password_hasher;
pub mod recording;
pub mod secret_token;
pub mod session;
mod sign_in_limits;

/// The database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is busy, full or starting: the same call may succeed later.
    #[error("the database cannot be used now: {0}")]
    Passing(String),
    /// It refuses this content. The same call fails again.
    #[error("the database refuses this: {0}")]
    Refused(String),
}
