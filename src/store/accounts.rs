//! Accounts and sessions.

mod statements;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use hubbub_messenger::{
    account::{Account, AccountState, Login},
    account_store::{
        AccountChange, AccountStore, Admission, Credentials, EndedLately, Made, NewAccount, ProfileChange, Proof,
        Refreshable, Stored,
    },
    outbox::Event,
    secret_token::TokenHash,
    session::{Ending, NewSession, Rotation, SESSION_LIFE, SessionView},
};
use hubbub_protocol::{SessionId, UnixMillis, UserId};

use self::statements::{
    BY_EMAIL, BY_ID, BY_USERNAME, COUNT, DELETE, END_SURPLUS, ENDED, HOLD, LIST, LOCK, MAKE, OPEN, PROVE, REFRESHABLE,
    REVOKE_ALL, ROTATE, SESSIONS, SET_ADMINISTRATOR, SET_PASSWORD, SET_PROFILE, SET_STATE, SPEND, STANDING, SWEEP,
    TOUCH, USE_INVITE,
};
use crate::{
    account_rows::{AccountRow, END_ONE, END_OTHERS, account, end_sessions, session, transaction},
    database::Database,
    engine::{Engine, reading, writing},
    fault::Fault,
};

/// Sessions of one account.
const MAX_SESSIONS: i64 = 100;
/// A use of a session is noted when the last noted one is older than this.
const NOTED: Duration = Duration::from_hours(1);
/// Longer than an access token lives.
const LATELY: Duration = Duration::from_mins(20);
/// How long rows of sessions that have ended are kept.
const ENDED_KEPT: Duration = Duration::from_hours(30 * 24);

/// An account with one more column, or more of them.
type With<T> = (String, String, String, String, Option<String>, i64, String, i64, T);
type RefreshableRow =
    (String, String, String, String, Option<String>, i64, String, i64, String, String, Option<String>, i64, i64);

impl Database {
    async fn credentials_by(&self, statement: &'static str, key: String) -> Result<Option<Credentials>, Fault> {
        let row: Option<With<Option<String>>> = reading!(&*self.engine, connection => {
            sqlx::query_as(statement).bind(&key).fetch_optional(connection).await.map_err(Fault::from)
        })?;
        row.map(credentials).transpose()
    }
}

