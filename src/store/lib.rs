//! The database: SQLite and Postgres behind the ports of the messenger.
//!
//! Statements have one text for both engines where they can. Those that write a batch do not: see `sqlite` and
//! `postgres`.

mod account_rows;
mod accounts;
mod archive;
mod change;
mod database;
mod engine;
mod facts;
mod fault;
mod journal;
mod memberships;
mod open_error;
mod options;
mod postgres;
mod rows;
mod schema;
mod secrets;
mod shapes;
mod sight;
mod sqlite;
mod statements;
#[cfg(test)]
mod tests;
mod tokens;
mod url;

pub use database::Database;
pub use open_error::OpenError;
pub use options::DatabaseOptions;
pub use schema::Migrated;
pub use url::{DatabaseUrl, InvalidUrl};
