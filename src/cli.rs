//! The command line: which command to run, and the exit code of the process.
//!
//! Exit codes: 0 success, 1 failure, 2 a setting that is wrong.

mod accounts;
mod address_file;
mod config;
mod data_folder;
mod database;
mod descriptors;
mod health;
mod secrets;
mod serve;
mod signals;
mod storage;
mod telemetry;
mod user;

use std::{ffi::OsStr, process::ExitCode};

use anyhow::Context;
use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::{self, Resettable},
};
use tokio::runtime::Runtime;

use self::{
    config::Config,
    database::DatabaseCommand,
    health::Health,
    serve::Settings,
    user::{InviteCommand, RotateKeyCommand, UserCommand},
};

/// Exit code for a setting that is wrong: the one that clap uses.
const USAGE: u8 = 2;

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "hubbub", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(about = "A WebSocket broadcast server with a chat in the browser.")]
#[command(long_about = "A WebSocket broadcast server with a chat in the browser.\n\n\
    Without any option one instance works alone: start it and open http://127.0.0.1:8080. With --redis-url any number \
    of instances work as one. Every option can also be set by the environment variable in brackets.")]
struct Cli {
    /// Without a command, `serve` runs.
    #[command(subcommand)]
    command: Option<Command>,

    /// Options of `serve`.
    #[command(flatten)]
    serve: Config,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Start an instance (the default).
    Serve(Box<Config>),
    /// Bring the database to the schema of this release.
    Migrate(Box<DatabaseCommand>),
    /// Say that the database was restored from a backup: the recording goes on from there.
    Restored(Box<DatabaseCommand>),
    /// Make, list and close accounts. The instances may run.
    #[command(subcommand)]
    User(Box<UserCommand>),
    /// Make an invitation to the server, for --registration invite.
    Invite(Box<InviteCommand>),
    /// Make another key that signs access tokens. The instances may run.
    RotateKey(Box<RotateKeyCommand>),
    /// Ask an instance whether it is ready: exit code 0 if it is, else 1.
    Health(Health),
}

/// Parses the arguments and runs the command.
pub(crate) fn run() -> ExitCode {
    let matches = ignore_empty_variables(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Some(Command::Health(health)) => check_health(&health),
        Some(Command::Migrate(command)) => change_database(async move || command.migrate().await),
        Some(Command::Restored(command)) => change_database(async move || command.restored().await),
        Some(Command::User(command)) => change_database(async move || command.run().await),
        Some(Command::Invite(command)) => change_database(async move || command.run().await),
        Some(Command::RotateKey(command)) => change_database(async move || command.run().await),
        Some(Command::Serve(config)) => serve(&config),
        None => serve(&cli.serve),
    }
}

/// An environment variable without a value is as one that is not set.
fn ignore_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty =
        |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.as_encoded_bytes().trim_ascii().is_empty());
    let command = command.mut_args(|arg| {
        if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::<builder::OsStr>::Reset) } else { arg }
    });
    command.mut_subcommands(ignore_empty_variables)
}

fn check_health(health: &Health) -> ExitCode {
    let outcome = start_runtime().and_then(|runtime| runtime.block_on(health.check()));
    outcome.map_or_else(|error| report(&error, 1), |()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the outcome is what the command is for")]
fn change_database<F: Future<Output = anyhow::Result<String>>>(command: impl FnOnce() -> F) -> ExitCode {
    let outcome = start_runtime().and_then(|runtime| runtime.block_on(command()));
    match outcome {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => report(&error, if storage::is_wrong(&error) { USAGE } else { 1 }),
    }
}

fn serve(config: &Config) -> ExitCode {
    let settings = match Settings::prepare(config) {
        Ok(settings) => settings,
        Err(error) => return report(&error, USAGE),
    };
    let outcome = start_runtime().and_then(|runtime| {
        let outcome = runtime.block_on(serve::run(config, settings));
        // After a second signal connections are still open. Do not wait for their tasks.
        runtime.shutdown_background();
        outcome
    });
    outcome.unwrap_or_else(|error| report(&error, if storage::is_wrong(&error) { USAGE } else { 1 }))
}

fn start_runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("cannot start the Tokio runtime")
}

#[expect(clippy::print_stderr, reason = "the error is shown at every log level")]
fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("hubbub: {error:#}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{config::AdminListen, *};

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"hubbub").chain(args))
    }

    #[test]
    fn the_command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_command() {
        assert!(parse(&[]).unwrap().command.is_none());
        assert!(parse(&["--listen", "127.0.0.1:1"]).unwrap().command.is_none());
        assert!(matches!(parse(&["serve", "--prefix", "x"]).unwrap().command, Some(Command::Serve(_))));
        assert!(matches!(parse(&["health"]).unwrap().command, Some(Command::Health(_))));
    }

    #[test]
    fn every_option_has_a_heading_a_variable_and_a_description() {
        for option in Cli::command().get_arguments() {
            let name = option.get_id();
            assert!(option.get_help_heading().is_some(), "{name}");
            let variable = option.get_env().unwrap_or_else(|| panic!("{name}")).to_str().unwrap();
            assert_eq!(variable, format!("HUBBUB_{}", name.as_str().to_uppercase()));
            assert!(option.get_help().is_some(), "{name}");
        }
    }

    #[test]
    fn units_and_lists_are_understood() {
        let config = parse(&[
            "--log-bytes",
            "1MiB",
            "--drain-window",
            "500ms",
            "--trusted-proxies",
            " 10.0.0.0/8, 127.0.0.1,",
            "--allowed-origins",
            "https://A.example, http://b.example:81",
            "--public-host",
            "a.example,,*.b.example",
            "--admin-listen",
            "off",
        ])
        .unwrap()
        .serve;
        assert_eq!(config.log_bytes.as_u64(), 1 << 20);
        assert_eq!(config.drain_window, Duration::from_millis(500));
        assert_eq!(config.trusted_proxies().len(), 2);
        assert_eq!(config.allowed_origins().len(), 2);
        assert_eq!(config.public_hosts().len(), 2);
        assert_eq!(config.keep_alive, Duration::from_secs(75));
        assert_eq!(config.admin_listen, Some(AdminListen::Off));
    }

    #[test]
    fn wrong_values_are_refused() {
        for args in [
            ["--listen", "nowhere"],
            ["--log-retention", "0"],
            ["--publish-rate", "-1"],
            ["--publish-rate-address", "0"],
            ["--allowed-origins", "example.com"],
            ["--allowed-origins", "https://h/path"],
            ["--public-host", "https://h"],
            ["--max-header-bytes", "1KiB"],
            ["--trusted-proxies", "x"],
            ["--prefix", "a b"],
            ["--drain-timeout", "5"],
            ["--admin-listen", "on"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_secret_is_hidden_in_debug_output() {
        let config = parse(&["--redis-url", "redis://:hunter2@h", "--api-key", "hunter2"]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