fn credentials(row: With<Option<String>>) -> Result<Credentials, Fault> {
    let (id, username, name, about, email, administrator, state, created_at, password) = row;
    let account = account((id, username, name, about, email, administrator, state, created_at))?;
    Ok(Credentials { account, password })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Binds what [`OPEN`] needs.
macro_rules! open {
    ($transaction:ident, $account:expr, $session:expr) => {{
        let session: &NewSession = $session;
        let query = sqlx::query(OPEN).bind(session.id.as_str()).bind($account).bind(session.refresh.handle());
        let query = query.bind(session.refresh.hash().as_str().to_owned());
        let query = query.bind(session.user_agent.as_str()).bind(session.address.as_str());
        let _opened = query.execute(&mut *$transaction).await?;
    }};
}

impl AccountStore for Database {
    fn make_account(
        &self,
        new: NewAccount,
        admission: Admission,
        may_be_first: bool,
        session: Option<NewSession>,
    ) -> Stored<'_, Made> {
        let engine = Arc::clone(&self.engine);
        self.run(async move { make(&engine, new, admission, may_be_first, session).await }).boxed()
    }

    fn has_accounts(&self) -> Stored<'_, bool> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let count: i64 = reading!(&*engine, connection => {
                sqlx::query_scalar(COUNT).fetch_one(connection).await.map_err(Fault::from)
            })?;
            Ok(count > 0)
        })
        .boxed()
    }

    fn credentials(&self, login: Login) -> Stored<'_, Option<Credentials>> {
        let database = self.clone();
        let (statement, key) = match login {
            Login::Username(username) => (BY_USERNAME, username.as_str().to_owned()),
            Login::Mail(address) => (BY_EMAIL, address.as_str().to_owned()),
        };
        self.run(async move { database.credentials_by(statement, key).await }).boxed()
    }

    fn account(&self, id: UserId) -> Stored<'_, Option<Credentials>> {
        let database = self.clone();
        self.run(async move { database.credentials_by(BY_ID, id.as_str().to_owned()).await }).boxed()
    }

    fn open_session(&self, account: UserId, session: NewSession, proof: Proof) -> Stored<'_, bool> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let renewed = proof.renewed.as_deref().unwrap_or(&proof.verified);
            transaction!(&*engine, transaction => {
                let query = sqlx::query(PROVE).bind(account.as_str()).bind(&proof.verified).bind(renewed);
                let is_proven = query.execute(&mut *transaction).await?.rows_affected() == 1;
                if is_proven {
                    open!(transaction, account.as_str(), &session);
                    let surplus = sqlx::query(END_SURPLUS).bind(account.as_str()).bind(MAX_SESSIONS);
                    let _ended = surplus.execute(&mut *transaction).await?;
                }
                (is_proven, is_proven)
            })
        })
        .boxed()
    }

    fn refreshable(&self, handle: String) -> Stored<'_, Option<Refreshable>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let row: Option<RefreshableRow> = reading!(&*engine, connection => {
                let query = sqlx::query_as(REFRESHABLE).bind(&handle).bind(millis(SESSION_LIFE));
                query.fetch_optional(connection).await.map_err(Fault::from)
            })?;
            row.map(refreshable).transpose()
        })
        .boxed()
    }

    fn rotate(&self, session: SessionId, from: TokenHash, to: TokenHash) -> Stored<'_, bool> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            writing!(&*engine, connection => {
                let query = sqlx::query(ROTATE).bind(session.as_str()).bind(from.as_str()).bind(to.as_str());
                query.execute(connection).await.map(|done| done.rows_affected() == 1).map_err(Fault::from)
            })
        })
        .boxed()
    }

    fn standing(&self, session: SessionId) -> Stored<'_, Option<Account>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let row: Option<With<i64>> = reading!(&*engine, connection => {
                let query = sqlx::query_as(STANDING).bind(session.as_str()).bind(millis(SESSION_LIFE));
                query.fetch_optional(connection).await.map_err(Fault::from)
            })?;
            let Some((id, username, name, about, email, administrator, state, created_at, unused)) = row else {
                return Ok(None);
            };
            if unused > millis(NOTED) {
                touch(&engine, &session).await?;
            }
            account((id, username, name, about, email, administrator, state, created_at)).map(Some)
        })
        .boxed()
    }

    fn sessions(&self, account: UserId) -> Stored<'_, Vec<SessionView>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let rows: Vec<(String, String, String, i64, i64)> = reading!(&*engine, connection => {
                let query = sqlx::query_as(SESSIONS).bind(account.as_str()).bind(millis(SESSION_LIFE));
                query.fetch_all(connection).await.map_err(Fault::from)
            })?;
            let view = |(id, user_agent, address, created_at, used_at): (String, _, _, i64, i64)| {
                let (created_at, used_at) = (created_at.unsigned_abs(), used_at.unsigned_abs());
                Ok(SessionView { id: session(&id)?, user_agent, address, created_at, used_at })
            };
            rows.into_iter().map(view).collect()
        })
        .boxed()
    }

    fn change_account(&self, account: UserId, change: AccountChange, ending: Ending) -> Stored<'_, Vec<Event>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move { change_account(&engine, account, change, ending).await }).boxed()
    }

    fn change_profile(&self, id: UserId, change: ProfileChange) -> Stored<'_, Option<Account>> {
        let (database, engine) = (self.clone(), Arc::clone(&self.engine));
        self.run(async move {
            let is_changed = writing!(&*engine, connection => {
                let query = sqlx::query(SET_PROFILE).bind(id.as_str());
                let query = query.bind(change.name.as_ref().map(|name| name.as_str().to_owned()));
                let query = query.bind(change.about.as_deref()).bind(i64::from(change.forget_email));
                query.execute(connection).await.map(|done| done.rows_affected() == 1).map_err(Fault::from)
            })?;
            let found = if is_changed { database.credentials_by(BY_ID, id.as_str().to_owned()).await? } else { None };
            Ok(found.map(|found| found.account))
        })
        .boxed()
    }

    fn ended_since(&self, since: UnixMillis) -> Stored<'_, EndedLately> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let rows: Vec<(i64, Option<String>, Option<i64>)> = reading!(&*engine, connection => {
                let query = sqlx::query_as(ENDED).bind(since.cast_signed()).bind(millis(LATELY));
                query.fetch_all(connection).await.map_err(Fault::from)
            })?;
            let mut ended = EndedLately::default();
            for (now, id, at) in rows {
                ended.now = now.unsigned_abs();
                if let (Some(id), Some(at)) = (id, at) {
                    let _once = ended.sessions.insert(session(&id)?, at.unsigned_abs());
                }
            }
            Ok(ended)
        })
        .boxed()
    }

    fn touch(&self, sessions: Vec<SessionId>) -> Stored<'_, ()> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            for session in &sessions {
                touch(&engine, session).await?;
            }
            Ok(())
        })
        .boxed()
    }

    fn sweep(&self) -> Stored<'_, ()> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            for statement in SWEEP {
                writing!(&*engine, connection => {
                    sqlx::query(statement).bind(millis(ENDED_KEPT)).execute(connection).await.map(drop).map_err(Fault::from)
                })?;
            }
            Ok(())
        })
        .boxed()
    }

    fn list_accounts(&self, after: String, limit: usize) -> Stored<'_, Vec<Account>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows: Vec<AccountRow> = reading!(&*engine, connection => {
                sqlx::query_as(LIST).bind(&after).bind(limit).fetch_all(connection).await.map_err(Fault::from)
            })?;
            rows.into_iter().map(account).collect()
        })
        .boxed()
    }
}

