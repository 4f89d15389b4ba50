//! What the recorder writes.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_messenger::{
    StoreError,
    journal::{Batch, Cursor, Journal, Recorded, Recording, Unmet},
};
use hubbub_protocol::Seq;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{
    database::Database,
    engine::{Engine, on_server, reading, writing},
    fault::Fault,
    postgres::{self, Columns},
    rows::{Rows, number},
    sqlite::{self, Texts},
};

/// Each touch is later than the one before, also if the clock of the database went back.
macro_rules! touching {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " touched = (SELECT CASE WHEN clock.millis > recorder.touched THEN clock.millis \
              ELSE recorder.touched + 1 END FROM clock) ",
            $after
        )
    };
}

const RECORDING: &str = "SELECT log_id, seq, base, touched, millis FROM recorder CROSS JOIN clock WHERE id = 1";

const BEGIN: &str = "INSERT INTO recorder (id, log_id, seq, base, touched) \
     SELECT 1, CAST($1 AS TEXT), 0, 0, millis FROM clock WHERE true ON CONFLICT (id) DO NOTHING";

const MOVE: &str =
    touching!("UPDATE recorder SET seq = $1, base = $2,", "WHERE id = 1 AND seq = $3 AND base = $4 AND log_id = $5");

const TOUCH: &str = touching!("UPDATE recorder SET", "WHERE id = 1 AND log_id = $1");

const TAKE_OVER: &str = touching!(
    "UPDATE recorder SET log_id = $1, seq = 0, base = 0,",
    "WHERE id = 1 AND log_id = $2 AND seq = $3 AND base = $4 AND touched = $5"
);

/// A part of the log may be walked again: a letter stands once.
const DEAD_LETTER: &str = "INSERT INTO dead_letters (seq, kind, record, error, at) \
     SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), $3, CAST($4 AS TEXT), millis FROM clock \
     WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE seq = CAST($1 AS BIGINT) AND record = $3)";

const GAP: &str = "INSERT INTO gaps (first_seq, last_seq, noted_at) \
     SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), millis FROM clock WHERE true ON CONFLICT (first_seq, last_seq) DO NOTHING";

/// The kinds as a text with commas.
const UNMET: &str = "SELECT o.id, o.kind, o.record FROM outbox AS o CROSS JOIN clock \
     WHERE o.created_at < clock.millis - $1 AND ',' || CAST($2 AS TEXT) || ',' LIKE '%,' || o.kind || ',%' \
     ORDER BY o.created_at, o.id LIMIT $3";

const GIVE_UP: &str = "DELETE FROM outbox WHERE id = $1";

/// Runs a statement that changes one row, or none, and says whether it did.
macro_rules! changed {
    ($database:expr, $statement:expr, $($value:expr),+) => {{
        let engine = Arc::clone(&$database.engine);
        $database.run(async move {
            writing!(&*engine, connection => {
                let done = sqlx::query($statement)$(.bind($value))+.execute(connection).await;
                done.map(|done| done.rows_affected() == 1).map_err(Fault::from)
            })
        })
    }};
}

