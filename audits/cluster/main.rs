//! Audits of a cluster whose instances come and go, with real processes on a Redis of their own:
//!
//! * `census`: the connection counter is right within 4 s of anything that happens;
//! * `herd`: the clients of a killed instance come back at once, lose nothing, and Redis hardly notices.
//!
//! `make audit-census ARGS=--help`. The exit code is 1 if a promise was broken.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an audit cannot go on after a step that failed"
)]

mod census;
mod herd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    audit: Audit,
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// The connection counter, through random comings and goings of clients and instances.
    Census(census::Options),
    /// Many clients that reconnect at once when their instance is killed.
    Herd(herd::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().audit {
        Audit::Census(options) => census::run(&options).await,
        Audit::Herd(options) => herd::run(&options).await,
    };
    outcome.print();
    if outcome.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
