//! The HTTP API of the messenger: what `http` serves, answered from the domain and the log.

pub mod accounts;
pub mod mail;
pub mod recorded;
mod said;
