//! The database of a world, and whether it has what was acked: each message once, at the place where it was seen first.

mod comparison;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use hubbub_messenger::{
    journal::{Cursor, Journal},
    message::{Archive, Message, PageRange},
};
use hubbub_protocol::{RoomId, Seq};
use hubbub_store::{Database, DatabaseOptions};
use hubbub_testbed::{
    Postgres,
    ledger::{Kept, Mark},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

pub(crate) use comparison::{Comparison, Row, Rows};

/// Messages of one page.
const PAGE: usize = 1000;
/// How often it is looked whether everything is recorded.
const LOOK: Duration = Duration::from_millis(100);

/// What keeps the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// One file, which all instances write.
    Sqlite,
    /// A server of its own.
    Postgres,
}

/// The database of a world.
pub(crate) struct History {
    pub(crate) url: String,
    /// Held while a fault is done to it. None: it is a file.
    pub(crate) server: Option<Mutex<Postgres>>,
}

impl History {
    /// An empty one, with its files in this folder.
    pub(crate) async fn start(engine: Engine, folder: &Path) -> Self {
        match engine {
            Engine::Sqlite => Self { url: format!("sqlite:{}", folder.join("hubbub.db").display()), server: None },
            Engine::Postgres => {
                let postgres = Postgres::durable().await;
                Self { url: postgres.database().await, server: Some(Mutex::new(postgres)) }
            }
        }
    }

    /// The same on a disk that every user can reach.
    pub(crate) async fn start_on(engine: Engine, disk: &Path) -> Self {
        match engine {
            Engine::Sqlite => Self::start(engine, disk).await,
            Engine::Postgres => {
                let postgres = Postgres::durable_in(disk).await;
                Self { url: postgres.database().await, server: Some(Mutex::new(postgres)) }
            }
        }
    }

    /// How far the log is recorded.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub(crate) async fn cursor(&self) -> Result<Cursor> {
        let database = self.open().await?;
        let recording = database.recording().await;
        database.close().await;
        Ok(recording?.map_or(Cursor { seq: 0, base: 0 }, |recording| recording.cursor))
    }

    /// Compares the rows with what was acked and seen, as soon as the log is recorded up to the highest `seq` that was acked.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or not everything is recorded in time.
    pub(crate) async fn compare(&self, rooms: &[RoomId], kept: &Kept, limit: Duration) -> Result<Comparison> {
        let database = self.open().await?;
        let until = Instant::now() + limit;
        loop {
            let recorded = database.recording().await?.map_or(0, |recording| recording.cursor.seq);
            if recorded >= kept.highest {
                break;
            }
            if Instant::now() >= until {
                bail!("recorded up to {recorded} within {limit:?}, and {} was acked", kept.highest);
            }
            sleep(LOOK).await;
        }
        let mut rows = Rows::default();
        for (number, room) in rooms.iter().enumerate() {
            read(&database, room, number, &mut rows).await?;
        }
        database.close().await;
        Ok(rows.compare(kept))
    }

    async fn open(&self) -> Result<Database> {
        let url = self.url.parse().context("the URL of the database")?;
        let options = DatabaseOptions { statement_timeout: Duration::from_secs(30), ..DatabaseOptions::default() };
        Ok(Database::open(&url, options).await?)
    }
}

/// Reads all messages of a room, page by page.
async fn read(database: &Database, room: &RoomId, number: usize, rows: &mut Rows) -> Result<()> {
    let mut before: Option<Seq> = None;
    loop {
        let page = database.page(room, PageRange { before, after: None, limit: PAGE }).await?;
        before = page.messages.first().map(|message| message.place);
        for message in &page.messages {
            match message.id.as_str().parse::<Mark>() {
                Ok(mark) => rows.named.entry(mark).or_default().push(row(mark, message, number)),
                Err(()) => rows.strange += 1,
            }
        }
        rows.gaps.extend(page.gaps);
        if !page.has_more {
            return Ok(());
        }
    }
}

/// A sender names itself, and begins each text with the name of the message.
fn row(mark: Mark, message: &Message, room: usize) -> Row {
    let is_intact = message.body.split(' ').next() == Some(&mark.to_string())
        && message.from.name.as_str() == format!("sender {}", mark.sender);
    Row { room, place: message.place, is_intact }
}
