//! The service of accounts: who is who, who is signed in, and which tokens count.

mod operator;
mod personal_tokens;
mod recovery;
mod sign_in;
mod upkeep;

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_protocol::{SessionId, UnixMillis, User, UserId, UserName};
use parking_lot::{Mutex, RwLock};
use tokio_util::task::TaskTracker;

pub use self::{
    sign_in::{AccessToken, Registration, SignedIn},
    upkeep::Sockets,
};
use crate::{
    StoreError,
    access_token::{AccessClaims, InvalidKey, Keys, SigningKey, TokenRefusal},
    account::{self, Account, InvalidField},
    account_store::{AccountStore, ProfileChange, SecretStore, TokenStore},
    ended_sessions::EndedSessions,
    mail::MailOptions,
    outbox::{Event, Teller},
    password_hasher::{Busy, PasswordHasher},
    sign_in_limits::{Lane, SignInLimits},
};

/// The database of the accounts.
pub trait Stores: AccountStore + SecretStore + TokenStore {}

impl<T: AccountStore + SecretStore + TokenStore> Stores for T {}

/// Who may make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Anybody.
    #[default]
    Open,
    /// Whoever has an invitation.
    Invite,
    /// Nobody: whoever runs the server makes them.
    Closed,
}

impl RegistrationMode {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// How accounts are served.
#[derive(Clone, Debug)]
pub struct AccountOptions {
    /// Who may make an account.
    pub registration: RegistrationMode,
    /// Whether only machines like this one reach the server: then the first account needs no set-up link.
    pub is_local: bool,
    /// Failed sign-ins that one address may have each second, on average.
    pub rate: f64,
    /// Keys that sign access tokens. Empty: those of the database.
    pub signing_keys: Vec<SigningKey>,
    /// How mails are sent. None: they are not.
    pub mail: Option<MailOptions>,
}

/// The client of a call.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it comes from, as limits count it.
    pub address: IpAddr,
    /// Whether it is on this machine, with nothing in between.
    pub is_local: bool,
    /// What it calls itself.
    pub user_agent: String,
    /// What a browser was given when somebody signed in with it.
    pub mark: Option<String>,
}

/// Whose call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: UserId,
    /// Its name, as the token has it.
    pub name: UserName,
    /// The session, or the personal access token.
    pub session: SessionId,
    /// By what the call is allowed.
    pub by: CallerKind,
}

impl Caller {
    /// The caller as the sender of messages.
    pub fn user(&self) -> User {
        User { id: self.account.clone(), name: self.name.clone() }
    }
}

/// By what a call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A session: it may do everything.
    Session,
    /// A personal access token.
    PersonalToken {
        /// Whether it may change things.
        may_write: bool,
    },
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Fields break rules.
    #[error("some fields are invalid")]
    Invalid(Vec<InvalidField>),
    /// The username belongs to somebody.
    #[error("this username is taken")]
    UsernameTaken,
    /// Nobody may make an account here.
    #[error("accounts are made by whoever runs this server")]
    RegistrationClosed,
    /// The invitation is missing, unknown or used up.
    #[error("an invitation is needed to make an account here, and this one does not count")]
    NotInvited,
    /// The first account needs the set-up link.
    #[error("the first account is made with the set-up link, which the log of the server shows")]
    SetupNeeded,
    /// No such account, or another password.
    #[error("the username or the password is wrong")]
    WrongCredentials,
    /// The password is another one.
    #[error("the password is wrong")]
    WrongPassword,
    /// The token does not count.
    #[error("{0}")]
    Token(TokenRefusal),
    /// The session has ended.
    #[error("the session has ended: sign in again")]
    SessionEnded,
    /// A personal access token may not do this.
    #[error("this token may not do that")]
    NotAllowed,
    /// There is no such thing, or none that the caller may see.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// There are enough of them.
    #[error("there are too many: remove one first")]
    TooMany,
    /// Too many tries.
    #[error("too many tries")]
    TooFast(Duration),
    /// Too much to do.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The database cannot be asked.
    #[error("accounts cannot be read now")]
    Unavailable,
}

impl From<InvalidField> for AccountError {
    fn from(invalid: InvalidField) -> Self {
        Self::Invalid(vec![invalid])
    }
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        tracing::debug!(%error, "a call of accounts failed");
        Self::Unavailable
    }
}

impl From<Busy> for AccountError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<TokenRefusal> for AccountError {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Token(refusal)
    }
}

impl From<InvalidKey> for AccountError {
    fn from(_: InvalidKey) -> Self {
        Self::Unavailable
    }
}

