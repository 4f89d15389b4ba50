//! What accounts and sessions need of a database.

use std::{collections::HashMap, fmt};

use futures_util::future::BoxFuture;
use hubbub_protocol::{SessionId, UnixMillis, UserId, UserName};

use crate::{
    StoreError,
    account::{Account, AccountState, Login, MailAddress, Username},
    outbox::Event,
    secret_token::TokenHash,
    session::{Ending, NewSession, Rotation, SessionView},
};

/// The outcome of a call.
pub type Stored<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// An account that is made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// Its username.
    pub username: Username,
    /// Its display name.
    pub name: UserName,
    /// The hash of its password, in the PHC format.
    pub password: String,
}

/// By which right an account is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Anybody may make one.
    Open,
    /// Whoever has this invitation may.
    Invited(TokenHash),
    /// Nobody may, except the first one.
    Closed,
    /// Whoever runs the server makes it. It is an administrator if that is said.
    ByOperator {
        /// Whether the account may do what administrators may.
        administrator: bool,
    },
}

/// What came of making an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is there.
    Account(Account),
    /// The username belongs to somebody.
    UsernameTaken,
    /// There is no such invitation, or it is used up.
    NotInvited,
    /// Nobody may make one.
    Closed,
    /// It would be the first one, and whoever makes it has not shown that it may.
    SetupNeeded,
}

/// An account and the hash of its password.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub account: Account,
    /// The hash, in the PHC format.
    pub password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("account", &self.account).finish_non_exhaustive()
    }
}

/// The hash with which a password was compared. A session begins only if it is still the one of the account.
#[derive(Clone)]
pub struct Proof {
    /// The hash that the password agreed with.
    pub verified: String,
    /// The hash that replaces it.
    pub renewed: Option<String>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

/// A session that a refresh token names.
#[derive(Clone, Debug)]
pub struct Refreshable {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: Account,
    /// Which tokens count.
    pub rotation: Rotation,
    /// Whether it has ended, or nobody has used it for too long.
    pub is_over: bool,
}

/// A change of an account that may end sessions.
#[derive(Clone)]
pub enum AccountChange {
    /// None: sessions end.
    None,
    /// Another password, as the hash in the PHC format.
    Password(String),
    /// It may no longer sign in, or may again.
    State(AccountState),
    /// It may do what administrators may, or may not any more.
    Administrator(bool),
    /// Everything about the person goes. The username stays reserved.
    Delete,
}

impl fmt::Debug for AccountChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password",
            Self::State(_) => "State",
            Self::Administrator(_) => "Administrator",
            Self::Delete => "Delete",
        })
    }
}

/// A change of what a person says about itself. None: it stays.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// Another display name.
    pub name: Option<UserName>,
    /// Another text.
    pub about: Option<String>,
    /// No mail address any more.
    pub forget_email: bool,
}

/// Sessions that have ended lately.
#[derive(Clone, Debug, Default)]
pub struct EndedLately {
    /// The clock of the database.
    pub now: UnixMillis,
    /// Each with the time of its end.
    pub sessions: HashMap<SessionId, UnixMillis>,
}

