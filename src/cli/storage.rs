//! What an instance keeps, and where: decided from the options before anything starts, then opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use hubbub_api::teller::LogTeller;
use hubbub_lifecycle::{Shutdown, Throttle};
use hubbub_log::{
    Durability, File, FileError, Memory, Redis, RedisConfig, RedisError, Relay, RelayOptions, Renewer, Unrecorded,
    ring::Ring,
};
use hubbub_messenger::{StoreError, journal::Journal};
use hubbub_protocol::Seq;
use hubbub_recorder::{Recorder, RecorderOptions};
use hubbub_store::{Database, DatabaseOptions, DatabaseUrl, OpenError};
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    config::{Config, Durable, Migrate, PlaceArgs, RedisArgs, Role},
    data_folder::{DataFolder, DataFolderError},
};

/// The log in the data folder.
const LOG_FILE: &str = "log.db";
/// A start waits for another process that uses the data folder: this much longer than its drain may take. After that it
/// records, leaves the log, ends its tasks and closes the database.
pub(crate) const FOLDER_PATIENCE: Duration = Duration::from_secs(16);
/// Pause between two attempts to reach the database.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// What an instance keeps, and where.
#[derive(Debug)]
pub(crate) struct Storage {
    log: LogPlace,
    /// How long another process may take to give up the data folder.
    patience: Duration,
    /// None: no history is kept.
    database: Option<DatabasePlan>,
}

/// Where the log is.
#[derive(Debug)]
pub(crate) enum LogPlace {
    /// In this process: nothing is kept.
    Memory,
    /// In a file of this folder.
    Folder { path: PathBuf, durability: Durability },
    /// In Redis, shared with other instances.
    Redis(RedisConfig),
}

/// The database, and what this instance does with it.
#[derive(Debug)]
struct DatabasePlan {
    url: DatabaseUrl,
    options: DatabaseOptions,
    unrecorded: Unrecorded,
    recorder: RecorderOptions,
    /// Whether this instance may record the log.
    records: bool,
}

/// What an instance keeps, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) relay: Relay,
    /// Renews the connection to Redis.
    pub(crate) renewer: Option<Renewer>,
    pub(crate) database: Option<Database>,
    pub(crate) recorder: Option<Recorder>,
    /// Other processes wait until this is dropped.
    pub(crate) folder: Option<DataFolder>,
}

impl Storage {
    /// Decides what is kept.
    ///
    /// # Errors
    ///
    /// Options that contradict each other, or a wrong URL.
    pub(crate) fn plan(config: &Config) -> anyhow::Result<Self> {
        let storage = &config.storage;
        let log = LogPlace::of(&config.redis, &storage.place, storage.sync);
        let database = log.database(&storage.place)?.map(|url| DatabasePlan::new(url, &log, config)).transpose()?;
        let patience = config.drain_delay + config.drain_timeout + FOLDER_PATIENCE;
        Ok(Self { log, patience, database })
    }

    /// Opens what is kept, and starts what moves it. Waits for a database that cannot be reached.
    ///
    /// # Errors
    ///
    /// What does not pass by itself.
    pub(crate) async fn open(
        self,
        ring: Arc<Ring>,
        options: RelayOptions,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Opened> {
        let Self { log, patience, database: plan } = self;
        let folder = log.lock(patience).await?;
        let (database, floor) = if let Some(plan) = &plan {
            let (database, floor) = plan.open().await?;
            info!(database = %plan.url, "the history is kept in the database");
            (Some(database), floor)
        } else {
            info!("no history is kept beyond the log: see --database-url");
            (None, 0)
        };
        let unrecorded = plan.as_ref().map(|plan| plan.unrecorded);
        let options = RelayOptions { unrecorded, floor, ..options };
        let (relay, renewer) = log.start(ring, options, shutdown).await?;
        let recorder = plan.filter(|plan| plan.records).zip(database.clone()).map(|(plan, database)| {
            let outlet = Arc::new(LogTeller(relay.clone()));
            Recorder::start(Arc::new(database), Arc::new(relay.tail()), Some(outlet), plan.recorder, shutdown)
        });
        Ok(Opened { relay, renewer, database, recorder, folder })
    }
}

impl LogPlace {
    pub(crate) fn of(redis: &RedisArgs, place: &PlaceArgs, durability: Durable) -> Self {
        match (redis.config(), place.folder()) {
            (Some(redis), _) => Self::Redis(redis),
            (None, Some(path)) => Self::Folder { path: path.clone(), durability: durability.into() },
            (None, None) => Self::Memory,
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder { path, .. } => Some(path),
            Self::Memory | Self::Redis(_) => None,
        }
    }

