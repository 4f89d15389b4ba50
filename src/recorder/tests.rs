//! The recorder against a log and a database in memory.
