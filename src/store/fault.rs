//! Which errors pass, and which mean that the database refuses this content for good.

use hubbub_messenger::StoreError;
use sqlx::error::DatabaseError;

/// SQLSTATE classes that blame the content: wrong cardinality, data that its type cannot hold, limits of the program.
const REFUSED_CLASSES: [&str; 3] = ["21", "22", "54"];

/// SQLSTATE codes that blame the content: a foreign key, a unique key, a check. A column that must not be null (23502) is
/// not among them: a newer schema may have it, and then nothing at all could be recorded.
const REFUSED_STATES: [&str; 3] = ["23503", "23505", "23514"];

/// Result codes of SQLite that blame the content: too big, a constraint, a type mismatch.
const REFUSED_RESULTS: [i32; 3] = [18, 19, 20];

/// The extended code of SQLite for a column that must not be null: see [`REFUSED_STATES`].
const NOT_NULL: i32 = 1299;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The database says so.
    Database(sqlx::Error),
    /// The content does not fit into the database, or what is there cannot be read.
    Content(String),
}

impl Fault {
    /// What the port says of it. Everything that is not known to blame the content passes: a message that waits can be
    /// recorded later, and a message that was put aside would be missing.
    pub(crate) fn sort(self) -> StoreError {
        match self {
            Self::Database(error) if error.as_database_error().is_some_and(refuses) => {
                StoreError::Refused(error.to_string())
            }
            Self::Database(error) => StoreError::Passing(error.to_string()),
            Self::Content(why) => StoreError::Refused(why),
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn refuses(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    match sqlite_result(error) {
        Some(result) => REFUSED_RESULTS.contains(&(result & 0xff)) && result != NOT_NULL,
        None => REFUSED_STATES.contains(&&*code) || REFUSED_CLASSES.iter().any(|class| code.starts_with(class)),
    }
}

/// The extended result code, if the error is of SQLite.
pub(crate) fn sqlite_result(error: &dyn DatabaseError) -> Option<i32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>().and_then(|error| error.code()?.parse().ok())
}