/// Accounts, sessions and tokens. Clones share them.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Stores>,
    teller: Arc<dyn Teller>,
    options: AccountOptions,
    hasher: PasswordHasher<Lane>,
    limits: SignInLimits,
    keys: RwLock<Arc<Keys>>,
    keys_read_at: Mutex<Instant>,
    ended: EndedSessions,
    tasks: TaskTracker,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Starts the service: reads the keys, and makes those that are missing.
    ///
    /// # Errors
    ///
    /// The database cannot be asked, or a key of it cannot be used.
    pub async fn start(
        store: Arc<dyn Stores>,
        teller: Arc<dyn Teller>,
        options: AccountOptions,
    ) -> Result<Self, AccountError> {
        let keys = upkeep::read_keys(&*store, &options.signing_keys).await?;
        let inner = Inner {
            limits: SignInLimits::new(options.rate),
            store,
            teller,
            options,
            hasher: PasswordHasher::new(),
            keys: RwLock::new(Arc::new(keys)),
            keys_read_at: Mutex::new(Instant::now()),
            ended: EndedSessions::default(),
            tasks: TaskTracker::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who may make an account.
    pub fn registration(&self) -> RegistrationMode {
        self.inner.options.registration
    }

    /// Whose call this is, by the token that came with it.
    ///
    /// # Errors
    ///
    /// The token does not count, or it cannot be found out now.
    pub async fn authorize(&self, token: &str) -> Result<Caller, AccountError> {
        if Self::is_personal(token) {
            return self.authorize_program(token).await;
        }
        let claims = self.claims(token).await?;
        let AccessClaims { account, session, name } = claims;
        match self.inner.ended.has(&session) {
            None => Err(AccountError::Unavailable),
            Some(true) => Err(AccountError::SessionEnded),
            Some(false) => Ok(Caller { account, name, session, by: CallerKind::Session }),
        }
    }

    /// The account and the session of an access token, as the database has them now.
    ///
    /// # Errors
    ///
    /// The token does not count, or the database cannot be asked.
    pub async fn enter(&self, token: &str) -> Result<(Account, SessionId), AccountError> {
        if Self::is_personal(token) {
            return self.enter_program(token).await;
        }
        let claims = self.claims(token).await?;
        if self.has_ended(&claims.session) {
            return Err(AccountError::SessionEnded);
        }
        let account = self.inner.store.standing(claims.session.clone()).await?;
        let account = account.filter(|account| account.id == claims.account).ok_or(AccountError::SessionEnded)?;
        Ok((account, claims.session))
    }

    /// Whether a session is known to have ended lately.
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.inner.ended.has(session) == Some(true)
    }

    /// The account of this id, if it is active.
    ///
    /// # Errors
    ///
    /// There is none, or the database cannot be asked.
    pub async fn account(&self, id: &UserId) -> Result<Account, AccountError> {
        let found = self.inner.store.account(id.clone()).await?;
        found.map(|found| found.account).ok_or(AccountError::NotFound("account"))
    }

    /// Changes what a person says about itself. None: it stays.
    ///
    /// # Errors
    ///
    /// A text breaks a rule, the account is gone, or the database cannot be asked.
    pub async fn change_profile(
        &self,
        id: &UserId,
        name: Option<&str>,
        about: Option<&str>,
    ) -> Result<Account, AccountError> {
        let (name, about) = (name.map(account::display_name).transpose(), about.map(account::about).transpose());
        let (name, about) = match (name, about) {
            (Ok(name), Ok(about)) => (name, about),
            (name, about) => {
                return Err(AccountError::Invalid([name.err(), about.err()].into_iter().flatten().collect()));
            }
        };
        let change = ProfileChange { name, about, forget_email: false };
        let changed = self.inner.store.change_profile(id.clone(), change).await?;
        changed.ok_or(AccountError::NotFound("account"))
    }

    async fn claims(&self, token: &str) -> Result<AccessClaims, AccountError> {
        let keys = self.keys();
        match keys.verify(token) {
            Err(TokenRefusal::UnknownKey) if self.read_keys_again().await? => Ok(self.keys().verify(token)?),
            verified => Ok(verified?),
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.inner.keys.read())
    }

    /// Notes that a session has ended: another instance has told of it. Its tokens are refused from now on.
    pub fn note_end(&self, session: SessionId, at: UnixMillis) {
        let _news = self.inner.ended.add(session, at);
    }

    /// Tells of a change that is committed.
    fn tell(&self, events: Vec<Event>) {
        let sessions = events.iter().filter_map(|event| {
            let session = event.fields.get("session")?.as_str()?.parse().ok()?;
            Some((session, event.at))
        });
        for (session, at) in sessions {
            let _news = self.inner.ended.add(session, at);
        }
        if !events.is_empty() {
            self.inner.teller.tell(events);
        }
    }
}