async fn touch(engine: &Engine, session: &SessionId) -> Result<(), Fault> {
    writing!(engine, connection => {
        let query = sqlx::query(TOUCH).bind(session.as_str()).bind(millis(NOTED));
        query.execute(connection).await.map(drop).map_err(Fault::from)
    })
}

fn refreshable(row: RefreshableRow) -> Result<Refreshable, Fault> {
    let (id, username, name, about, email, administrator, state, created_at, sid, token, former, age, over) = row;
    Ok(Refreshable {
        session: session(&sid)?,
        account: account((id, username, name, about, email, administrator, state, created_at))?,
        rotation: Rotation {
            current: TokenHash::stored(token),
            former: former.map(TokenHash::stored),
            age: Duration::from_millis(age.max(0).unsigned_abs()),
        },
        is_over: over != 0,
    })
}

async fn make(
    engine: &Engine,
    new: NewAccount,
    admission: Admission,
    may_be_first: bool,
    session: Option<NewSession>,
) -> Result<Made, Fault> {
    transaction!(engine, transaction => {
        let mut count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *transaction).await?;
        if count == 0 {
            let _locked = sqlx::query(LOCK).execute(&mut *transaction).await?;
            count = sqlx::query_scalar(COUNT).fetch_one(&mut *transaction).await?;
        }
        let is_first = count == 0;
        let refusal = match &admission {
            Admission::ByOperator { .. } => None,
            _ if is_first && !may_be_first => Some(Made::SetupNeeded),
            _ if is_first => None,
            Admission::Open => None,
            Admission::Closed => Some(Made::Closed),
            Admission::Invited(token) => {
                let used = sqlx::query(USE_INVITE).bind(token.as_str()).execute(&mut *transaction).await?;
                (used.rows_affected() == 0).then_some(Made::NotInvited)
            }
        };
        let outcome = if let Some(refusal) = refusal {
            refusal
        } else {
            let administrator = is_first || admission == (Admission::ByOperator { administrator: true });
            let query = sqlx::query(MAKE).bind(new.id.as_str()).bind(new.username.as_str()).bind(new.name.as_str());
            let query = query.bind(&new.password).bind(i64::from(administrator));
            if query.execute(&mut *transaction).await?.rows_affected() == 0 {
                Made::UsernameTaken
            } else {
                if let Some(session) = &session {
                    open!(transaction, new.id.as_str(), session);
                }
                let query = sqlx::query_as(BY_ID).bind(new.id.as_str());
                Made::Account(credentials(query.fetch_one(&mut *transaction).await?)?.account)
            }
        };
        let is_kept = matches!(outcome, Made::Account(_));
        (outcome, is_kept)
    })
}

async fn change_account(
    engine: &Engine,
    id: UserId,
    change: AccountChange,
    ending: Ending,
) -> Result<Vec<Event>, Fault> {
    transaction!(engine, transaction => {
        let _held = sqlx::query(HOLD).bind(id.as_str()).execute(&mut *transaction).await?;
        let row: Option<With<Option<String>>> =
            sqlx::query_as(BY_ID).bind(id.as_str()).fetch_optional(&mut *transaction).await?;
        let mut events = Vec::new();
        if let Some(found) = row.map(credentials).transpose()? {
            match &change {
                AccountChange::None => {}
                AccountChange::Password(hash) => {
                    let query = sqlx::query(SET_PASSWORD).bind(id.as_str()).bind(hash);
                    let _set = query.execute(&mut *transaction).await?;
                    let _spent = sqlx::query(SPEND).bind(id.as_str()).execute(&mut *transaction).await?;
                }
                AccountChange::State(state) => {
                    let query = sqlx::query(SET_STATE).bind(id.as_str()).bind(state.name());
                    let _set = query.execute(&mut *transaction).await?;
                    if *state != AccountState::Active {
                        let _revoked = sqlx::query(REVOKE_ALL).bind(id.as_str()).execute(&mut *transaction).await?;
                    }
                }
                AccountChange::Administrator(administrator) => {
                    let query = sqlx::query(SET_ADMINISTRATOR).bind(id.as_str()).bind(i64::from(*administrator));
                    let _set = query.execute(&mut *transaction).await?;
                }
                AccountChange::Delete => {
                    for statement in DELETE {
                        let _done = sqlx::query(statement).bind(id.as_str()).execute(&mut *transaction).await?;
                    }
                }
            }
            let (statement, session) = match &ending {
                Ending::None => (END_ONE, ""),
                Ending::One(session) => (END_ONE, session.as_str()),
                Ending::All => (END_OTHERS, ""),
                Ending::AllBut(session) => (END_OTHERS, session.as_str()),
            };
            events = end_sessions!(transaction, &found.account, statement, session);
        }
        (events, true)
    })
}
