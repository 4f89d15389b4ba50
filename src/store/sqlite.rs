//! How a batch is written into SQLite: as JSON, which it takes apart. Statements with a parameter for each value are slow,
//! and a `VALUES` list makes it scan the whole table.

use serde_json::json;
use sqlx::SqliteConnection;

use crate::{fault::Fault, rows::Rows};

/// Deletes the oldest messages.
pub(crate) const PRUNE: &str = "DELETE FROM messages WHERE rowid IN \
     (SELECT rowid FROM messages WHERE at < (SELECT millis FROM clock) - $1 ORDER BY at LIMIT $2)";

// `WHERE true`: else ON would be read as that of a join.
macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO messages (seq, room_id, sender_id, client_id, sender_name, at, body, kind, fields) \
             SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8 \
             FROM json_each($1) \
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

/// A room with members has its row before anything is told in it.
pub(crate) const RAISE: &str = "WITH v (id, last) AS (SELECT value->>0, value->>1 FROM json_each($1)) \
     UPDATE rooms SET last_seq = v.last FROM v WHERE rooms.id = v.id AND rooms.last_seq < v.last";

pub(crate) const MET: &str = "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))";

pub(crate) const LAST: &str = "UPDATE rooms \
     SET last_seq = coalesce((SELECT max(seq) FROM messages WHERE room_id = rooms.id), last_seq) \
     WHERE id IN (SELECT value FROM json_each($1))";

/// The rows of a batch as SQLite takes them.
pub(crate) struct Texts {
    messages: String,
    public_rooms: Option<String>,
    other_rooms: Option<String>,
    room_ids: String,
    met: String,
}

impl Texts {
    /// Writes the rows as JSON.
    pub(crate) fn of(rows: &Rows<'_>) -> Result<Self, Fault> {
        let messages = serde_json::to_string(&rows.messages).map_err(|error| Fault::Content(error.to_string()))?;
        let rooms = |are_public| {
            let rooms: Vec<_> =
                rows.rooms_that(are_public).map(|(id, room)| json!([id, room.last, room.created_at])).collect();
            (!rooms.is_empty()).then(|| json!(rooms).to_string())
        };
        let room_ids = json!(rows.room_ids()).to_string();
        let met = json!(rows.met).to_string();
        Ok(Self { messages, public_rooms: rooms(true), other_rooms: rooms(false), room_ids, met })
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
    pub(crate) async fn raise(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        if let Some(rooms) = &self.public_rooms {
            let _raised = run(ROOMS, rooms, connection).await?;
        }
        if let Some(rooms) = &self.other_rooms {
            let _raised = run(RAISE, rooms, connection).await?;
        }
        Ok(())
    }

    /// Deletes the rows of the outbox whose events were met.
    pub(crate) async fn meet(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        run(MET, &self.met, connection).await
    }

    /// Reads the last place of the rooms from their messages.
    pub(crate) async fn settle(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        run(LAST, &self.room_ids, connection).await
    }
}

async fn run(statement: &'static str, json: &str, connection: &mut SqliteConnection) -> Result<u64, Fault> {
    Ok(sqlx::query(statement).bind(json).execute(connection).await?.rows_affected())
}
