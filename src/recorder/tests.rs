//! The recorder against a log and a database in memory.

mod database;
mod log;
mod model;
mod nap;
mod states;
