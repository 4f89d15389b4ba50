//! Why a database cannot be opened, and what to do.

use std::io::ErrorKind;

use sqlx::migrate::MigrateError;

use crate::fault::sqlite_result;

/// The database cannot be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not answer, or another process keeps it busy. The same call may succeed later.
    #[error("the database cannot be reached now: {0}")]
    Unreachable(String),
    /// The user or the password is wrong, or this host may not connect.
    #[error("the database refuses this user: {0}. Check user and password of the URL, and pg_hba.conf of the server")]
    Credentials(String),
    /// The server has no such database.
    #[error("the server has no such database: {0}. Create it: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0")]
    NoDatabase(String),
    /// The user may connect, but not do what is needed.
    #[error("the user lacks a right in the database: {0}. Make it the owner of the database")]
    Forbidden(String),
    /// No encrypted connection that the URL's `sslmode` accepts.
    #[error("no TLS to the database: {0}. Check `sslmode` and `sslrootcert` in the URL, and the server's certificate")]
    Tls(String),
    /// The server takes no writes now: it is a standby, or was told so. After a failover this passes.
    #[error("the database takes no writes now: {0}. If this lasts, name the primary server")]
    Standby(String),
    /// Nothing can be written.
    #[error("the database is read-only: {0}. Make the file and its folder writable")]
    ReadOnly(String),
    /// The file cannot be opened or created.
    #[error("the database file cannot be opened: {0}. Check its folder and the rights of this user")]
    File(String),
    /// The file is not a database, or not all of it.
    #[error("the database file is damaged or no database: {0}. Restore it from a backup, or name another file")]
    Damaged(String),
    /// The file belongs to another program.
    #[error("the database file belongs to another program. Name another file")]
    Foreign,
    /// The server keeps text in an encoding that cannot hold everything.
    #[error("the database has the encoding {0}. Create it with ENCODING 'UTF8' TEMPLATE template0")]
    Encoding(String),
    /// A newer release has changed the schema, and this release cannot use it.
    #[error("the database has schema {found}, and this release knows {known} at most. Start the newer release again")]
    Newer {
        /// The version of the database.
        found: i64,
        /// The newest version of this release.
        known: i64,
    },
    /// The schema is old, and it is not to be changed.
    #[error("the database lacks schema {0}. Run `hubbub migrate`, or start with `--migrate auto`")]
    Outdated(i64),
    /// A migration was applied in another form.
    #[error("schema {0} of the database is not the one of this release. Start the release that made it")]
    Altered(i64),
    /// A migration failed. Nothing of it was kept.
    #[error(
        "the schema of the database cannot be changed: {0}. Nothing was kept of it. Give Hubbub a database of its own"
    )]
    Migration(String),
}

impl OpenError {
    /// Whether the same call may succeed later without anybody's help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Standby(_))
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        let why = error.to_string();
        match &error {
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => Self::Tls(why),
            // A certificate that does not hold.
            sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => Self::Tls(why),
            sqlx::Error::Database(error) => match sqlite_result(&**error) {
                Some(result) => of_sqlite(result & 0xff, why),
                None => of_postgres(&error.code().unwrap_or_default(), why),
            },
            _ => Self::Unreachable(why),
        }
    }
}

pub(crate) fn of_sqlite(result: i32, why: String) -> OpenError {
    match result {
        8 => OpenError::ReadOnly(why),
        11 | 26 => OpenError::Damaged(why),
        14 => OpenError::File(why),
        _ => OpenError::Unreachable(why),
    }
}

fn of_postgres(state: &str, why: String) -> OpenError {
    match state {
        "28000" | "28P01" => OpenError::Credentials(why),
        "3D000" => OpenError::NoDatabase(why),
        "42501" => OpenError::Forbidden(why),
        "25006" => OpenError::Standby(why),
        _ => OpenError::Unreachable(why),
    }
}

impl From<MigrateError> for OpenError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(error, version) => match Self::from(error) {
                // The server answered: what it says does not pass by itself.
                Self::Unreachable(why) => Self::Migration(format!("migration {version}: {why}")),
                other => other,
            },
            MigrateError::VersionMismatch(version) => Self::Altered(version),
            other => Self::Migration(other.to_string()),
        }
    }
}
