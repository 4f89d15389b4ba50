//! A database in memory, that can fail in every way, be set back, and be built wrongly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_messenger::{
    StoreError,
    journal::{Batch, Cursor, DeadLetter, Journal, Recorded, Recording, Unmet},
    message::Message,
};
use hubbub_protocol::{Seq, UnixMillis};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::nap::Nap;

/// What the database refuses for good.
pub(super) const POISON: &str = "poison";

/// A store that is built wrongly, to show that the model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// The cursor moves in a transaction of its own.
    CursorApart,
    /// The cursor moves wherever it stands: the lease is trusted to keep others away.
    NoCompare,
}

#[derive(Clone, Debug)]
struct Row {
    log_id: String,
    cursor: Cursor,
    touched: UnixMillis,
    touched_at: Instant,
}

/// What a backup has.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    row: Option<Row>,
    pub(super) messages: BTreeMap<String, Message>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) gaps: BTreeSet<(Seq, Seq)>,
    /// By id: a row, and when it was written.
    pub(super) outbox: BTreeMap<String, (Unmet, Instant)>,
    /// The ids of rows that were met in the log.
    pub(super) met: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) tables: Tables,
    pub(super) flaw: Flaw,
    pub(super) is_away: bool,
    /// The most messages that it takes in time.
    pub(super) most: usize,
    /// From where to where each commit went.
    pub(super) commits: Vec<(Seq, Seq)>,
    pub(super) skips: u32,
    pub(super) moved: u32,
    pub(super) pruned: Vec<usize>,
    /// The clock of its server. Nothing but the age of messages depends on it.
    pub(super) clock: UnixMillis,
    /// Calls that panic before they do anything.
    pub(super) panics: u32,
}

impl Database {
    pub(super) fn new(flaw: Flaw) -> Self {
        let (tables, commits, pruned) = (Tables::default(), Vec::new(), Vec::new());
        Self {
            tables,
            flaw,
            is_away: false,
            most: usize::MAX,
            commits,
            skips: 0,
            moved: 0,
            pruned,
            clock: 0,
            panics: 0,
        }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.tables.row.as_ref().map(|row| row.cursor.clone())
    }

    pub(super) fn set_row(&mut self, log_id: &str, cursor: Cursor) {
        self.tables.row = Some(Row { log_id: log_id.into(), cursor, touched: 0, touched_at: Instant::now() });
    }

    /// A service has written this event.
    pub(super) fn tell(&mut self, id: &str, kind: &str, record: String) {
        let row = Unmet { id: id.into(), kind: kind.into(), record };
        self.tables.outbox.insert(id.into(), (row, Instant::now()));
    }

    pub(super) fn log_id(&self) -> Option<&str> {
        self.tables.row.as_ref().map(|row| row.log_id.as_str())
    }

    pub(super) fn touch(&mut self, log_id: &str) -> bool {
        let Some(row) = self.tables.row.as_mut().filter(|row| row.log_id == log_id) else { return false };
        (row.touched, row.touched_at) = (row.touched + 1, Instant::now());
        true
    }

    pub(super) fn touches(&self) -> UnixMillis {
        self.tables.row.as_ref().map_or(0, |row| row.touched)
    }

    fn recording(&self) -> Option<Recording> {
        let Row { log_id, cursor, touched, touched_at } = self.tables.row.clone()?;
        Some(Recording { log_id, cursor, untouched_for: touched_at.elapsed(), touched })
    }

    fn refuses(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.messages.iter().any(|message| message.body == POISON) {
            return Err(StoreError::Refused("poison".into()));
        }
        if batch.messages.len() > self.most {
            return Err(StoreError::Passing("too much at once".into()));
        }
        Ok(())
    }

    fn move_cursor(&mut self, log_id: &str, from: &Cursor, to: &Cursor) -> bool {
        let compares = self.flaw != Flaw::NoCompare;
        let row = self.tables.row.as_mut().filter(|row| !compares || (row.log_id == log_id && row.cursor == *from));
        row.map(|row| row.cursor = to.clone()).is_some()
    }

    fn take(&mut self, batch: &Batch) -> (u64, u64) {
        let Tables { messages, dead_letters, gaps, outbox, met, .. } = &mut self.tables;
        let (mut new, mut repeated) = (0, 0);
        for message in &batch.messages {
            if let Some(known) = messages.get_mut(message.id.as_str()) {
                known.place = known.place.min(message.place);
                repeated += 1;
            } else {
                messages.insert(message.id.as_str().into(), message.clone());
                new += 1;
            }
        }
        dead_letters.extend(batch.dead_letters.iter().cloned());
        gaps.extend(batch.gaps.iter().copied());
        for id in &batch.met {
            outbox.remove(id.as_str());
            met.insert(id.as_str().to_owned());
        }
        (new, repeated)
    }

