//! A change: a scope is locked and read, a rule decides, and what it decides is written with its events.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_messenger::{
    change::{CallError, Change, Changes, Decision, Refused, Rule, Scope},
    outbox::Event,
};
use serde_json::{Value, json};
use sqlx::Connection;

use crate::{
    database::Database,
    engine::{Engine, on_server},
    facts,
    fault::Fault,
    statements::{Statements, values},
};

const ADD_GROUP: &str = "INSERT INTO groups (id, name, about, visibility, general, rev, created_at) \
     SELECT value->>0, value->>1, value->>2, value->>3, value->>4, CAST(value->>5 AS BIGINT), CAST(value->>6 AS BIGINT) \
     FROM json_each($1)";

const EDIT_GROUP: &str = "UPDATE groups SET name = v.value->>1, about = v.value->>2, visibility = v.value->>3, \
     archived_at = CAST(v.value->>4 AS BIGINT) FROM json_each($1) AS v WHERE groups.id = v.value->>0";

const RANK: &str = "INSERT INTO group_members (group_id, user_id, role, joined_at) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM json_each($1) \
     WHERE true ON CONFLICT (group_id, user_id) DO UPDATE SET role = excluded.role";

const EXPEL: &str = "DELETE FROM group_members \
     WHERE (group_id, user_id) IN (SELECT value->>0, value->>1 FROM json_each($1))";

const BAN: &str = "INSERT INTO group_bans (group_id, user_id, banned_by, created_at) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM json_each($1)";

const PARDON: &str =
    "DELETE FROM group_bans WHERE (group_id, user_id) IN (SELECT value->>0, value->>1 FROM json_each($1))";

const ADD_INVITE: &str = "INSERT INTO group_invites (id, group_id, token_hash, expires_at, uses_left, created_by, created_at) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT), CAST(value->>4 AS BIGINT), value->>5, \
     CAST(value->>6 AS BIGINT) FROM json_each($1)";

const USE_INVITE: &str =
    "UPDATE group_invites SET uses_left = uses_left - 1 WHERE id IN (SELECT value->>0 FROM json_each($1))";

const DROP_INVITE: &str =
    "DELETE FROM group_invites WHERE (group_id, id) IN (SELECT value->>0, value->>1 FROM json_each($1))";

const ADD_ROOM: &str = "INSERT INTO rooms (id, kind, last_seq, created_at, name, topic, group_id, visibility, posting, rev, \
     direct_key) SELECT value->>0, value->>1, 0, CAST(value->>2 AS BIGINT), value->>3, value->>4, value->>5, value->>6, \
     value->>7, CAST(value->>8 AS BIGINT), value->>9 FROM json_each($1) WHERE true ON CONFLICT (id) DO NOTHING";

const EDIT_ROOM: &str = "UPDATE rooms SET name = v.value->>1, topic = v.value->>2, visibility = v.value->>3, \
     posting = v.value->>4, archived_at = CAST(v.value->>5 AS BIGINT), rev = CAST(v.value->>6 AS BIGINT), \
     blocked = CAST(v.value->>7 AS BIGINT), listed = CAST(v.value->>8 AS BIGINT) \
     FROM json_each($1) AS v WHERE rooms.id = v.value->>0";

const SEAT: &str = "INSERT INTO room_members (room_id, user_id, role, joined_at) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM json_each($1) \
     WHERE true ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role";

const UNSEAT: &str =
    "DELETE FROM room_members WHERE (room_id, user_id) IN (SELECT value->>0, value->>1 FROM json_each($1))";

const STANCE: &str = "INSERT INTO contacts (user_id, other_id, state, created_at) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM json_each($1) \
     WHERE true ON CONFLICT (user_id, other_id) DO UPDATE SET state = excluded.state";

const NO_STANCE: &str =
    "DELETE FROM contacts WHERE (user_id, other_id) IN (SELECT value->>0, value->>1 FROM json_each($1))";

const SETTINGS: &str = "UPDATE room_members SET notify = coalesce(v.value->>2, room_members.notify), \
     muted_until = nullif(coalesce(CAST(v.value->>3 AS BIGINT), room_members.muted_until), 0), \
     pinned = coalesce(CAST(v.value->>4 AS BIGINT), room_members.pinned) \
     FROM json_each($1) AS v WHERE room_members.room_id = v.value->>0 AND room_members.user_id = v.value->>1";

const OUTBOX: &str = "INSERT INTO outbox (id, room_id, kind, record, created_at) \
     SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT) FROM json_each($1)";

impl Changes for Database {
    fn change(&self, scope: Scope, rule: Rule) -> BoxFuture<'_, Result<Decision, CallError>> {
        let engine = Arc::clone(&self.engine);
        async move { Ok(self.run(async move { transact(&engine, &scope, rule).await }).await??) }.boxed()
    }
}

