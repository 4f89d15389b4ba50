//! How a batch is written into Postgres: as one array a column.

use sqlx::PgConnection;

use crate::{fault::Fault, rows::Rows};

/// Deletes the oldest messages.
pub(crate) const PRUNE: &str = "DELETE FROM messages WHERE ctid = ANY (ARRAY(\
     SELECT ctid FROM messages WHERE at < (SELECT millis FROM clock) - $1 ORDER BY at LIMIT $2))";

macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO messages (seq, room_id, sender_id, client_id, sender_name, at, body, kind, fields) \
             SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], \
               $8::text[], $9::text[]) \
             ON CONFLICT (room_id, sender_id, client_id) ",
            $conflict
        )
    };
}

const INSERT: &str = insert!("DO NOTHING");
pub(crate) const LOWER: &str = insert!("DO UPDATE SET seq = excluded.seq WHERE excluded.seq < messages.seq");

const ROOMS: &str = "INSERT INTO rooms (id, kind, last_seq, created_at) \
     SELECT v.id, 'public', v.last, v.created FROM UNNEST($1::text[], $2::bigint[], $3::bigint[]) AS v (id, last, created) \
     ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq WHERE excluded.last_seq > rooms.last_seq";

/// A room with members has its row before anything is told in it.
pub(crate) const RAISE: &str = "UPDATE rooms SET last_seq = v.last FROM UNNEST($1::text[], $2::bigint[]) AS v (id, last) \
     WHERE rooms.id = v.id AND rooms.last_seq < v.last";

const MET: &str = "DELETE FROM outbox WHERE id = ANY ($1)";

pub(crate) const LAST: &str = "UPDATE rooms \
     SET last_seq = coalesce((SELECT max(seq) FROM messages WHERE room_id = rooms.id), last_seq) WHERE id = ANY ($1)";

/// The rows of a batch as Postgres takes them.
pub(crate) struct Columns<'a> {
    pub(crate) rows: &'a Rows<'a>,
}

impl Columns<'_> {
    /// Writes the messages that are not there. Returns how many.
    pub(crate) async fn insert(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        self.write(INSERT, connection).await
    }

    /// Lowers the places of those that are there. Returns how many.
    pub(crate) async fn lower(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        self.write(LOWER, connection).await
    }

    /// Raises the last place of the rooms.
    pub(crate) async fn raise(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let public = self.rows.rooms_that(true).map(|(id, room)| (id, (room.last, room.created_at)));
        let (ids, (last, created)): (Vec<_>, (Vec<_>, Vec<_>)) = public.unzip();
        if !ids.is_empty() {
            let _raised = sqlx::query(ROOMS).bind(ids).bind(last).bind(created).execute(&mut *connection).await?;
        }
        let (ids, last): (Vec<_>, Vec<_>) = self.rows.rooms_that(false).map(|(id, room)| (id, room.last)).unzip();
        if !ids.is_empty() {
            let _raised = sqlx::query(RAISE).bind(ids).bind(last).execute(connection).await?;
        }
        Ok(())
    }

    /// Deletes the rows of the outbox whose events were met.
    pub(crate) async fn meet(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        Ok(sqlx::query(MET).bind(&self.rows.met).execute(connection).await?.rows_affected())
    }

    /// Reads the last place of the rooms from their messages.
    pub(crate) async fn settle(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        let query = sqlx::query(LAST).bind(self.rows.room_ids());
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn write(&self, statement: &'static str, connection: &mut PgConnection) -> Result<u64, Fault> {
        let messages = &self.rows.messages;
        let query = sqlx::query(statement)
            .bind(messages.iter().map(|row| row.0).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.1).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.2).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.3).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.4).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.5).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.6).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.7).collect::<Vec<_>>())
            .bind(messages.iter().map(|row| row.8.as_deref()).collect::<Vec<_>>());
        Ok(query.execute(connection).await?.rows_affected())
    }
}
