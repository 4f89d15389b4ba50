//! What an instance keeps, and where: decided from the options before anything starts, then opened.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use hubbub_lifecycle::Shutdown;
use hubbub_log::{Durability, File, Memory, Redis, RedisConfig, Relay, RelayOptions, Renewer, Unrecorded, ring::Ring};
use hubbub_recorder::{Recorder, RecorderOptions};
use hubbub_store::{Database, DatabaseOptions, DatabaseUrl};
use tracing::info;

use super::{
    config::{Config, Durable, Migrate, Role},
    data_folder::DataFolder,
};

/// Files in the data folder.
const LOG_FILE: &str = "log.db";
const DATABASE_FILE: &str = "hubbub.db";
/// How long a start waits for another process that still uses the data folder: longer than its drain may take.
const FOLDER_PATIENCE: Duration = Duration::from_secs(40);

/// What an instance keeps, and where.
#[derive(Debug)]
pub(crate) struct Storage {
    log: LogPlace,
    /// None: no history is kept.
    database: Option<DatabasePlan>,
}

/// Where the log is.
#[derive(Debug)]
enum LogPlace {
    /// In this process: nothing is kept.
    Memory,
    /// In a file of this folder.
    Folder { path: PathBuf, durability: Durability },
    /// In Redis, shared with other instances.
    Redis(RedisConfig),
}

#[derive(Debug)]
struct DatabasePlan {
    url: DatabaseUrl,
    options: DatabaseOptions,
    unrecorded: Unrecorded,
    keep: Option<Duration>,
    records: bool,
}

impl Storage {
    /// Decides what is kept.
    ///
    /// # Errors
    ///
    /// Options that contradict each other, or a wrong URL.
    pub(crate) fn plan(config: &Config) -> anyhow::Result<Self> {
        let folder = config.storage.folder();
        let log = match (config.redis.config(), folder) {
            (Some(redis), _) => LogPlace::Redis(redis),
            (None, Some(path)) => {
                let durability = match config.storage.sync {
                    Durable::Full => Durability::Full,
                    Durable::Normal => Durability::Normal,
                };
                LogPlace::Folder { path: path.clone(), durability }
            }
            (None, None) => LogPlace::Memory,
        };
        let url = match config.storage.database_url() {
            Some(source) => {
                let secret = source.read().context("--database-url-file: cannot read")?;
                match secret.reveal() {
                    "none" => None,
                    url => Some(url.parse::<DatabaseUrl>().context("--database-url")?),
                }
            }
            None => match &log {
                LogPlace::Folder { path, .. } => Some(DatabaseUrl::file(path.join(DATABASE_FILE))),
                LogPlace::Memory | LogPlace::Redis(_) => None,
            },
        };
        if url.is_some() && matches!(log, LogPlace::Memory) {
            bail!("--database-url needs a log that outlives the process: set --data to a folder, or --redis-url");
        }
        let database = url.map(|url| DatabasePlan::new(url, config)).transpose()?;
        Ok(Self { log, database })
    }
}
