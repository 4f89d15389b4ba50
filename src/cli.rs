//! The command line and what it sets up.

pub(crate) mod config;
pub(crate) mod descriptors;
pub(crate) mod telemetry;
