//! The database: SQLite and Postgres behind the ports of the messenger.
