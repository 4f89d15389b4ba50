//! The audit: real processes, every fault, and a ledger of what was acked and what arrived.
//!
//! `make audit` runs each kind of fault alone, then mixtures. It ends with 1 if anything that was acked did
//! not arrive exactly once and in order at every receiver of its room.
#![expect(clippy::indexing_slicing, reason = "a step that fails should end the audit")]

mod crowd;
mod fault;
mod kept;
mod report;
mod schedule;
mod soak;
mod trial;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::{Parser, ValueEnum};
use hubbub_log::ring::Retention;
use hubbub_testbed::ledger::Breach;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    crowd::Size,
    fault::Fault,
    kept::Engine,
    trial::{Options, Outcome, Setting},
    world::{Blueprint, Needs},
};

/// How long the faults of a mixture begin.
const MIXTURE: Duration = Duration::from_secs(30);
/// The same in a short audit.
const SHORT_MIXTURE: Duration = Duration::from_secs(6);
/// A sample of each family: Redis, links, instances, clients.
const SHORT: [Fault; 5] =
    [Fault::KillPubsub, Fault::RestartCutAof, Fault::CutLink, Fault::InstanceKill, Fault::CutMidFrame];
/// The same where the history is recorded.
const SHORT_RECORDED: [Fault; 3] = [Fault::LeaseIgnored, Fault::LogKill, Fault::InstanceKill];

/// Proves on real processes that every acked message reaches every receiver once and in order, through every fault.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(name = "audit", max_term_width = 100)]
struct Cli {
    /// Only these kinds of fault, separated by commas. Without --mixtures, each alone.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    only: Vec<Fault>,
    /// List the kinds of fault.
    #[arg(long)]
    list: bool,
    /// How often each kind happens in its own trial.
    #[arg(long, default_value_t = 3, value_name = "N")]
    times: usize,
    /// Trials with random mixtures of the kinds [default: 3; 0 with --only].
    #[arg(long, value_name = "N")]
    mixtures: Option<u64>,
    /// A selection that takes less than a minute, and another one with --history.
    #[arg(long)]
    short: bool,
    /// Instead: random mixtures in one world for so many minutes, while its instances are watched for growth.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Decides what is random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Instances of the server.
    #[arg(long, default_value_t = 3, value_name = "N")]
    instances: usize,
    /// Clients that publish.
    #[arg(long, default_value_t = 8, value_name = "N")]
    senders: usize,
    /// Clients that receive, each in half of the rooms.
    #[arg(long, default_value_t = 24, value_name = "N")]
    receivers: usize,
    /// Rooms.
    #[arg(long, default_value_t = 6, value_name = "N")]
    rooms: usize,
    /// Messages a second, of all senders together.
    #[arg(long, default_value_t = 400, value_name = "N/S", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds that a receiver stays connected, on average; 0: it never leaves by itself.
    #[arg(long, default_value_t = 4, value_name = "SECONDS")]
    stay: u64,
    /// Records the history there, and compares it with what was acked.
    #[arg(long, value_name = "ENGINE")]
    history: Option<Engine>,
    /// For a control run: recorders move their cursor in a transaction of its own, and no instance records. With
    /// `--only lease-ignored`.
    #[arg(long)]
    hasty: bool,
    /// Another build of the server [default: the one that cargo has just built].
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Succeeds only if messages were lost in every trial: for a control run with a server that loses some.
    #[arg(long)]
    expect_loss: bool,
    /// Does not judge the places of messages: for a control run with a server that has no common ones.
    #[arg(long)]
    any_place: bool,
    /// Writes the report to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    if cli.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    // What is dropped here ends its processes.
    let outcomes = tokio::select! {
        outcomes = Box::pin(cli.run()) => outcomes?,
        stopped = stopped() => {
            stopped?;
            bail!("stopped by a signal");
        }
    };
    report::print(&outcomes);
    if let Some(path) = &cli.json {
        report::write(path, cli.seed, &outcomes)?;
    }
    let passed = if cli.expect_loss { all_lose(&outcomes) } else { outcomes.iter().all(Outcome::is_clean) };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every trial has found a loss; names those that have not.
#[expect(clippy::print_stdout, reason = "this belongs to the report")]
fn all_lose(outcomes: &[Outcome]) -> bool {
    let lossless: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| outcome.verdict.count(Breach::Lost) == 0)
        .filter(|outcome| outcome.comparison.as_ref().is_none_or(|comparison| comparison.missing == 0))
        .map(|outcome| outcome.name.as_str())
        .collect();
    if !lossless.is_empty() {
        println!("\nnothing was lost through {}", lossless.join(", "));
    }
    lossless.is_empty()
}

/// Completes on SIGINT or SIGTERM.
async fn stopped() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what was asked for")]
fn list() {
    for fault in Fault::value_variants() {
        println!("{:<18}{}", fault.to_string(), fault.describe());
    }
}

