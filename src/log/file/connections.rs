//! The connections to the file, and how they are opened.

use std::{
    fs::{self, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tracing::debug;

use super::{Durability, error::FileError, table};

/// How long a statement waits for another process that writes to the file.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the keeper does. Appends may wait for it.
const PATIENCE_OF_KEEPER: Duration = Duration::from_millis(50);
/// Pages of the write-ahead log at which the writer moves them into the file itself: the keeper does not keep up.
const BACKSTOP: &str = "16384";

/// A connection for one caller at a time, who holds its lock while SQLite works.
#[derive(Debug)]
pub(super) struct Line(Mutex<Option<SqliteConnection>>);

impl Line {
    fn new(connection: SqliteConnection) -> Self {
        Self(Mutex::new(Some(connection)))
    }

    /// Waits for its turn. Cancel safe.
    ///
    /// # Errors
    ///
    /// The line is closed.
    pub(super) async fn take(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, sqlx::Error> {
        let guard = MutexGuard::try_map(self.0.lock().await, Option::as_mut);
        guard.map_err(|_| sqlx::Error::Io(io::Error::other("the file is closed")))
    }

    async fn close(&self) {
        if let Some(connection) = self.0.lock().await.take()
            && let Err(error) = connection.close().await
        {
            debug!(%error, "could not close the file of the log in order");
        }
    }
}

/// All connections to the file. Who needs two of them takes them in this order.
#[derive(Debug)]
pub(super) struct Connections {
    /// Deletes what is trimmed, and moves the write-ahead log into the file. It does not wait for the disk: a power cut
    /// may take what it did, which is then done again.
    pub(super) keeper: Line,
    /// Appends, and opens epochs. Whoever holds it is the only one that writes.
    pub(super) writer: Line,
    /// Reads beside the others.
    pub(super) reader: Line,
    /// Locked as long as the file is open.
    lock: fs::File,
}

impl Connections {
    /// Opens the file, and makes it if there is none.
    pub(super) async fn open(path: &Path, durability: Durability) -> Result<Self, FileError> {
        if path.is_dir() {
            return Err(FileError::Folder(path.to_owned()));
        }
        let lock = lock(path)?;
        private(path).map_err(|error| FileError::of_io(path, &error))?;
        let explain = |error| FileError::of(path, &error);
        let synchronous = match durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Normal => SqliteSynchronous::Normal,
        };
        let writer = options(path, synchronous, PATIENCE).pragma("wal_autocheckpoint", BACKSTOP);
        let mut writer = writer.connect().await.map_err(explain)?;
        match table::origin(&mut writer).await.map_err(explain)? {
            None => table::create(&mut writer).await.map_err(explain)?,
            Some((table::APPLICATION, table::FORMAT)) => (),
            Some((table::APPLICATION, format)) => {
                return Err(FileError::Newer(path.to_owned(), format, table::FORMAT));
            }
            Some(_) => return Err(FileError::Foreign(path.to_owned())),
        }
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut writer).await.map_err(explain)?;
        if mode != "wal" {
            let reason = "its file system has no shared memory: choose a folder on a local disk";
            return Err(FileError::Other(path.to_owned(), reason.to_owned()));
        }
        let beside = |patience| options(path, SqliteSynchronous::Normal, patience).pragma("wal_autocheckpoint", "0");
        Ok(Self {
            keeper: Line::new(beside(PATIENCE_OF_KEEPER).connect().await.map_err(explain)?),
            reader: Line::new(beside(PATIENCE).connect().await.map_err(explain)?),
            writer: Line::new(writer),
            lock,
        })
    }

    /// Lets go of the file. Nothing is done with it afterwards.
    pub(super) async fn close(&self) {
        self.keeper.close().await;
        self.reader.close().await;
        // the last one moves everything into the file
        self.writer.close().await;
        if let Err(error) = self.lock.unlock() {
            debug!(%error, "could not unlock the file of the log");
        }
    }
}

fn options(path: &Path, synchronous: SqliteSynchronous, patience: Duration) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.synchronous(synchronous).busy_timeout(patience).disable_statement_logging()
}

/// Makes the file, if it is missing, for its user alone. SQLite gives the files beside it the same rights.
fn private(path: &Path) -> io::Result<()> {
    fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(path).map(drop)
}

/// Locks a file beside it. SQLite's own locks let a second process in.
fn lock(path: &Path) -> Result<fs::File, FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(name);
    let file = file.map_err(|error| FileError::of_io(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FileError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(FileError::of_io(path, &error)),
    }
}
