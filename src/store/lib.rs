//! The database: SQLite and Postgres behind the ports of the messenger.
//!
//! Statements have one text for both engines where they can. Those that write a batch do not: see `sqlite` and
//! `postgres`.

mod account_rows;
mod accounts;
mod archive;
mod database;
mod engine;
mod fault;
mod journal;
mod open_error;
mod options;
mod postgres;
mod rows;
mod schema;
mod secrets;
mod sqlite;
#[cfg(test)]
mod tests;
mod tokens;
mod url;

pub use database::Database;
pub use open_error::OpenError;
pub use options::DatabaseOptions;
pub use schema::Migrated;
pub use url::{DatabaseUrl, InvalidUrl};
