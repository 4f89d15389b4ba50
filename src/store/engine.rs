//! The connections to either database, and their limits.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlitePool,
    pool::PoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::timeout;

use crate::{
    open_error::OpenError,
    options::DatabaseOptions,
    schema::{self, Migrated},
    url::{Location, Server},
};

/// Longer than any wait for a connection is expected to last: sqlx would log each one that does.
const NEVER_SLOW: Duration = Duration::from_hours(1);

/// A migration of a large database may take long, but not for ever.
const LONGEST_MIGRATION: Duration = Duration::from_hours(1);

/// The pages of the file that the writer keeps in memory, in KiB.
const WRITER_CACHE: &str = "-16384";

/// Above this the write-ahead log is cut after a checkpoint, in bytes.
const WAL_BYTES: &str = "67108864";

/// The connections to a database.
pub(crate) enum Engine {
    /// A file. SQLite has one writer at a time, so there is one connection that writes, and a queue for it.
    Sqlite {
        /// One connection.
        writer: SqlitePool,
        /// Others, which cannot write.
        readers: SqlitePool,
    },
    /// A server.
    Postgres {
        /// All connections.
        pool: PgPool,
        /// The longest that a connection is used at once. A server that does not answer would keep it for ever.
        limit: Duration,
    },
}

/// Runs the same code on a connection of either engine that may write.
macro_rules! writing {
    ($engine:expr, $connection:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Sqlite { writer, .. } => {
                let mut held = writer.acquire().await?;
                let $connection = &mut *held;
                $body
            }
            $crate::engine::Engine::Postgres { pool, limit } => {
                $crate::engine::on_server!(pool, limit, $connection => $body)
            }
        }
    };
}

/// Runs the same code on a connection of either engine that reads.
macro_rules! reading {
    ($engine:expr, $connection:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Sqlite { readers, .. } => {
                let mut held = readers.acquire().await?;
                let $connection = &mut *held;
                $body
            }
            $crate::engine::Engine::Postgres { pool, limit } => {
                $crate::engine::on_server!(pool, limit, $connection => $body)
            }
        }
    };
}

/// Runs code on a connection to a server. If the server does not answer at all, the connection is closed: put back, it
/// would wait for the answer for ever.
macro_rules! on_server {
    ($pool:expr, $limit:expr, $connection:ident => $body:expr) => {{
        let mut held = $pool.acquire().await?;
        let outcome = tokio::time::timeout(*$limit, async {
            let $connection = &mut *held;
            $body
        })
        .await;
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => {
                held.close_on_drop();
                Err(sqlx::Error::PoolTimedOut.into())
            }
        }
    }};
}

pub(crate) use {on_server, reading, writing};

impl Engine {
    /// Connects, and brings the schema up to date if that is wanted.
    pub(crate) async fn open(location: &Location, options: &DatabaseOptions) -> Result<Self, OpenError> {
        migrate(location, options.migrate, options.statement_timeout).await?;
        Ok(match location {
            Location::File(path) => Self::of_file(path, options),
            Location::Server(server) => Self::of_server(server, options),
        })
    }

    fn of_file(path: &Path, options: &DatabaseOptions) -> Self {
        let file = file(path, options.statement_timeout);
        let writer = file.clone().pragma("cache_size", WRITER_CACHE);
        let writer = limited(1, options.statement_timeout).connect_lazy_with(writer);
        let readers = limited(options.connections, options.statement_timeout).connect_lazy_with(file.read_only(true));
        Self::Sqlite { writer, readers }
    }

    fn of_server(server: &Server, options: &DatabaseOptions) -> Self {
        let settings = settings(options.statement_timeout);
        let pool = limited(options.connections, options.statement_timeout).after_connect(
            move |connection: &mut PgConnection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    let _done = connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
                    Ok(())
                })
            },
        );
        Self::Postgres {
            pool: pool.connect_lazy_with(server.options.clone()),
            limit: longest_use(options.statement_timeout),
        }
    }

    /// Closes all connections once they are free.
    pub(crate) async fn close(&self) {
        match self {
            // The last one to close writes everything into the file, and a reader could not.
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// The longest that one call uses a connection: a transaction has several statements.
pub(crate) const fn longest_use(statement_timeout: Duration) -> Duration {
    statement_timeout.saturating_mul(2).saturating_add(Duration::from_secs(1))
}

/// Brings the schema up to date, or finds that it is.
pub(crate) async fn migrate(location: &Location, change: bool, patience: Duration) -> Result<Migrated, OpenError> {
    match location {
        Location::File(path) => {
            create(path)?;
            let mut connection = file(path, patience).connect().await?;
            // A connection that may not write is found out now.
            sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut connection).await?;
            let migrated = schema::of_sqlite(&mut connection, change).await;
            connection.close().await?;
            migrated
        }
        Location::Server(server) => {
            for path in &server.files {
                readable(path)?;
            }
            let connect = timeout(patience, server.options.connect()).await;
            let mut connection = connect.map_err(|_| silent(patience))??;
            timeout(patience, fit(&mut connection)).await.map_err(|_| silent(patience))??;
            let migrated = timeout(LONGEST_MIGRATION, schema::of_postgres(&mut connection, change)).await;
            let migrated = migrated.map_err(|_| silent(LONGEST_MIGRATION))??;
            connection.close().await?;
            Ok(migrated)
        }
    }
}

fn silent(patience: Duration) -> OpenError {
    OpenError::Unreachable(format!("no answer in {patience:?}"))
}

/// The file, readable by nobody else if it is new.
fn create(path: &Path) -> Result<(), OpenError> {
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let sort = |error: io::Error| {
        let why = format!("{}: {error}", path.display());
        match error.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => OpenError::ReadOnly(why),
            _ => OpenError::File(why),
        }
    };
    opened.map(drop).map_err(sort)
}

fn readable(path: &Path) -> Result<(), OpenError> {
    let opened = OpenOptions::new().read(true).open(path);
    opened.map(drop).map_err(|error| OpenError::Tls(format!("{}: {error}", path.display())))
}

/// Whether the server can hold the history.
async fn fit(connection: &mut PgConnection) -> Result<(), OpenError> {
    let (encoding, read_only): (String, bool) =
        sqlx::query_as("SELECT current_setting('server_encoding'), current_setting('transaction_read_only') = 'on'")
            .fetch_one(connection)
            .await?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    if read_only {
        return Err(OpenError::Standby("its transactions are read-only".to_owned()));
    }
    Ok(())
}

fn limited<DB: sqlx::Database>(connections: u32, acquire_timeout: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(acquire_timeout)
        .acquire_slow_threshold(NEVER_SLOW)
}

/// `FULL`: a cursor that a power cut took back would find that the log was trimmed.
fn file(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(busy_timeout)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", WAL_BYTES)
        .disable_statement_logging()
}

/// What each connection of the pool begins with. The lower `random_page_cost` keeps the planner from scanning tables, and
/// without bitmaps it reads an index in its order, which a `LIMIT` can end. A session that a stopped instance left in a
/// transaction is ended, for it holds the row of the cursor. A commit is on the disk when it is answered, as with SQLite.
fn settings(statement_timeout: Duration) -> String {
    let millis = statement_timeout.as_millis();
    format!(
        "SET random_page_cost = 1.1; SET enable_bitmapscan = off; SET statement_timeout = {millis}; \
         SET idle_in_transaction_session_timeout = {millis}; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}
