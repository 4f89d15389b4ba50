//! What the recorder writes: events of the log, each once, and how far it is.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use hubbub_protocol::{MessageId, Seq, UnixMillis};

use crate::{StoreError, message::Message};

/// How far the database has recorded a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The `seq` of the last entry of the log that was walked.
    pub seq: Seq,
    /// Base of the epoch of that entry.
    pub base: Seq,
}

/// Which log the database records, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The log.
    pub log_id: String,
    /// How far.
    pub cursor: Cursor,
    /// How long ago, by the clock of the database, a recorder of this log showed that it works.
    pub untouched_for: Duration,
    /// Grows with each touch: two readings tell whether somebody has touched the row in between.
    pub touched: UnixMillis,
}

/// Events of the log that follow each other, ready to be recorded.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where the cursor must stand.
    pub from: Cursor,
    /// Where it stands afterwards.
    pub to: Cursor,
    /// The messages among them, at most one of each (room, sender, id): of several, the one with the lowest place.
    pub messages: Vec<Message>,
    /// Those that cannot be recorded.
    pub dead_letters: Vec<DeadLetter>,
    /// The events of services among them: they have reached the log, so their rows of the outbox go.
    pub met: Vec<MessageId>,
    /// Parts of the log, first to last `seq`, that it lost before they were recorded. Pages of history show them.
    pub gaps: Vec<(Seq, Seq)>,
}

/// An event that the database refuses, or that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its `seq`.
    pub seq: Seq,
    /// What it is.
    pub kind: String,
    /// Its record, as it stands in the log.
    pub record: Vec<u8>,
    /// Why.
    pub error: String,
}

/// A row of the outbox: an event that has not been met in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: String,
    /// Its record.
    pub record: String,
}

/// What has become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is committed, with the cursor.
    Committed {
        /// Messages that are new.
        new: u64,
        /// Messages that the database had already, at the same or at another place.
        repeated: u64,
    },
    /// The cursor stands elsewhere, or in another log: another recorder was there. Nothing was written.
    Moved,
}

/// The database as the recorder writes it.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Which log is recorded. None: none yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn recording(&self) -> BoxFuture<'_, Result<Option<Recording>, StoreError>>;

    /// Begins to record this log from its first entry. False: another one was faster.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn begin<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Records a batch of this log and moves the cursor, in one transaction. A message is unique by room, sender and id: one that is
    /// there already keeps its content, and of two places the lower one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was written, or the answer to the commit was lost. In both cases the batch may be repeated.
    fn record<'a>(&'a self, log_id: &'a str, batch: &'a Batch) -> BoxFuture<'a, Result<Recorded, StoreError>>;

    /// Moves the cursor without recording anything: a clock went back, and the log goes on at another place. False: it
    /// was not at `from`, or the row names another log.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn skip<'a>(&'a self, log_id: &'a str, from: &'a Cursor, to: &'a Cursor)
    -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Shows that a recorder of this log works. False: the row names another log.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn touch<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Records another log from now on, from its first entry, if the row is still as it was read. The messages stay.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn take_over<'a>(&'a self, from: &'a Recording, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Notes that the database was restored: the entries in `gaps`, first to last `seq`, are neither in the database nor
    /// in the log any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn restored<'a>(&'a self, gaps: &'a [(Seq, Seq)]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The first rows of the outbox, at most `limit`, that are older than this by the clock of the database, of these kinds.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn unmet<'a>(
        &'a self,
        kinds: &'a [&'a str],
        older_than: Duration,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Unmet>, StoreError>>;

    /// Moves rows of the outbox that the log cannot take to the dead letters.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was written, or the answer to the commit was lost. The call may be repeated.
    fn give_up<'a>(&'a self, unmet: &'a [Unmet]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Deletes at most `limit` messages that were accepted longer ago than this, by the clock of the database: that of one
    /// instance may be wrong. Returns how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn prune(&self, older_than: Duration, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>>;
}
