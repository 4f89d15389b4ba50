//! Statements that have one text for both engines, on a connection of either.
//!
//! Lists are passed as JSON: `json_each($1)` has a row for each element, and `value->>0` is the first value of an element
//! that is a list itself. Postgres has that function from a migration.

use sqlx::{FromRow, PgConnection, Postgres, Sqlite, SqliteConnection, postgres::PgRow, sqlite::SqliteRow};

use crate::{
    engine::{Engine, on_server},
    fault::Fault,
};

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::statements::Value::from($value)),*]
    };
}

pub(crate) use values;

/// A row of either engine.
pub(crate) trait Read: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Read for T {}

/// A connection of either engine, perhaps in a transaction.
pub(crate) enum Statements<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// Binds the parameters to a query.
macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        query
    }};
}

impl Statements<'_> {
    /// All rows.
    pub(crate) async fn rows<T: Read>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<T>, Fault> {
        Ok(match self {
            Self::Sqlite(connection) => {
                bound!(sqlx::query_as::<Sqlite, T>(sql), values).fetch_all(&mut **connection).await?
            }
            Self::Postgres(connection) => {
                bound!(sqlx::query_as::<Postgres, T>(sql), values).fetch_all(&mut **connection).await?
            }
        })
    }

    /// The first row.
    pub(crate) async fn row<T: Read>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<T>, Fault> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Writes. Returns how many rows.
    pub(crate) async fn write(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, Fault> {
        Ok(match self {
            Self::Sqlite(connection) => {
                bound!(sqlx::query::<Sqlite>(sql), values).execute(&mut **connection).await?.rows_affected()
            }
            Self::Postgres(connection) => {
                bound!(sqlx::query::<Postgres>(sql), values).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// Locks rows that are written later, where others could write them meanwhile. In SQLite nobody can.
    pub(crate) async fn lock(&mut self, sql: &'static str, values: Vec<Value>) -> Result<(), Fault> {
        if matches!(self, Self::Postgres(_)) {
            let _locked: Vec<(String,)> = self.rows(sql, values).await?;
        }
        Ok(())
    }
}

impl Engine {
    /// All rows of one statement that reads.
    pub(crate) async fn rows<T: Read>(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<T>, Fault> {
        match self {
            Self::Sqlite { readers, .. } => Statements::Sqlite(&mut *readers.acquire().await?).rows(sql, values).await,
            Self::Postgres { pool, limit } => {
                on_server!(pool, limit, connection => Statements::Postgres(connection).rows(sql, values).await)
            }
        }
    }
}
