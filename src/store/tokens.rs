//! Tokens that are mailed, invitations to the server, and personal access tokens.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use hubbub_messenger::{
    account::{Account, MailAddress},
    account_store::{MailPurpose, PersonalTokenView, Stored, TokenStore},
    outbox::Event,
    secret_token::TokenHash,
};
use hubbub_protocol::{SessionId, UserId};

use crate::{
    account_rows::{AccountRow, END_OTHERS, account, end_sessions, select_account, session, transaction},
    database::Database,
    engine::{reading, writing},
    fault::Fault,
};

/// Mails of a kind that one account gets within an hour.
const MAILS_AN_HOUR: i64 = 5;
/// How long a token that was mailed for another password counts.
const RESET_LIFE: Duration = Duration::from_mins(30);
/// How long a token that shows that an address belongs to an account counts.
const VERIFY_LIFE: Duration = Duration::from_hours(24);
/// Personal access tokens of one account.
const MAX_TOKENS: i64 = 50;
/// A use of a token is noted when the last noted one is older than this, in milliseconds.
const NOTED: i64 = 3_600_000;

const ADD_MAIL_TOKEN: &str = "INSERT INTO mail_tokens (token, account_id, purpose, address, created_at) \
     SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), millis FROM clock \
     WHERE (SELECT count(*) FROM mail_tokens WHERE account_id = $2 AND purpose = $3 AND created_at > millis - 3600000) < $5";
/// The account of a token for another password, while its address is still the account's.
const OF_RESET: &str = select_account!(
    "",
    "mail_tokens AS m JOIN accounts AS a ON a.id = m.account_id AND a.email = m.address CROSS JOIN clock \
     WHERE m.token = $1 AND m.purpose = 'reset' AND m.used_at IS NULL AND m.created_at > clock.millis - $2 \
       AND a.state = 'active'"
);
const USE_MAIL_TOKEN: &str = "UPDATE mail_tokens SET used_at = (SELECT millis FROM clock) \
     WHERE token = $1 AND purpose = $2 AND used_at IS NULL AND created_at > (SELECT millis FROM clock) - $3 \
     RETURNING account_id, address";
const SET_PASSWORD: &str = "UPDATE accounts SET password = $2 WHERE id = $1";
/// Tokens that were mailed before the password changed count no more.
const SPEND_OTHERS: &str = "UPDATE mail_tokens SET used_at = (SELECT millis FROM clock) \
     WHERE account_id = $1 AND used_at IS NULL";
const SET_EMAIL: &str = "UPDATE accounts SET email = $2 WHERE id = $1 AND state = 'active' \
     AND NOT EXISTS (SELECT 1 FROM accounts AS other WHERE other.email = $2 AND other.id <> $1)";
const ADD_INVITE: &str = "INSERT INTO server_invites (token, uses_left, created_at, expires_at) \
     SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), millis, millis + CAST($3 AS BIGINT) FROM clock";
const ADD_TOKEN: &str = "INSERT INTO personal_tokens (id, account_id, name, may_write, token, created_at) \
     SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS TEXT), millis FROM clock \
     WHERE (SELECT count(*) FROM personal_tokens WHERE account_id = $2 AND revoked_at IS NULL) < $6 \
       AND EXISTS (SELECT 1 FROM sessions AS s JOIN accounts AS a ON a.id = s.account_id \
         WHERE s.id = $7 AND s.account_id = $2 AND s.ended_at IS NULL AND a.state = 'active')";
const ACCOUNT: &str = select_account!("", "accounts AS a WHERE a.id = $1");
const TOKENS: &str = "SELECT id, name, may_write, created_at, used_at FROM personal_tokens \
     WHERE account_id = $1 AND revoked_at IS NULL ORDER BY created_at, id";
const REVOKE: &str = "UPDATE personal_tokens SET revoked_at = (SELECT millis FROM clock) \
     WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id, revoked_at";
const TOKEN: &str = select_account!(
    ", t.id, t.name, t.may_write, t.created_at, t.used_at",
    "personal_tokens AS t JOIN accounts AS a ON a.id = t.account_id WHERE t.token = $1 AND t.revoked_at IS NULL AND a.state = 'active'"
);
const NOTE_USE: &str = "UPDATE personal_tokens SET used_at = (SELECT millis FROM clock) \
     WHERE token = $1 AND coalesce(used_at, 0) < (SELECT millis FROM clock) - $2";

type TokenRow = (String, String, i64, i64, Option<i64>);
type AccountAndToken =
    (String, String, String, String, Option<String>, i64, String, i64, String, String, i64, i64, Option<i64>);

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn view(row: TokenRow) -> Result<PersonalTokenView, Fault> {
    let (id, name, may_write, created_at, used_at) = row;
    Ok(PersonalTokenView {
        id: session(&id)?,
        name,
        may_write: may_write != 0,
        created_at: created_at.unsigned_abs(),
        used_at: used_at.map(i64::unsigned_abs),
    })
}

/// Runs a statement that changes one row, or none, and says whether it did.
macro_rules! changes {
    ($database:expr, $statement:expr, $($value:expr),+) => {{
        let engine = Arc::clone(&$database.engine);
        $database.run(async move {
            writing!(&*engine, connection => {
                let done = sqlx::query($statement)$(.bind($value))+.execute(connection).await;
                done.map(|done| done.rows_affected() == 1).map_err(Fault::from)
            })
        })
        .boxed()
    }};
}

