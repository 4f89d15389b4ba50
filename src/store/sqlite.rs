//! How a batch is written into SQLite: as JSON, which it takes apart. Statements with a parameter for each value are slow,
//! and a `VALUES` list makes it scan the whole table.

use serde_json::json;
use sqlx::SqliteConnection;

use crate::{fault::Fault, rows::Rows};

/// Deletes the oldest messages.
pub(crate) const PRUNE: &str =
    "DELETE FROM messages WHERE rowid IN (SELECT rowid FROM messages WHERE at < $1 ORDER BY at LIMIT $2)";

// `WHERE true`: else ON would be read as that of a join.
macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO messages (seq, room_id, sender_id, client_id, sender_name, at, body) \
             SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each($1) \
             WHERE true ON CONFLICT (room_id, sender_id, client_id) ",
            $conflict
        )
    };
}

const INSERT: &str = insert!("DO NOTHING");
pub(crate) const LOWER: &str = insert!("DO UPDATE SET seq = excluded.seq WHERE excluded.seq < messages.seq");

const ROOMS: &str = "INSERT INTO rooms (id, kind, last_seq, created_at) \
     SELECT value->>0, 'public', value->>1, value->>2 FROM json_each($1) \
     WHERE true ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq WHERE excluded.last_seq > rooms.last_seq";

pub(crate) const LAST: &str = "UPDATE rooms \
     SET last_seq = coalesce((SELECT max(seq) FROM messages WHERE room_id = rooms.id), last_seq) \
     WHERE id IN (SELECT value FROM json_each($1))";

/// The rows of a batch as SQLite takes them.
pub(crate) struct Texts {
    messages: String,
    rooms: String,
    room_ids: String,
}

impl Texts {
    /// Writes the rows as JSON.
    pub(crate) fn of(rows: &Rows<'_>) -> Result<Self, Fault> {
        let messages = serde_json::to_string(&rows.messages).map_err(|error| Fault::Content(error.to_string()))?;
        let rooms = rows.rooms.iter().map(|(id, room)| json!([id, room.last, room.created_at]));
        let rooms = rooms.collect::<serde_json::Value>().to_string();
        Ok(Self { messages, rooms, room_ids: json!(rows.room_ids()).to_string() })
    }

    /// Writes the messages that are not there. Returns how many.
    pub(crate) async fn insert(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        run(INSERT, &self.messages, connection).await
    }

    /// Lowers the places of those that are there. Returns how many.
    pub(crate) async fn lower(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        run(LOWER, &self.messages, connection).await
    }

    /// Raises the last place of the rooms.
    pub(crate) async fn raise(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        run(ROOMS, &self.rooms, connection).await
    }

    /// Reads the last place of the rooms from their messages.
    pub(crate) async fn settle(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        run(LAST, &self.room_ids, connection).await
    }
}

async fn run(statement: &'static str, json: &str, connection: &mut SqliteConnection) -> Result<u64, Fault> {
    Ok(sqlx::query(statement).bind(json).execute(connection).await?.rows_affected())
}
