//! The statements on the file.
//!
//! Rows are read as one text, and written from one: a row of its own costs several times as much.

use bytes::Bytes;
use hubbub_protocol::{Seq, UnixMillis};
use sqlx::{Executor, SqliteConnection};

use crate::{
    backend::{LogEntry, Submission},
    identity::ContentHash,
    kind::Kind,
    marker::Marker,
};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The format of the file, in its `user_version`. A change of the tables makes it one more.
pub(super) const FORMAT: i64 = 1;

/// The program that the file belongs to, in its `application_id`.
pub(super) const APPLICATION: i64 = 0x4875_6262;

const CREATE: &str = "
BEGIN IMMEDIATE;
-- at: when it was appended, in ms since 1970; was: its former seq, or 0; total: bytes of all records up to this one
CREATE TABLE log (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, was INTEGER NOT NULL, key TEXT NOT NULL,
  hash INTEGER NOT NULL, total INTEGER NOT NULL, record TEXT NOT NULL
) STRICT;
-- the beginnings of the epochs; they are no rows of log
CREATE TABLE marker (base INTEGER PRIMARY KEY, cut INTEGER NOT NULL, low INTEGER NOT NULL) STRICT;
-- rows up to trimmed are no part of the log any more
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1), log_id TEXT NOT NULL, recorded INTEGER NOT NULL, trimmed INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, lower(hex(randomblob(16))), 0, 0);
PRAGMA application_id = 1215652450;
PRAGMA user_version = 1;
COMMIT;
";

/// The first seq, the time, the bytes before, the records in a row, and for each entry its kind, `was`, key, hash, the
/// beginning and the length of its record.
const APPEND: &str = "
INSERT INTO log (seq, at, kind, was, key, hash, total, record)
SELECT ?1 + key, ?2, value->>0, value->>1, value->>2, value->>3, ?3 + (value->>4) + (value->>5),
  CAST(substr(?4, (value->>4) + 1, value->>5) AS TEXT)
FROM json_each(?5)";

const READ: &str = "
SELECT group_concat(line, char(10)) FROM (
  SELECT seq || ' ' || was || ' ' || kind || ' ' || record AS line
  FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3
)";

const KEYS: &str = "
SELECT json_group_array(json_array(seq, at, hash, key)) FROM (
  SELECT seq, at, hash, key FROM log WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 5000
)";

const DELETE: &str = "
DELETE FROM log WHERE seq <= (SELECT max(seq) FROM (SELECT seq FROM log WHERE seq <= ?1 ORDER BY seq LIMIT ?2))";

/// All but the latest markers and that of the oldest epoch of which something is left.
const DELETE_MARKERS: &str = "
DELETE FROM marker WHERE base < ?1 AND base < (SELECT max(base) FROM marker WHERE base <= ?2)";

/// The key of an entry: its `seq`, when it was appended, the hash of what it says, the key.
pub(super) type KeyRow = (Seq, UnixMillis, ContentHash, String);

/// What stands in the file beside the log.
pub(super) struct State {
    pub(super) log_id: String,
    pub(super) recorded: Seq,
    pub(super) trimmed: Seq,
}

/// A place as SQLite has it. None is above 2^53.
fn integer(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn seq(integer: i64) -> Seq {
    Seq::try_from(integer).unwrap_or(0)
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// The file's own program and format; None of an empty file.
pub(super) async fn origin(connection: &mut SqliteConnection) -> Result<Option<(i64, i64)>> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(connection).await?;
    Ok(((application, format, tables) != (0, 0, 0)).then_some((application, format)))
}

/// Makes the tables in an empty file.
pub(super) async fn create(connection: &mut SqliteConnection) -> Result<()> {
    connection.execute(sqlx::raw_sql(CREATE)).await?;
    Ok(())
}

pub(super) async fn state(connection: &mut SqliteConnection) -> Result<State> {
    let row = sqlx::query_as("SELECT log_id, recorded, trimmed FROM state").fetch_one(connection).await?;
    let (log_id, recorded, trimmed): (String, i64, i64) = row;
    Ok(State { log_id, recorded: seq(recorded), trimmed: seq(trimmed) })
}

/// The markers above a place, ascending.
pub(super) async fn markers(connection: &mut SqliteConnection, after: Seq) -> Result<Vec<Marker>> {
    let rows = sqlx::query_as("SELECT base, cut, low FROM marker WHERE base > ?1 ORDER BY base");
    let rows: Vec<(i64, i64, i64)> = rows.bind(integer(after)).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(base, cut, low)| Marker { base: seq(base), cut: seq(cut), low: seq(low) }).collect())
}

/// The last row, with the bytes of all records up to it.
pub(super) async fn last(connection: &mut SqliteConnection) -> Result<Option<(Seq, u64)>> {
    let row = sqlx::query_as("SELECT seq, total FROM log ORDER BY seq DESC LIMIT 1");
    let row: Option<(i64, i64)> = row.fetch_optional(connection).await?;
    Ok(row.map(|(last, total)| (seq(last), total.unsigned_abs())))
}

/// Bytes of all records up to a place. None: nothing is above it.
pub(super) async fn total_up_to(connection: &mut SqliteConnection, place: Seq) -> Result<Option<u64>> {
    let total = sqlx::query_scalar("SELECT total - octet_length(record) FROM log WHERE seq > ?1 ORDER BY seq LIMIT 1");
    let total: Option<i64> = total.bind(integer(place)).fetch_optional(connection).await?;
    Ok(total.map(i64::unsigned_abs))
}

