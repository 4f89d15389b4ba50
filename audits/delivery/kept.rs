//! The database of a world, and whether it has what was acked: each message once, at the place where it was seen first.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use hubbub_messenger::{
    journal::Journal,
    message::{Archive, PageRange},
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

/// Messages of one page.
const PAGE: usize = 1000;
/// How often it is looked whether everything is recorded.
const LOOK: Duration = Duration::from_millis(100);
/// Messages of each kind of trouble that are named.
const NAMED: usize = 5;

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
    pub(crate) async fn start(engine: Engine, directory: &Path) -> Self {
        match engine {
            Engine::Sqlite => Self { url: format!("sqlite:{}", directory.join("history.db").display()), server: None },
            Engine::Postgres => {
                let postgres = Postgres::durable().await;
                Self { url: postgres.database().await, server: Some(Mutex::new(postgres)) }
            }
        }
    }

    /// Compares the rows with what was acked, as soon as the log is recorded up to the highest `seq` that was seen. Returns
    /// what is wrong.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or not everything is recorded in time.
    pub(crate) async fn compare(&self, rooms: &[RoomId], kept: &Kept, limit: Duration) -> Result<Vec<String>> {
        let url = self.url.parse().context("the URL of the database")?;
        let options = DatabaseOptions { statement_timeout: Duration::from_secs(30), ..DatabaseOptions::default() };
        let database = Database::open(&url, options).await?;
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
        let mut rows = HashMap::<Mark, Vec<(usize, Seq)>>::new();
        for (number, room) in rooms.iter().enumerate() {
            for (mark, place) in everything(&database, room).await? {
                rows.entry(mark).or_default().push((number, place));
            }
        }
        database.close().await;
        Ok(troubles(&rows, &kept.acked))
    }
}

/// All messages of a room, page by page.
async fn everything(database: &Database, room: &RoomId) -> Result<Vec<(Mark, Seq)>> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = database.page(room, PageRange { before, after: None, limit: PAGE }).await?;
        before = page.messages.first().map(|message| message.place);
        all.extend(page.messages.iter().filter_map(|message| Some((message.id.as_str().parse().ok()?, message.place))));
        if !page.has_more {
            return Ok(all);
        }
    }
}

/// What is wrong with the rows: of each kind, how many, and the first of them.
fn troubles(rows: &HashMap<Mark, Vec<(usize, Seq)>>, acked: &BTreeMap<Mark, (usize, Seq)>) -> Vec<String> {
    let mut found = BTreeMap::<&str, Vec<String>>::new();
    for (mark, (room, place)) in acked {
        let at = rows.get(mark).map_or(&[][..], Vec::as_slice);
        let what = match at {
            [] => "missing in the database",
            [(row_room, row)] if row_room == room && row == place => continue,
            [_] => "at another place in the database",
            _ => "more than once in the database",
        };
        found
            .entry(what)
            .or_default()
            .push(format!("{mark}: acked or seen first at {place} in room {room}, rows {at:?}"));
    }
    let line = |(what, cases): (&str, Vec<String>)| {
        let first: Vec<_> = cases.iter().take(NAMED).cloned().collect();
        format!("{} of {} acked are {what}: {}", cases.len(), acked.len(), first.join("; "))
    };
    found.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mark(n: usize) -> Mark {
        Mark { sender: 0, n }
    }

    #[test]
    fn what_is_missing_twice_or_elsewhere_is_found() {
        let acked = BTreeMap::from([(mark(0), (0, 10)), (mark(1), (0, 11)), (mark(2), (1, 12)), (mark(3), (1, 13))]);
        let mut rows = HashMap::from([
            (mark(0), vec![(0, 10)]),
            (mark(1), vec![(0, 11)]),
            (mark(2), vec![(1, 12)]),
            (mark(3), vec![(1, 13)]),
            (mark(4), vec![(1, 14)]),
        ]);
        assert_eq!(troubles(&rows, &acked), Vec::<String>::new(), "what was not acked may be there");
        rows.remove(&mark(0));
        rows.insert(mark(1), vec![(0, 11), (0, 15)]);
        rows.insert(mark(2), vec![(1, 16)]);
        rows.insert(mark(3), vec![(0, 13)]);
        let found = troubles(&rows, &acked);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("2 of 4 acked are at another place"), "{found:?}");
        assert!(found[1].starts_with("1 of 4 acked are missing") && found[2].starts_with("1 of 4 acked are more"));
    }
}
