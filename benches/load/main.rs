//! The load generator: a swarm of clients, a schedule of messages, and what the server made of them.
//!
//! ```text
//! pacer ─due─▶ senders ─publish─▶ server ─messages─▶ every client of the room ─▶ tally
//! ```
//!
//! *Open loop.* When a message is due is fixed before the first is sent, and its latency counts from there, so a server
//! that stalls cannot hide it. Each body carries its sender, its number and its time, so what is lost, repeated or out of
//! order is known for every client without a list of what it has.
//!
//! *Not the bottleneck.* Readers are tasks on few threads of one runtime each, and take a frame without parsing or
//! copying it. The senders have a thread of their own. How late they were, and what CPU all this took, is in the report.
//!
//! Times on the wire are the wall clock's, for the bare server is another process. All of it belongs on one machine.

pub(crate) mod client;
pub(crate) mod dialect;
pub(crate) mod ledger;
pub(crate) mod options;
pub(crate) mod peer;
pub(crate) mod plot;
pub(crate) mod progress;
pub(crate) mod raw;
pub(crate) mod report;
pub(crate) mod room;
pub(crate) mod rounds;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod subject;
pub(crate) mod swarm;
pub(crate) mod tally;
pub(crate) mod target;
pub(crate) mod usage;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use self::{
    options::{Hidden, Load, Options},
    report::Report,
    rounds::Rounds,
};

/// Open files of this process and of a server beside their connections.
const FILES_BESIDE: u64 = 64;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.hidden {
        Some(Hidden::Raw(bare)) => raw::serve(bare),
        None => measure(&options),
    };
    done.map_or_else(
        |error| {
            progress::print(&format!("load: {error:#}"));
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn measure(options: &Options) -> Result<()> {
    let load = options.load()?;
    allow_files(&load)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rounds = runtime.block_on(Rounds::measure(options, &load));
    let report = Report::new(&load, &rounds);
    report::show(&report.table());
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.plot {
        plot::draw(path, &rounds.outcomes).with_context(|| format!("cannot draw {}", path.display()))?;
    }
    report.promises_kept()
}

/// Raises the limit of open files, which the servers inherit, as far as it goes.
fn allow_files(load: &Load) -> Result<()> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let needed = u64::from(load.clients) + FILES_BESIDE;
    ensure!(limit >= needed, "{} clients need {needed} open files, and `ulimit -Hn` allows {limit}", load.clients);
    Ok(())
}
