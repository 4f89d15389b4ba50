//! An audit of the perimeter: one address attacks a single instance in every way that costs an attacker little, while people
//! from other addresses come in and talk. They must hardly notice.
//!
//! Each scenario has an instance of its own, and measures quiet first. The attackers are another process of low priority: on
//! a machine of their own they would not take the processors of those who measure.
//!
//! `make audit-perimeter ARGS=--help`. The exit code is 1 if a bound was broken.
#![expect(clippy::unwrap_used, clippy::panic, reason = "an audit cannot go on after a step that failed")]

mod attack;
mod crowd;
mod health;
mod judgement;
mod trial;
mod window;

use std::{net::SocketAddr, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hubbub_testbed::Redis;

use attack::Attack;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,

    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Attacks an instance until it gets SIGTERM, as the audit does.
    Attack {
        /// What to do.
        attack: Attack,

        /// The instance.
        #[arg(long)]
        to: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Seconds of each attack.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..))]
    seconds: u64,

    /// Seconds in which quiet is measured, before each attack.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(3..))]
    quiet: u64,

    /// Attacks to run, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    only: Vec<Attack>,

    /// People from other addresses.
    #[arg(long, default_value_t = 200)]
    people: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    // a descriptor for each connection; what the limit does not allow fails loudly
    let _raised = rlimit::increase_nofile_limit(u64::MAX);
    let Cli { role, options } = Cli::parse();
    if let Some(Role::Attack { attack, to }) = role {
        attack.run(to).await;
        return ExitCode::SUCCESS;
    }
    let redis = Redis::start().await;
    let all = Attack::value_variants().iter();
    let mut trials = Vec::new();
    for attack in all.filter(|attack| options.only.is_empty() || options.only.contains(attack)) {
        trials.push(trial::run(*attack, &redis, &options).await);
    }
    let outcome = judgement::of(&trials);
    outcome.print();
    if outcome.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