    /// The database of the history, if there is one.
    pub(crate) fn database(&self, place: &PlaceArgs) -> anyhow::Result<Option<DatabaseUrl>> {
        let url = place.database(self.folder())?;
        ensure!(
            url.is_none() || !matches!(self, Self::Memory),
            "--database-url needs a log that outlives the process: set --data to a folder, or --redis-url"
        );
        Ok(url)
    }

    /// Locks the data folder, if the log is in one.
    pub(crate) async fn lock(&self, patience: Duration) -> Result<Option<DataFolder>, DataFolderError> {
        match self.folder() {
            Some(path) => DataFolder::lock(path, patience).await.map(Some),
            None => Ok(None),
        }
    }

    /// Starts the relay on this log. The connection to Redis may be renewed.
    pub(crate) async fn start(
        self,
        ring: Arc<Ring>,
        options: RelayOptions,
        shutdown: &Shutdown,
    ) -> anyhow::Result<(Relay, Option<Renewer>)> {
        match self {
            Self::Memory => Ok((Relay::start(Memory::new(), ring, options, shutdown), None)),
            Self::Folder { path, durability } => {
                let file = File::open(&path.join(LOG_FILE), durability).await?;
                Ok((Relay::start(file, ring, options, shutdown), None))
            }
            Self::Redis(config) => {
                let redis = Redis::connect(&config).context("--redis-url")?;
                let renewer = redis.renewer();
                Ok((Relay::start(redis, ring, options, shutdown), renewer))
            }
        }
    }
}

impl From<Durable> for Durability {
    fn from(durable: Durable) -> Self {
        match durable {
            Durable::Full => Self::Full,
            Durable::Normal => Self::Normal,
        }
    }
}

impl DatabasePlan {
    fn new(url: DatabaseUrl, log: &LogPlace, config: &Config) -> anyhow::Result<Self> {
        let storage = &config.storage;
        let records = storage.has_role(Role::Worker);
        ensure!(
            records || log.folder().is_none(),
            "--roles: an instance with its log in --data needs the role worker, as no other one can record it"
        );
        let own_folder = log.folder().is_some_and(|folder| url.path().is_some_and(|file| file.starts_with(folder)));
        ensure!(
            storage.backlog / 2 >= config.log_retention,
            "--backlog {} is less than twice --log-retention {}",
            storage.backlog,
            config.log_retention
        );
        let events = u64::try_from(storage.backlog).context("--backlog")?;
        Ok(Self {
            url,
            options: DatabaseOptions { migrate: storage.migrate == Migrate::Auto, ..DatabaseOptions::default() },
            unrecorded: Unrecorded { events, bytes: storage.backlog_bytes.as_u64() },
            recorder: RecorderOptions { own_folder, keep: storage.keep() },
            records,
        })
    }

    /// Opens the database, and reads how far it has recorded the log.
    async fn open(&self) -> anyhow::Result<(Database, Seq)> {
        static AWAY: Throttle = Throttle::new();
        loop {
            let error = match self.attempt().await {
                Ok(opened) => return Ok(opened),
                Err(Attempt::Passing(error)) => error,
                Err(Attempt::Final(error)) => return Err(error).context("--database-url"),
            };
            if let Some(held_back) = AWAY.pass() {
                warn!(error, held_back, "waiting for the database: this instance is not ready before it answers");
            }
            sleep(DATABASE_PAUSE).await;
        }
    }

    async fn attempt(&self) -> Result<(Database, Seq), Attempt> {
        let database = Database::open(&self.url, self.options.clone()).await.map_err(|error| {
            if error.is_passing() { Attempt::Passing(error.to_string()) } else { Attempt::Final(error) }
        })?;
        let recording = database.recording().await.map_err(|error: StoreError| Attempt::Passing(error.to_string()))?;
        Ok((database, recording.map_or(0, |recording| recording.cursor.seq)))
    }
}

/// Whether the start failed because of what the options name, not because of this process.
pub(crate) fn is_wrong(error: &anyhow::Error) -> bool {
    error.is::<RedisError>() || error.is::<FileError>() || error.is::<OpenError>() || error.is::<DataFolderError>()
}

/// Why the database is not open.
enum Attempt {
    /// It may be open later.
    Passing(String),
    /// Somebody has to do something.
    Final(OpenError),
}