    fn record(&mut self, log_id: &str, batch: &Batch) -> Result<Recorded, StoreError> {
        self.refuses(batch)?;
        if !self.move_cursor(log_id, &batch.from, &batch.to) {
            self.moved += 1;
            return Ok(Recorded::Moved);
        }
        self.commits.push((batch.from.seq, batch.to.seq));
        let (new, repeated) = self.take(batch);
        Ok(Recorded::Committed { new, repeated })
    }
}

/// The database as one recorder reaches it.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) database: Arc<Mutex<Database>>,
    pub(super) nap: Nap,
}

impl Writer {
    async fn call<T>(&self, call: impl FnOnce(&mut Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let was_heard = self.nap.there().await;
        if !was_heard || self.database.lock().is_away {
            return Err(StoreError::Passing("unheard".into()));
        }
        let panics = self.database.lock().panics;
        if panics > 0 {
            self.database.lock().panics = panics - 1;
            panic!("on purpose");
        }
        let answer = call(&mut self.database.lock())?;
        if self.nap.back().await { Ok(answer) } else { Err(StoreError::Passing("unanswered".into())) }
    }

    async fn record_apart(&self, log_id: &str, batch: &Batch) -> Result<Recorded, StoreError> {
        let moved = |database: &mut Database| {
            database.refuses(batch)?;
            Ok(database.move_cursor(log_id, &batch.from, &batch.to))
        };
        if !self.call(moved).await? {
            return Ok(Recorded::Moved);
        }
        let (new, repeated) = self.call(|database| Ok(database.take(batch))).await?;
        Ok(Recorded::Committed { new, repeated })
    }
}

impl Journal for Writer {
    fn recording(&self) -> BoxFuture<'_, Result<Option<Recording>, StoreError>> {
        self.call(|database| Ok(database.recording())).boxed()
    }

    fn begin<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let begin = move |database: &mut Database| {
            let is_first = database.tables.row.is_none();
            if is_first {
                database.set_row(log_id, Cursor { seq: 0, base: 0 });
            }
            Ok(is_first)
        };
        self.call(begin).boxed()
    }

    fn record<'a>(&'a self, log_id: &'a str, batch: &'a Batch) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        if self.database.lock().flaw == Flaw::CursorApart {
            return self.record_apart(log_id, batch).boxed();
        }
        self.call(move |database| database.record(log_id, batch)).boxed()
    }

    fn skip<'a>(
        &'a self,
        log_id: &'a str,
        from: &'a Cursor,
        to: &'a Cursor,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let skip = move |database: &mut Database| {
            let has_moved = database.move_cursor(log_id, from, to);
            database.skips += u32::from(has_moved);
            Ok(has_moved)
        };
        self.call(skip).boxed()
    }

    fn touch<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.call(move |database| Ok(database.touch(log_id))).boxed()
    }

    fn take_over<'a>(&'a self, from: &'a Recording, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let take_over = move |database: &mut Database| {
            let known = database.recording();
            let is_same = known.is_some_and(|row| {
                (row.log_id, row.cursor, row.touched) == (from.log_id.clone(), from.cursor.clone(), from.touched)
            });
            if is_same {
                database.set_row(log_id, Cursor { seq: 0, base: 0 });
            }
            Ok(is_same)
        };
        self.call(take_over).boxed()
    }

    fn restored<'a>(&'a self, gaps: &'a [(Seq, Seq)]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.call(move |database| {
            database.tables.gaps.extend(gaps.iter().copied());
            Ok(())
        })
        .boxed()
    }

    fn unmet<'a>(
        &'a self,
        kinds: &'a [&'a str],
        older_than: Duration,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Unmet>, StoreError>> {
        self.call(move |database| {
            let rows = database.tables.outbox.values();
            let old = rows.filter(|(row, at)| at.elapsed() > older_than && kinds.contains(&row.kind.as_str()));
            Ok(old.map(|(row, _)| row.clone()).take(limit).collect())
        })
        .boxed()
    }

    fn give_up<'a>(&'a self, unmet: &'a [Unmet]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.call(move |database| {
            for Unmet { id, kind, record } in unmet {
                database.tables.outbox.remove(id);
                let (kind, record) = (kind.clone(), record.clone().into_bytes());
                database.tables.dead_letters.push(DeadLetter { seq: 0, kind, record, error: String::new() });
            }
            Ok(())
        })
        .boxed()
    }

    fn prune(&self, older_than: Duration, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.call(move |database| {
            let before = database.clock.saturating_sub(older_than.as_millis().try_into().unwrap());
            let messages = &mut database.tables.messages;
            let old = messages.iter().filter(|(_, message)| message.at < before).map(|(id, _)| id.clone());
            let old: Vec<String> = old.take(limit).collect();
            messages.retain(|id, _| !old.contains(id));
            database.pruned.push(old.len());
            Ok(u64::try_from(old.len()).unwrap())
        })
        .boxed()
    }
}