/// Ends a transaction as its outcome wants it.
macro_rules! finish {
    ($transaction:ident, $outcome:expr) => {{
        let outcome = $outcome;
        match &outcome {
            Ok(Ok(decision)) if !decision.changes.is_empty() => $transaction.commit().await?,
            _ => $transaction.rollback().await?,
        }
        outcome
    }};
}

async fn transact(engine: &Engine, scope: &Scope, rule: Rule) -> Result<Result<Decision, Refused>, Fault> {
    match engine {
        Engine::Sqlite { writer, .. } => {
            let mut held = writer.acquire().await?;
            let mut transaction = held.begin_with("BEGIN IMMEDIATE").await?;
            let outcome = decide(Statements::Sqlite(&mut transaction), scope, rule).await;
            finish!(transaction, outcome)
        }
        Engine::Postgres { pool, limit } => on_server!(pool, limit, connection => {
            let mut transaction = connection.begin().await?;
            let outcome = decide(Statements::Postgres(&mut transaction), scope, rule).await;
            finish!(transaction, outcome)
        }),
    }
}

async fn decide(mut statements: Statements<'_>, scope: &Scope, rule: Rule) -> Result<Result<Decision, Refused>, Fault> {
    let facts = facts::read(&mut statements, scope).await?;
    let decision = match rule(&facts) {
        Ok(decision) => decision,
        Err(refused) => return Ok(Err(refused)),
    };
    let now = facts.now;
    for (sql, rows) in batches(&decision.changes, now) {
        let _written = statements.write(sql, values![Value::Array(rows).to_string()]).await?;
    }
    let told = told(&decision.events, now);
    if !told.is_empty() {
        let _written = statements.write(OUTBOX, values![Value::Array(told).to_string()]).await?;
    }
    Ok(Ok(decision))
}

/// What is written alike, one after the other, is written together.
fn batches(changes: &[Change], now: u64) -> Vec<(&'static str, Vec<Value>)> {
    let mut batches: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for (sql, row) in changes.iter().map(|change| row(change, now)) {
        match batches.last_mut() {
            Some((last, rows)) if *last == sql => rows.push(row),
            _ => batches.push((sql, vec![row])),
        }
    }
    batches
}

/// The rows of the outbox.
fn told(events: &[Event], now: u64) -> Vec<Value> {
    let row = |event: &Event| json!([event.id, event.room, event.kind.name(), event.record(), now]);
    events.iter().map(row).collect()
}

/// How a change is written.
fn row(change: &Change, now: u64) -> (&'static str, Value) {
    match change {
        Change::AddGroup(g) => {
            (ADD_GROUP, json!([g.id, g.name, g.about, g.visibility, g.general.as_str(), g.rev, now]))
        }
        Change::EditGroup(g) => (EDIT_GROUP, json!([g.id, g.name, g.about, g.visibility, g.archived_at])),
        Change::Rank(group, user, role) => (RANK, json!([group, user, role, now])),
        Change::Expel(group, user) => (EXPEL, json!([group, user])),
        Change::Ban(group, user, by) => (BAN, json!([group, user, by, now])),
        Change::Pardon(group, user) => (PARDON, json!([group, user])),
        Change::AddInvite(i, hash) => {
            (ADD_INVITE, json!([i.id, i.group, hash, i.expires_at, i.uses_left, i.created_by, now]))
        }
        Change::UseInvite(id) => (USE_INVITE, json!([id])),
        Change::DropInvite(group, id) => (DROP_INVITE, json!([group, id])),
        Change::AddRoom(r, key) => {
            (ADD_ROOM, json!([r.id, r.kind, now, r.name, r.topic, r.group, r.visibility, r.posting, r.room_rev, key]))
        }
        Change::EditRoom(r) => {
            let (blocked, listed) = (u8::from(r.is_blocked), u8::from(r.is_listed));
            let row =
                json!([r.id, r.name, r.topic, r.visibility, r.posting, r.archived_at, r.room_rev, blocked, listed]);
            (EDIT_ROOM, row)
        }
        Change::Seat(room, user, role) => (SEAT, json!([room, user, role, now])),
        Change::Unseat(room, user) => (UNSEAT, json!([room, user])),
        Change::Stance(by, of, Some(stance)) => (STANCE, json!([by, of, stance, now])),
        Change::Stance(by, of, None) => (NO_STANCE, json!([by, of])),
        Change::Settings(room, user, s) => {
            (SETTINGS, json!([room, user, s.notify, s.muted_until, s.pinned.map(u8::from)]))
        }
    }
}
