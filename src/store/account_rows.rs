//! Rows of accounts, and the steps of transactions that several calls share.

use hubbub_messenger::{
    account::{Account, AccountState},
    outbox::{Event, EventKind},
};
use hubbub_protocol::{SessionId, UserId, UserName};
use serde_json::json;

use crate::fault::Fault;

/// The columns of an account, as [`AccountRow`] has them.
macro_rules! select_account {
    ($more:literal, $from:literal) => {
        concat!(
            "SELECT a.id, a.username, a.name, a.about, a.email, a.administrator, a.state, a.created_at",
            $more,
            " FROM ",
            $from
        )
    };
}

/// Runs the same transaction on either engine. The body says what came of it, and whether it is to be kept.
macro_rules! transaction {
    ($engine:expr, $transaction:ident => $body:block) => {
        match $engine {
            $crate::engine::Engine::Sqlite { writer, .. } => {
                let mut held = writer.acquire().await?;
                let mut $transaction = sqlx::Connection::begin_with(&mut *held, "BEGIN IMMEDIATE").await?;
                let (outcome, is_kept) = $body;
                $crate::account_rows::finish!($transaction, outcome, is_kept)
            }
            $crate::engine::Engine::Postgres { pool, limit } => {
                $crate::engine::on_server!(pool, limit, connection => {
                    let mut $transaction = sqlx::Connection::begin(connection).await?;
                    let (outcome, is_kept) = $body;
                    $crate::account_rows::finish!($transaction, outcome, is_kept)
                })
            }
        }
    };
}

/// Commits a transaction that is kept.
macro_rules! finish {
    ($transaction:ident, $outcome:ident, $is_kept:ident) => {{
        if $is_kept {
            $transaction.commit().await?;
        } else {
            $transaction.rollback().await?;
        }
        Ok::<_, $crate::fault::Fault>($outcome)
    }};
}

/// Ends sessions of an account by this statement, and writes the events that tell of it.
macro_rules! end_sessions {
    ($transaction:ident, $account:expr, $statement:expr, $session:expr) => {{
        let query = sqlx::query_as($statement).bind($account.id.as_str()).bind($session);
        let ended: Vec<(String, i64)> = query.fetch_all(&mut *$transaction).await?;
        let mut events = Vec::with_capacity(ended.len());
        for (session, at) in ended {
            let event = $crate::account_rows::session_ended($account, &session, at);
            let query = sqlx::query($crate::account_rows::OUTBOX).bind(event.id.as_str().to_owned());
            let query = query.bind(event.room.as_str().to_owned()).bind(event.kind.name()).bind(event.record());
            let _added = query.execute(&mut *$transaction).await?;
            events.push(event);
        }
        events
    }};
}

pub(crate) use {end_sessions, finish, select_account, transaction};

/// Keeps an event until it is met in the log.
pub(crate) const OUTBOX: &str = "INSERT INTO outbox (id, room_id, kind, record, created_at) \
     VALUES ($1, $2, $3, $4, (SELECT millis FROM clock))";

macro_rules! ending {
    ($which:literal) => {
        concat!(
            "UPDATE sessions SET ended_at = (SELECT millis FROM clock) WHERE account_id = $1 AND ended_at IS NULL AND id ",
            $which,
            " $2 RETURNING id, ended_at"
        )
    };
}

/// Ends this session of an account.
pub(crate) const END_ONE: &str = ending!("=");
/// Ends all sessions of an account but this one.
pub(crate) const END_OTHERS: &str = ending!("<>");

/// What [`select_account`] selects.
pub(crate) type AccountRow = (String, String, String, String, Option<String>, i64, String, i64);

/// The account of a row.
pub(crate) fn account(row: AccountRow) -> Result<Account, Fault> {
    let (id, username, name, about, email, administrator, state, created_at) = row;
    let unreadable = |what: &str| Fault::Content(format!("the account {id} has no valid {what}"));
    Ok(Account {
        id: UserId::stored(&id).ok_or_else(|| unreadable("id"))?,
        name: name.parse::<UserName>().map_err(|_| unreadable("name"))?,
        state: AccountState::named(&state).ok_or_else(|| unreadable("state"))?,
        username,
        about,
        email,
        administrator: administrator != 0,
        created_at: created_at.unsigned_abs(),
    })
}

/// The id of a session in a row.
pub(crate) fn session(id: &str) -> Result<SessionId, Fault> {
    id.parse().map_err(|_| Fault::Content(format!("{id} is no id of a session")))
}

/// Tells the person that a session has ended.
pub(crate) fn session_ended(account: &Account, session: &str, at: i64) -> Event {
    Event::in_inbox(EventKind::SessionEnded, account.user(), at.unsigned_abs(), json!({"session": session}))
}