impl Journal for Database {
    fn recording(&self) -> BoxFuture<'_, Result<Option<Recording>, StoreError>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let row: Option<(String, i64, i64, i64, i64)> = reading!(&*engine, connection => {
                sqlx::query_as(RECORDING).fetch_optional(connection).await.map_err(Fault::from)
            })?;
            Ok(row.map(|(log_id, seq, base, touched, now)| Recording {
                log_id,
                cursor: Cursor { seq: seq.unsigned_abs(), base: base.unsigned_abs() },
                untouched_for: Duration::from_millis(now.saturating_sub(touched).max(0).unsigned_abs()),
                touched: touched.unsigned_abs(),
            }))
        })
        .boxed()
    }

    fn begin<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let log_id = log_id.to_owned();
        changed!(self, BEGIN, log_id).boxed()
    }

    fn record<'a>(&'a self, log_id: &'a str, batch: &'a Batch) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        let (engine, log_id, batch) = (Arc::clone(&self.engine), log_id.to_owned(), batch.clone());
        self.run(async move {
            match &*engine {
                Engine::Sqlite { writer, .. } => into_sqlite(&mut *writer.acquire().await?, &log_id, &batch).await,
                Engine::Postgres { pool, limit } => {
                    on_server!(pool, limit, connection => into_postgres(connection, &log_id, &batch).await)
                }
            }
        })
        .boxed()
    }

    fn skip<'a>(
        &'a self,
        log_id: &'a str,
        from: &'a Cursor,
        to: &'a Cursor,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let log_id = log_id.to_owned();
        let [to_seq, to_base, seq, base] = [to.seq, to.base, from.seq, from.base].map(Seq::cast_signed);
        changed!(self, MOVE, to_seq, to_base, seq, base, log_id).boxed()
    }

    fn touch<'a>(&'a self, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let log_id = log_id.to_owned();
        changed!(self, TOUCH, log_id).boxed()
    }

    fn take_over<'a>(&'a self, from: &'a Recording, log_id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (log_id, former) = (log_id.to_owned(), from.log_id.clone());
        let [seq, base, touched] = [from.cursor.seq, from.cursor.base, from.touched].map(Seq::cast_signed);
        changed!(self, TAKE_OVER, log_id, former, seq, base, touched).boxed()
    }

    fn restored<'a>(&'a self, gaps: &'a [(Seq, Seq)]) -> BoxFuture<'a, Result<(), StoreError>> {
        let gaps = gaps.iter().map(|&(first, last)| Ok((number(first)?, number(last)?))).collect();
        let (engine, gaps): (_, Result<Vec<_>, Fault>) = (Arc::clone(&self.engine), gaps);
        self.run(async move {
            let gaps = gaps?;
            writing!(&*engine, connection => async {
                let mut transaction = connection.begin().await?;
                for (first, last) in gaps {
                    let _added = sqlx::query(GAP).bind(first).bind(last).execute(&mut *transaction).await?;
                }
                Ok::<_, Fault>(transaction.commit().await?)
            }.await)
        })
        .boxed()
    }

    fn unmet<'a>(
        &'a self,
        kinds: &'a [&'a str],
        older_than: Duration,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Unmet>, StoreError>> {
        let (engine, kinds) = (Arc::clone(&self.engine), kinds.join(","));
        let age = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(async move {
            let rows: Vec<(String, String, String)> = reading!(&*engine, connection => {
                let query = sqlx::query_as(UNMET).bind(age).bind(kinds).bind(limit);
                query.fetch_all(connection).await.map_err(Fault::from)
            })?;
            Ok(rows.into_iter().map(|(id, kind, record)| Unmet { id, kind, record }).collect())
        })
        .boxed()
    }

    fn give_up<'a>(&'a self, unmet: &'a [Unmet]) -> BoxFuture<'a, Result<(), StoreError>> {
        let (engine, unmet) = (Arc::clone(&self.engine), unmet.to_vec());
        self.run(async move {
            writing!(&*engine, connection => async {
                let mut transaction = connection.begin().await?;
                for Unmet { id, kind, record } in unmet {
                    let query = sqlx::query(DEAD_LETTER).bind(0_i64).bind(kind).bind(record.into_bytes());
                    let query = query.bind("the log cannot take it from the outbox");
                    let _added = query.execute(&mut *transaction).await?;
                    let _gone = sqlx::query(GIVE_UP).bind(id).execute(&mut *transaction).await?;
                }
                Ok::<_, Fault>(transaction.commit().await?)
            }.await)
        })
        .boxed()
    }

    fn prune(&self, older_than: Duration, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        let engine = Arc::clone(&self.engine);
        let age = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(async move {
            let statement = match &*engine {
                Engine::Sqlite { .. } => sqlite::PRUNE,
                Engine::Postgres { .. } => postgres::PRUNE,
            };
            writing!(&*engine, connection => {
                let done = sqlx::query(statement).bind(age).bind(limit).execute(connection).await;
                done.map(|done| done.rows_affected()).map_err(Fault::from)
            })
        })
        .boxed()
    }
}

/// The steps of a transaction that records a batch. The cursor first: another recorder waits there, and then finds it
/// moved.
macro_rules! record {
    ($transaction:ident, $log_id:ident, $batch:ident, $rows:ident) => {{
        let [to, from] = [&$batch.to, &$batch.from].map(|cursor| [cursor.seq, cursor.base].map(Seq::cast_signed));
        let moving = sqlx::query(MOVE).bind(to[0]).bind(to[1]).bind(from[0]).bind(from[1]).bind($log_id);
        if moving.execute(&mut *$transaction).await?.rows_affected() == 0 {
            $transaction.rollback().await?;
            return Ok(Recorded::Moved);
        }
        let all = u64::try_from($batch.messages.len()).unwrap_or(u64::MAX);
        let mut new = 0;
        if all > 0 {
            new = $rows.insert(&mut $transaction).await?;
            $rows.raise(&mut $transaction).await?;
        }
        // Only then some were there, and may have come with a lower place.
        if new < all && $rows.lower(&mut $transaction).await? > 0 {
            let _settled = $rows.settle(&mut $transaction).await?;
        }
        for letter in &$batch.dead_letters {
            let query = sqlx::query(DEAD_LETTER).bind(letter.seq.cast_signed()).bind(readable(&letter.kind));
            let query = query.bind(&letter.record).bind(readable(&letter.error));
            let _added = query.execute(&mut *$transaction).await?;
        }
        for (first, last) in &$batch.gaps {
            let (first, last) = (number(*first)?, number(*last)?);
            let _added = sqlx::query(GAP).bind(first).bind(last).execute(&mut *$transaction).await?;
        }
        if !$batch.met.is_empty() {
            let _gone = $rows.meet(&mut $transaction).await?;
        }
        $transaction.commit().await?;
        Ok(Recorded::Committed { new, repeated: all - new })
    }};
}

async fn into_sqlite(connection: &mut SqliteConnection, log_id: &str, batch: &Batch) -> Result<Recorded, Fault> {
    let texts = Texts::of(&Rows::of(batch)?)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    record!(transaction, log_id, batch, texts)
}

async fn into_postgres(connection: &mut PgConnection, log_id: &str, batch: &Batch) -> Result<Recorded, Fault> {
    let rows = Rows::of(batch)?;
    let columns = Columns { rows: &rows };
    let mut transaction = connection.begin().await?;
    record!(transaction, log_id, batch, columns)
}

/// Postgres keeps no U+0000, and a dead letter must not be refused in its turn.
fn readable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