impl Cli {
    /// # Errors
    ///
    /// What is asked for would prove nothing.
    fn check(&self) -> Result<()> {
        let Self { instances, senders, receivers, rooms, times, .. } = *self;
        let least = [instances, senders, receivers, rooms].into_iter().min();
        ensure!(least > Some(0), "an audit needs instances, senders, receivers and rooms: at least one of each");
        ensure!(self.soak != Some(0), "a soak of no minutes observes nothing");
        let mixtures = self.soak.map_or_else(|| self.mixtures(), |_| 1);
        ensure!(times > 0 || mixtures > 0, "neither --times nor --mixtures asks for a trial");
        if let Some(fault) = self.only.iter().find(|fault| !fault.fits(self.history)) {
            bail!("{fault} needs --history postgres, or another --history");
        }
        let can_be_mixed = self.faults().iter().any(|fault| fault.can_be_mixed());
        ensure!(mixtures == 0 || can_be_mixed, "these kinds of fault cannot be mixed");
        Ok(())
    }

    async fn run(&self) -> Result<Vec<Outcome>> {
        self.check()?;
        let setting = self.setting();
        let mut outcomes = Vec::new();
        if let Some(minutes) = self.soak {
            outcomes.push(progress(setting.soak(&self.faults(), Duration::from_mins(minutes)).await?));
            return Ok(outcomes);
        }
        let (times, duration) = if self.short { (self.times.min(1), SHORT_MIXTURE) } else { (self.times, MIXTURE) };
        if times > 0 {
            for fault in self.faults() {
                if let Some(lack) = fault.lacks() {
                    skip(fault, lack);
                    continue;
                }
                outcomes.push(progress(Box::pin(setting.alone(fault, times)).await?));
            }
        }
        for nth in 0..self.mixtures() {
            outcomes.push(progress(setting.mixture(&self.faults(), duration, nth).await?));
        }
        Ok(outcomes)
    }

    fn setting(&self) -> Setting {
        let Self { instances, senders, receivers, rooms, rate, seed, .. } = *self;
        let stay = Duration::from_secs(self.stay);
        let unjudged = self.any_place.then_some(Breach::Displaced);
        let program = self.program.clone().unwrap_or_else(hubbub_testbed::program);
        let retention = if self.soak.is_some() { soak::retention(rate) } else { Retention::default().messages };
        let (history, hasty) = (self.history, self.hasty);
        let blueprint = Blueprint { program, hasty, history, instances, retention, needs: Needs::USUAL };
        Setting {
            blueprint,
            size: Size { senders, receivers, rooms, rate, stay },
            seed,
            unjudged,
            options: self.options(),
        }
    }

    /// The flags that another trial needs to be the same as one of this run, without those that choose the trial.
    fn options(&self) -> Options {
        let usual = Self::parse_from(["audit"]);
        let numbers = |cli: &Self| {
            let Self { instances, senders, receivers, rooms, rate, stay, .. } = cli;
            [
                ("instances", instances.to_string()),
                ("senders", senders.to_string()),
                ("receivers", receivers.to_string()),
                ("rooms", rooms.to_string()),
                ("rate", rate.to_string()),
                ("stay", stay.to_string()),
            ]
        };
        let changed = numbers(self).into_iter().zip(numbers(&usual)).filter(|(this, usual)| this != usual);
        let mut world: Vec<String> = changed.map(|((name, value), _)| format!(" --{name} {value}")).collect();
        world.extend(
            self.history
                .and_then(|engine| engine.to_possible_value())
                .map(|engine| format!(" --history {}", engine.get_name())),
        );
        world.extend(self.any_place.then(|| " --any-place".to_owned()));
        world.extend(self.hasty.then(|| " --hasty".to_owned()));
        world.extend(self.program.iter().map(|program| format!(" --program {}", program.display())));
        let only: Vec<String> = self.only.iter().map(ToString::to_string).collect();
        let only = if only.is_empty() { String::new() } else { format!(" --only {}", only.join(",")) };
        let short = if self.short { " --short" } else { "" };
        Options { world: world.concat(), mixed: format!("{short}{only}") }
    }

    fn faults(&self) -> Vec<Fault> {
        match (self.only.as_slice(), self.short) {
            ([], true) if self.history.is_some() => SHORT_RECORDED.to_vec(),
            ([], true) => SHORT.to_vec(),
            ([], false) => {
                let all = Fault::value_variants().iter().copied();
                all.filter(|fault| fault.fits(self.history)).collect()
            }
            (only, _) => only.to_vec(),
        }
    }

    fn mixtures(&self) -> u64 {
        let default = match (self.only.is_empty(), self.short) {
            (false, _) => 0,
            (true, true) => u64::from(self.history.is_none()),
            (true, false) => 3,
        };
        self.mixtures.unwrap_or(default)
    }
}

/// Prints that a kind of fault is left out.
#[expect(clippy::print_stderr, reason = "it does not belong to the report")]
fn skip(fault: Fault, lack: &str) {
    eprintln!("{:<18}skipped: {lack}", fault.to_string());
}

/// Prints how a trial went while the audit goes on.
#[expect(clippy::print_stderr, reason = "the audit takes minutes")]
fn progress(outcome: Outcome) -> Outcome {
    let judgement = if outcome.is_clean() { "clean" } else { "NOT CLEAN" };
    eprintln!("{:<18}{judgement}, {} acked", outcome.name, outcome.verdict.acked);
    outcome
}