/// The keys of some rows between two places, both excluded. Newest first, and none only if there is none.
pub(super) async fn keys(connection: &mut SqliteConnection, after: Seq, before: Seq) -> Result<Vec<KeyRow>> {
    let text = sqlx::query_scalar(KEYS).bind(integer(after)).bind(integer(before));
    let text: String = text.fetch_one(connection).await?;
    let mut rows: Vec<(Seq, UnixMillis, i64, String)> = serde_json::from_str(&text).map_err(unreadable)?;
    rows.sort_unstable_by_key(|(seq, ..)| std::cmp::Reverse(*seq));
    Ok(rows.into_iter().map(|(seq, at, hash, key)| (seq, at, ContentHash::from_bits(hash), key)).collect())
}

/// Appends entries, the first of them at `first`. `written`: the bytes of all records before.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    first: Seq,
    at: UnixMillis,
    written: u64,
    entries: &[&Submission],
) -> Result<()> {
    let mut records = Vec::with_capacity(entries.iter().map(|entry| entry.record.len()).sum());
    let mut rows = Vec::with_capacity(entries.len());
    for Submission { kind, key, hash, record, was, .. } in entries {
        rows.push((kind.name(), was, key, hash.to_bits(), records.len(), record.len()));
        records.extend_from_slice(record);
    }
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let append = sqlx::query(APPEND).bind(integer(first)).bind(integer(at)).bind(integer(written));
    append.bind(records).bind(rows).execute(connection).await?;
    Ok(())
}

pub(super) async fn open_epoch(connection: &mut SqliteConnection, marker: Marker) -> Result<()> {
    let Marker { base, cut, low } = marker;
    let insert = sqlx::query("INSERT INTO marker (base, cut, low) VALUES (?1, ?2, ?3)");
    insert.bind(integer(base)).bind(integer(cut)).bind(integer(low)).execute(connection).await?;
    Ok(())
}

/// The rows above `after`, up to `last`, at most `limit`, ascending.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    after: Seq,
    last: Seq,
    limit: usize,
) -> Result<Vec<LogEntry>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let text = sqlx::query_scalar(READ).bind(integer(after)).bind(integer(last)).bind(limit);
    let text: Option<String> = text.fetch_one(connection).await?;
    let Some(text) = text else { return Ok(Vec::new()) };
    let text = Bytes::from(text);
    let lines = text.split(|byte| *byte == b'\n');
    let mut entries: Vec<LogEntry> = lines
        .map(|line| entry(&text, line))
        .collect::<Option<_>>()
        .ok_or_else(|| sqlx::Error::Decode("a row of the log cannot be read".into()))?;
    // SQLite promises no order for what is concatenated
    entries.sort_by_key(LogEntry::seq);
    Ok(entries)
}

/// A line of `READ`, a part of `text`.
fn entry(text: &Bytes, line: &[u8]) -> Option<LogEntry> {
    let mut words = std::str::from_utf8(line).ok()?.splitn(4, ' ');
    let (seq, was) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (kind, record) = (Kind::named(words.next()?)?, words.next()?);
    Some(LogEntry::of_kind(kind, seq, was, text.slice_ref(record.as_bytes())))
}

pub(super) async fn set_recorded(connection: &mut SqliteConnection, recorded: Seq) -> Result<()> {
    sqlx::query("UPDATE state SET recorded = ?1").bind(integer(recorded)).execute(connection).await?;
    Ok(())
}

pub(super) async fn set_trimmed(connection: &mut SqliteConnection, trimmed: Seq) -> Result<()> {
    sqlx::query("UPDATE state SET trimmed = ?1").bind(integer(trimmed)).execute(connection).await?;
    Ok(())
}

/// Deletes the first rows up to a place, at most `limit`. Returns how many.
pub(super) async fn delete(connection: &mut SqliteConnection, last: Seq, limit: u32) -> Result<u64> {
    let deleted = sqlx::query(DELETE).bind(integer(last)).bind(limit).execute(connection).await?;
    Ok(deleted.rows_affected())
}

/// Deletes markers that nobody needs any more. `kept`: base of the oldest of the latest markers.
pub(super) async fn delete_markers(connection: &mut SqliteConnection, kept: Seq, trimmed: Seq) -> Result<()> {
    sqlx::query(DELETE_MARKERS).bind(integer(kept)).bind(integer(trimmed)).execute(connection).await?;
    Ok(())
}

/// Moves what it can from the write-ahead log into the file, beside a writer. Returns the pages of the write-ahead log.
pub(super) async fn checkpoint(connection: &mut SqliteConnection) -> Result<i64> {
    let (_, pages, _) = run_checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
    Ok(pages)
}

/// Moves everything from the write-ahead log into the file, and empties it. No one else must use the file meanwhile.
pub(super) async fn truncate(connection: &mut SqliteConnection) -> Result<()> {
    run_checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
    Ok(())
}

/// Whether it was held up, the pages of the write-ahead log, and how many of them are in the file.
async fn run_checkpoint(connection: &mut SqliteConnection, statement: &'static str) -> Result<(i64, i64, i64)> {
    sqlx::query_as(statement).fetch_one(connection).await
}
