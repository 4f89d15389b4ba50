//! `hubbub migrate` and `hubbub restored`: what is done to a database beside serving from it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use hubbub_lifecycle::Shutdown;
use hubbub_log::{
    RelayOptions,
    ring::{Retention, Ring},
};
use hubbub_messenger::journal::Journal;
use hubbub_recorder::{Restored, restored};
use hubbub_store::{Database, DatabaseOptions, Migrated};

use super::{
    config::{Durable, PlaceArgs, RedisArgs},
    storage::{FOLDER_PATIENCE, LogPlace},
};

/// How long the log may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Which log and which database.
#[derive(Clone, Debug, Args)]
pub(crate) struct DatabaseCommand {
    #[command(flatten)]
    redis: RedisArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

impl DatabaseCommand {
    /// Brings the schema up to date. Returns a sentence for whoever ran the command.
    ///
    /// # Errors
    ///
    /// No database is named, or its schema cannot be changed.
    pub(crate) async fn migrate(&self) -> anyhow::Result<String> {
        let log = self.log();
        let Some(url) = log.database(&self.place)? else { bail!("there is no database: see --database-url") };
        let _folder = log.lock(FOLDER_PATIENCE).await?;
        let Migrated { from, to } = Database::migrate(&url).await.context("--database-url")?;
        Ok(if from == to {
            format!("The schema of {url} is up to date: version {to}.")
        } else {
            format!("The schema of {url} is now version {to}. It was version {from}.")
        })
    }

    /// Lets the recording go on after the database was restored. Returns a sentence for whoever ran the command.
    ///
    /// # Errors
    ///
    /// The log or the database cannot be reached, or they do not belong together.
    pub(crate) async fn restored(&self) -> anyhow::Result<String> {
        let log = self.log();
        let Some(url) = log.database(&self.place)? else { bail!("there is no database: see --database-url") };
        let _folder = log.lock(FOLDER_PATIENCE).await?;
        let database = Database::open(&url, DatabaseOptions { migrate: false, ..DatabaseOptions::default() })
            .await
            .context("--database-url")?;
        let recording = database.recording().await?;
        let floor = recording.map_or(0, |recording| recording.cursor.seq);
        let shutdown = Shutdown::default();
        let options = RelayOptions { floor, ..RelayOptions::default() };
        let (relay, _) = log.start(Arc::new(Ring::new(Retention::default())), options, &shutdown).await?;
        let done = restored(&database, &relay.tail()).await;
        relay.close(CLOSE_DEADLINE).await;
        database.close().await;
        let Restored { before, recorded, gaps } = done?;
        Ok(if before <= recorded && gaps.is_empty() {
            format!("The database has everything up to {recorded} that was recorded. Nothing had to be done.")
        } else if gaps.is_empty() {
            format!("The recording goes on from {recorded}. The log still has everything above it.")
        } else {
            let lost: Vec<_> = gaps.iter().map(|(first, last)| format!("{first} to {last}")).collect();
            format!("The recording goes on from {recorded}. Lost, and noted in the database: {}.", lost.join(", "))
        })
    }

    fn log(&self) -> LogPlace {
        LogPlace::of(&self.redis, &self.place, Durable::Full)
    }
}
