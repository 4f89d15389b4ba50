//! What the store promises, on both engines from one text. Each test has a database of its own.

mod faults;
mod memberships;
mod model;
mod opening;
mod outbox;
mod pages;
mod people;
mod plans;
mod races;
mod recording;
mod rooms;

use std::time::Duration;

use hubbub_messenger::{
    journal::{Batch, Cursor, Journal, Recorded},
    message::{Archive, Message, PageRange},
};
use hubbub_protocol::{RoomId, Seq, User};
use hubbub_testbed::{Postgres, scratch};
use sqlx::AssertSqlSafe;

use crate::{Database, DatabaseOptions, DatabaseUrl, OpenError, engine::Engine};

/// Runs each test on SQLite and on Postgres.
macro_rules! on_both_engines {
    ($($(#[$doc:meta])* async fn $name:ident($home:ident: &Home) $text:block)+) => {
        $(mod $name {
            use super::*;

            $(#[$doc])*
            async fn text($home: &Home) $text

            #[tokio::test]
            async fn on_sqlite() {
                text(&Home::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                text(&Home::postgres().await).await;
            }
        })+
    };
}

use on_both_engines;

/// Where a test's database is.
struct Home {
    url: DatabaseUrl,
    server: Option<Postgres>,
}

impl Home {
    fn sqlite() -> Self {
        Self { url: DatabaseUrl::file(scratch("store").join("hubbub.db")), server: None }
    }

    async fn postgres() -> Self {
        let server = Postgres::start().await;
        Self { url: server.database().await.parse().unwrap(), server: Some(server) }
    }

    /// The database, with a short patience.
    async fn open(&self) -> Database {
        self.open_with(true).await.unwrap()
    }

    async fn open_with(&self, migrate: bool) -> Result<Database, OpenError> {
        Database::open(&self.url, options(migrate)).await
    }

    /// The database with a recorder's row, and where that stands.
    async fn begun(&self) -> (Database, Cursor) {
        let database = self.open().await;
        assert!(database.begin("log").await.unwrap());
        (database, Cursor { seq: 0, base: 0 })
    }
}

fn options(migrate: bool) -> DatabaseOptions {
    DatabaseOptions { migrate, connections: 4, statement_timeout: Duration::from_secs(2) }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(path) = self.url.path() {
            let _gone_or_not = std::fs::remove_dir_all(path.parent().unwrap());
        }
    }
}

impl Database {
    /// Statements that the product does not need.
    async fn run_sql(&self, text: impl Into<String>) {
        let text = sqlx::raw_sql(AssertSqlSafe(text.into()));
        match &*self.engine {
            Engine::Sqlite { writer, .. } => drop(text.execute(writer).await.unwrap()),
            Engine::Postgres { pool, .. } => drop(text.execute(pool).await.unwrap()),
        }
    }

    /// One number.
    async fn number(&self, text: impl Into<String>) -> i64 {
        let query = AssertSqlSafe(text.into());
        match &*self.engine {
            Engine::Sqlite { writer, .. } => sqlx::query_scalar(query).fetch_one(writer).await.unwrap(),
            Engine::Postgres { pool, .. } => sqlx::query_scalar(query).fetch_one(pool).await.unwrap(),
        }
    }

    /// All messages of a room.
    async fn all(&self, room: &RoomId) -> Vec<Message> {
        let page = self.page(room, PageRange { before: None, after: None, limit: 100_000 }).await.unwrap();
        assert!(!page.has_more);
        page.messages
    }

    /// Where the cursor stands.
    async fn cursor(&self) -> Cursor {
        self.recording().await.unwrap().unwrap().cursor
    }
}

fn room(number: u64) -> RoomId {
    format!("room-{number}").parse().unwrap()
}

/// A message of one of four people. Its id names it, and its text says so.
fn message(place: Seq, room_number: u64, id: &str) -> Message {
    let person = format!("AAAAAAAAAAAAAAAAAAAAA{}", id.len() % 4);
    Message {
        place,
        room: room(room_number),
        id: id.parse().unwrap(),
        from: User { id: serde_json::from_value(person.into()).unwrap(), name: "Ann 😀".parse().unwrap() },
        at: 1_700_000_000_000 + place,
        body: format!("\"{id}\"\n\\ 😀 'é'"),
        told: None,
    }
}

fn batch(from: &Cursor, to: Seq, messages: Vec<Message>) -> Batch {
    Batch {
        from: from.clone(),
        to: Cursor { seq: to, base: from.base },
        messages,
        dead_letters: Vec::new(),
        met: Vec::new(),
        gaps: Vec::new(),
    }
}

/// What a batch becomes that is recorded as a whole.
fn committed(new: u64, repeated: u64) -> Recorded {
    Recorded::Committed { new, repeated }
}
