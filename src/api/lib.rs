//! The HTTP API of the messenger: what `http` serves, answered from the domain and the log.

pub mod accounts;
mod answer;
pub mod caller;
mod input;
pub mod mail;
pub mod readers;
pub mod recorded;
pub mod rooms;
mod said;
pub mod seats;
pub mod teller;