impl TokenStore for Database {
    fn add_mail_token(
        &self,
        token: TokenHash,
        account: UserId,
        purpose: MailPurpose,
        address: MailAddress,
    ) -> Stored<'_, bool> {
        let values = (token, account, address);
        changes!(
            self,
            ADD_MAIL_TOKEN,
            values.0.as_str().to_owned(),
            values.1.as_str().to_owned(),
            purpose.name(),
            values.2.as_str().to_owned(),
            MAILS_AN_HOUR
        )
    }

    fn resettable(&self, token: TokenHash) -> Stored<'_, Option<Account>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let row: Option<AccountRow> = reading!(&*engine, connection => {
                let query = sqlx::query_as(OF_RESET).bind(token.as_str()).bind(millis(RESET_LIFE));
                query.fetch_optional(connection).await.map_err(Fault::from)
            })?;
            row.map(account).transpose()
        })
        .boxed()
    }

    fn reset_password(&self, token: TokenHash, hash: String) -> Stored<'_, Option<Vec<Event>>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            transaction!(&*engine, transaction => {
                let query = sqlx::query_as(OF_RESET).bind(token.as_str()).bind(millis(RESET_LIFE));
                let row: Option<AccountRow> = query.fetch_optional(&mut *transaction).await?;
                let query = sqlx::query_as(USE_MAIL_TOKEN).bind(token.as_str()).bind(MailPurpose::Reset.name());
                let query = query.bind(millis(RESET_LIFE));
                let used: Option<(String, String)> = query.fetch_optional(&mut *transaction).await?;
                let mut events = None;
                if let (Some(row), Some(_)) = (row, used) {
                    let account = account(row)?;
                    let query = sqlx::query(SET_PASSWORD).bind(account.id.as_str()).bind(&hash);
                    let _set = query.execute(&mut *transaction).await?;
                    let _spent = sqlx::query(SPEND_OTHERS).bind(account.id.as_str()).execute(&mut *transaction).await?;
                    events = Some(end_sessions!(transaction, &account, END_OTHERS, ""));
                }
                let is_kept = events.is_some();
                (events, is_kept)
            })
        })
        .boxed()
    }

    fn verify_email(&self, token: TokenHash) -> Stored<'_, bool> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            transaction!(&*engine, transaction => {
                let query = sqlx::query_as(USE_MAIL_TOKEN).bind(token.as_str()).bind(MailPurpose::Verify.name());
                let query = query.bind(millis(VERIFY_LIFE));
                let used: Option<(String, String)> = query.fetch_optional(&mut *transaction).await?;
                let mut is_set = false;
                if let Some((account, address)) = used {
                    let query = sqlx::query(SET_EMAIL).bind(&account).bind(&address);
                    is_set = query.execute(&mut *transaction).await?.rows_affected() == 1;
                }
                (is_set, is_set)
            })
        })
        .boxed()
    }

    fn add_invitation(&self, token: TokenHash, uses: u32, life_ms: u64) -> Stored<'_, ()> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            writing!(&*engine, connection => {
                let query = sqlx::query(ADD_INVITE).bind(token.as_str()).bind(i64::from(uses));
                let query = query.bind(i64::try_from(life_ms).unwrap_or(i64::MAX / 2));
                query.execute(connection).await.map(drop).map_err(Fault::from)
            })
        })
        .boxed()
    }

    fn add_personal_token(
        &self,
        account: UserId,
        session: SessionId,
        token: PersonalTokenView,
        hash: TokenHash,
    ) -> Stored<'_, bool> {
        changes!(
            self,
            ADD_TOKEN,
            token.id.as_str().to_owned(),
            account.as_str().to_owned(),
            token.name.clone(),
            i64::from(token.may_write),
            hash.as_str().to_owned(),
            MAX_TOKENS,
            session.as_str().to_owned()
        )
    }

    fn personal_tokens(&self, account: UserId) -> Stored<'_, Vec<PersonalTokenView>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let rows: Vec<TokenRow> = reading!(&*engine, connection => {
                sqlx::query_as(TOKENS).bind(account.as_str()).fetch_all(connection).await.map_err(Fault::from)
            })?;
            rows.into_iter().map(view).collect()
        })
        .boxed()
    }

    fn revoke_personal_token(&self, person: UserId, id: SessionId) -> Stored<'_, Option<Event>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            transaction!(&*engine, transaction => {
                let row: Option<AccountRow> =
                    sqlx::query_as(ACCOUNT).bind(person.as_str()).fetch_optional(&mut *transaction).await?;
                let mut events = Vec::new();
                if let Some(row) = row {
                    let owner = account(row)?;
                    events = end_sessions!(transaction, &owner, REVOKE, id.as_str());
                }
                (events.pop(), true)
            })
        })
        .boxed()
    }

    fn personal_token(&self, hash: TokenHash) -> Stored<'_, Option<(Account, PersonalTokenView)>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let row: Option<AccountAndToken> = reading!(&*engine, connection => {
                sqlx::query_as(TOKEN).bind(hash.as_str()).fetch_optional(connection).await.map_err(Fault::from)
            })?;
            let Some(row) = row else { return Ok(None) };
            let (id, username, name, about, email, administrator, state, created_at, token, title, write, made, used) =
                row;
            let account = account((id, username, name, about, email, administrator, state, created_at))?;
            let is_noted = used.is_some_and(|used| used.unsigned_abs() + NOTED.unsigned_abs() > unix_millis());
            if !is_noted {
                writing!(&*engine, connection => {
                    let query = sqlx::query(NOTE_USE).bind(hash.as_str()).bind(NOTED);
                    query.execute(connection).await.map(drop).map_err(Fault::from)
                })?;
            }
            Ok(Some((account, view((token, title, write, made, used))?)))
        })
        .boxed()
    }
}

fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
