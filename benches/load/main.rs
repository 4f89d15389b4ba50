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
pub(crate) mod plot;
pub(crate) mod raw;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod swarm;
pub(crate) mod tally;
pub(crate) mod target;
pub(crate) mod usage;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use self::{
    options::{Baseline, Hidden, Load, Options},
    report::Report,
    run::Outcome,
    target::Subject,
};

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.hidden {
        Some(Hidden::Raw(bare)) => raw::serve(bare),
        None => measure(&options),
    };
    done.map_or_else(
        |error| {
            report::say(&format!("load: {error:#}"));
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let load = options.load()?;
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcomes = runtime.block_on(rounds(options, &load))?;
    let report = Report::new(&load, &outcomes);
    report::show(&report.table());
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.plot {
        plot::draw(path, &outcomes).with_context(|| format!("cannot draw {}", path.display()))?;
    }
    Ok(())
}

/// Every subject once a round; who goes first alternates.
pub(crate) async fn rounds(options: &Options, load: &Load) -> anyhow::Result<Vec<Outcome>> {
    let mut subjects = vec![Subject::Hubbub];
    subjects.extend(options.baseline.map(|Baseline::Raw| Subject::Raw));
    let mut outcomes = Vec::new();
    for round in 1..=options.rounds {
        for &subject in &subjects {
            report::say(&format!("round {round} of {}: {}", options.rounds, subject.name()));
            outcomes.push(run::run(subject, options, load).await?);
        }
        subjects.reverse();
    }
    Ok(outcomes)
}
