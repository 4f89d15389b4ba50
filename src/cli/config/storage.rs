//! The options of what is kept: the log, the database, and what an instance does with them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use hubbub_lifecycle::Secret;
use hubbub_store::DatabaseUrl;

use super::value::{positive, source};

/// The database in the data folder.
const DATABASE_FILE: &str = "hubbub.db";
/// A day.
const DAY: Duration = Duration::from_hours(24);

/// Where the log and the database are.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Folder for the log and the database of an instance without Redis. It is made if it is missing, and only one process
    /// uses it at a time. `none`: nothing is kept.
    #[arg(long, env = "HUBBUB_DATA", help_heading = "Storage", default_value = "hubbub-data", value_name = "DIR")]
    data: PathBuf,

    /// Database of the history: sqlite:FILE, <postgres://USER:PASSWORD@HOST/DATABASE>, or none [default: SQLite in --data;
    /// with --redis-url: none].
    #[arg(long, env = "HUBBUB_DATABASE_URL", help_heading = "Storage", hide_env_values = true, value_name = "URL")]
    database_url: Option<Secret>,

    /// File to read the database URL from, instead of --database-url.
    #[arg(
        long,
        env = "HUBBUB_DATABASE_URL_FILE",
        help_heading = "Storage",
        value_name = "FILE",
        conflicts_with = "database_url"
    )]
    database_url_file: Option<PathBuf>,
}

/// What is kept, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct StorageArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// When a message of the log in --data counts as written. `full`: it is on the disk. `normal`: the operating system
    /// has it, which is faster; a power cut may take the last moments.
    #[arg(long, env = "HUBBUB_SYNC", help_heading = "Storage", default_value = "full", value_name = "MODE")]
    pub(crate) sync: Durable,

    /// Events that may wait for the database. Beyond that, publishes are refused with `overloaded`. At least twice
    /// --log-retention.
    #[arg(long, env = "HUBBUB_BACKLOG", help_heading = "Storage", default_value_t = 1_000_000, value_name = "N", value_parser = positive)]
    pub(crate) backlog: usize,

    /// The same bound in bytes.
    #[arg(long, env = "HUBBUB_BACKLOG_BYTES", help_heading = "Storage", default_value = "1GiB", value_name = "BYTES")]
    pub(crate) backlog_bytes: ByteSize,

    /// Days after which messages are deleted from the database [default: never].
    #[arg(long, env = "HUBBUB_KEEP_DAYS", help_heading = "Storage", value_name = "N", value_parser = positive_days)]
    keep_days: Option<u32>,

    /// Whether an instance brings the database to the schema of its release when it starts. With `off`, run `hubbub
    /// migrate` before.
    #[arg(long, env = "HUBBUB_MIGRATE", help_heading = "Storage", default_value = "auto", value_name = "WHEN")]
    pub(crate) migrate: Migrate,

    /// What this instance does, separated by commas. gateway: WebSockets. api: HTTP calls. worker: writes the log into the
    /// database. In this release only the role worker makes a difference.
    #[arg(
        long,
        env = "HUBBUB_ROLES",
        help_heading = "Storage",
        default_value = "gateway,api,worker",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    pub(crate) roles: Vec<Role>,
}

/// When a message counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durable {
    /// It is on the disk.
    Full,
    /// The operating system has it.
    Normal,
}

/// When the schema of the database is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Migrate {
    /// At the start of an instance.
    Auto,
    /// By `hubbub migrate` only.
    Off,
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Serves WebSockets.
    Gateway,
    /// Serves HTTP calls.
    Api,
    /// Records the log.
    Worker,
}

impl PlaceArgs {
    /// The data folder. None: nothing is kept.
    pub(crate) fn folder(&self) -> Option<&PathBuf> {
        (self.data.as_os_str() != "none").then_some(&self.data)
    }

    /// The database of the history. None: there is none. `folder` is the data folder if the log is there.
    ///
    /// # Errors
    ///
    /// The URL cannot be read, or is wrong.
    pub(crate) fn database(&self, folder: Option<&Path>) -> anyhow::Result<Option<DatabaseUrl>> {
        let Some(source) = source(self.database_url.as_ref(), self.database_url_file.as_ref()) else {
            return Ok(folder.map(|folder| DatabaseUrl::file(folder.join(DATABASE_FILE))));
        };
        let secret = source.read().context("--database-url-file: cannot read")?;
        match secret.reveal() {
            "none" => Ok(None),
            url => url.parse().map(Some).context("--database-url"),
        }
    }
}

impl StorageArgs {
    /// How long messages are kept. None: for ever.
    pub(crate) fn keep(&self) -> Option<Duration> {
        self.keep_days.map(|days| DAY * days)
    }

    /// Whether this instance does that.
    pub(crate) fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

fn positive_days(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|days| *days > 0).ok_or_else(|| "expected a whole number of days above 0".to_owned())
}