/// Accounts and sessions.
pub trait AccountStore: fmt::Debug + Send + Sync + 'static {
    /// Makes an account, and signs it in. The first one is an administrator; it may be made if `may_be_first`.
    fn make_account(
        &self,
        account: NewAccount,
        admission: Admission,
        may_be_first: bool,
        session: Option<NewSession>,
    ) -> Stored<'_, Made>;

    /// Whether there is any account.
    fn has_accounts(&self) -> Stored<'_, bool>;

    /// The account that signs in so.
    fn credentials(&self, login: Login) -> Stored<'_, Option<Credentials>>;

    /// The account of this id.
    fn account(&self, id: UserId) -> Stored<'_, Option<Credentials>>;

    /// Begins a session, if the account is active and its password is still the one that was proven.
    fn open_session(&self, account: UserId, session: NewSession, proof: Proof) -> Stored<'_, bool>;

    /// The session of a refresh token's handle.
    fn refreshable(&self, handle: String) -> Stored<'_, Option<Refreshable>>;

    /// Makes `to` the token of a session, if `from` is.
    fn rotate(&self, session: SessionId, from: TokenHash, to: TokenHash) -> Stored<'_, bool>;

    /// The account of a session that stands. The session counts as used.
    fn standing(&self, session: SessionId) -> Stored<'_, Option<Account>>;

    /// The sessions of an account that stand, those used last first.
    fn sessions(&self, account: UserId) -> Stored<'_, Vec<SessionView>>;

    /// Changes an account and ends sessions of it, in one transaction with an event for each. Returns the events.
    fn change_account(&self, account: UserId, change: AccountChange, ending: Ending) -> Stored<'_, Vec<Event>>;

    /// Changes what a person says about itself. Returns the account as it is now.
    fn change_profile(&self, account: UserId, change: ProfileChange) -> Stored<'_, Option<Account>>;

    /// The sessions that have ended since then.
    fn ended_since(&self, since: UnixMillis) -> Stored<'_, EndedLately>;

    /// Notes that these sessions are in use.
    fn touch(&self, sessions: Vec<SessionId>) -> Stored<'_, ()>;

    /// Ends sessions that nobody has used for too long, and removes what is of no use any more.
    fn sweep(&self) -> Stored<'_, ()>;

    /// All accounts, in the order of their usernames, after this one.
    fn list_accounts(&self, after: String, limit: usize) -> Stored<'_, Vec<Account>>;
}

/// A secret that all instances share.
#[derive(Clone)]
pub struct StoredSecret {
    /// What it is for: `signing` or `shared`.
    pub purpose: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSecret").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

/// Secrets that all instances share.
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// All of them, the newest of each purpose first, at most two of each.
    fn secrets(&self) -> Stored<'_, Vec<StoredSecret>>;

    /// Adds one, if there is none of its purpose or `is_another` is set.
    fn add_secret(&self, secret: StoredSecret, is_another: bool) -> Stored<'_, ()>;
}

/// What a token that was mailed is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailPurpose {
    /// Another password.
    Reset,
    /// The address belongs to the account.
    Verify,
}

impl MailPurpose {
    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Verify => "verify",
        }
    }
}

/// Tokens that are mailed, invitations, and personal access tokens.
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a token that is mailed to this address. False: this account was mailed too often lately.
    fn add_mail_token(
        &self,
        token: TokenHash,
        account: UserId,
        purpose: MailPurpose,
        address: MailAddress,
    ) -> Stored<'_, bool>;

    /// Uses a token for another password: it counts once. Ends all sessions. None: there is no such token.
    fn reset_password(&self, token: TokenHash, hash: String) -> Stored<'_, Option<Vec<Event>>>;

    /// Whose password this token may change. It still counts.
    fn resettable(&self, token: TokenHash) -> Stored<'_, Option<Account>>;

    /// Uses a token that shows that a mail address belongs to an account. False: there is no such token, or the address
    /// belongs to another account by now.
    fn verify_email(&self, token: TokenHash) -> Stored<'_, bool>;

    /// Keeps an invitation to the server.
    fn add_invitation(&self, token: TokenHash, uses: u32, life_ms: u64) -> Stored<'_, ()>;

    /// Keeps a personal access token that somebody in this session asked for. False: the account has too many, or the
    /// session has ended meanwhile.
    fn add_personal_token(
        &self,
        account: UserId,
        session: SessionId,
        token: PersonalTokenView,
        hash: TokenHash,
    ) -> Stored<'_, bool>;

    /// Those of an account.
    fn personal_tokens(&self, account: UserId) -> Stored<'_, Vec<PersonalTokenView>>;

    /// Takes one back, with an event that tells of it. None: there is no such token.
    fn revoke_personal_token(&self, account: UserId, id: SessionId) -> Stored<'_, Option<Event>>;

    /// The active account of a personal access token that counts, and the token.
    fn personal_token(&self, hash: TokenHash) -> Stored<'_, Option<(Account, PersonalTokenView)>>;
}

/// A personal access token, as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalTokenView {
    /// Its id.
    pub id: SessionId,
    /// What it is for, in the person's words.
    pub name: String,
    /// Whether it may change things, or only read.
    pub may_write: bool,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last used, to about an hour.
    pub used_at: Option<UnixMillis>,
}
