//! How a database is opened.

use std::time::Duration;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// Whether an old schema is brought up to date. If not, it is an error.
    pub migrate: bool,
    /// The most connections to Postgres, or of readers to SQLite.
    pub connections: u32,
    /// The longest that one statement takes, and that a call waits for a connection.
    pub statement_timeout: Duration,
}

impl Default for DatabaseOptions {
    /// With migrations, 8 connections, and 5 s.
    fn default() -> Self {
        Self { migrate: true, connections: 8, statement_timeout: Duration::from_secs(5) }
    }
}
