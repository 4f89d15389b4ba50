//! Making an account, signing in and out, and staying signed in.

use hubbub_protocol::{SessionId, UserId};
use ring::hmac;

use super::{AccountError, Accounts, Client, RegistrationMode};
use crate::{
    access_token::{AccessClaims, Keys},
    account::{Account, AccountState, Login, Password, Username, display_name, new_account_id},
    account_store::{AccountChange, Admission, Made, NewAccount, Proof},
    password_hasher::Compared,
    secret_token::SecretToken,
    session::{Decision, Ending, NewSession, RefreshToken, SessionView, new_session_id},
    sign_in_limits::{Browser, Lane},
};

/// The most bytes that are kept of what a client calls itself.
const MAX_USER_AGENT: usize = 200;
/// Bytes of the tag of a mark.
const TAG_BYTES: usize = 16;

/// What makes an account.
#[derive(Clone, Default)]
pub struct Registration {
    /// Its username.
    pub username: String,
    /// Its display name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// An invitation, or the secret of the set-up link.
    pub invite: Option<String>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A person that is signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The account.
    pub account: Account,
    /// The session.
    pub session: SessionId,
    /// Its access token.
    pub access_token: AccessToken,
    /// Its refresh token.
    pub refresh: RefreshToken,
    /// What the browser keeps, to have limits of its own at the next sign-in. None: it keeps what it has.
    pub mark: Option<String>,
}

/// An access token. `Debug` does not show it.
pub struct AccessToken {
    /// The token.
    pub token: String,
    /// When it expires, in milliseconds since 1970.
    pub expires_at: u64,
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(access token)")
    }
}

impl Accounts {
    /// Makes an account and signs it in.
    ///
    /// # Errors
    ///
    /// Why there is no account.
    pub async fn register(&self, given: Registration, client: &Client) -> Result<SignedIn, AccountError> {
        let inner = &self.inner;
        let (username, name) = (given.username.parse::<Username>(), display_name(&given.name));
        let password = match &username {
            Ok(username) => Password::chosen(&given.password, username).map(Some),
            Err(_) => Ok(None),
        };
        let (username, name, password) = match (username, name, password) {
            (Ok(username), Ok(name), Ok(Some(password))) => (username, name, password),
            (username, name, password) => {
                let errors = [username.err(), name.err(), password.err()].into_iter().flatten().collect();
                return Err(AccountError::Invalid(errors));
            }
        };
        inner.limits.try_registration(client.address).map_err(AccountError::TooFast)?;
        let keys = self.keys();
        let may_be_first = (inner.options.is_local && client.is_local)
            || given.invite.as_deref().is_some_and(|given| is_setup_secret(&keys, given));
        let admission = self.admission(given.invite.as_deref(), may_be_first).await?;
        let lane = Lane::Address(client.address);
        let password = inner.hasher.hash(lane, password).await?;
        let session = new_session(client)?;
        let account = NewAccount { id: new_account_id(), username, name, password };
        let made = inner.store.make_account(account, admission, may_be_first, Some(session.clone())).await?;
        let account = match made {
            Made::Account(account) => account,
            Made::UsernameTaken => return Err(AccountError::UsernameTaken),
            Made::NotInvited => return Err(AccountError::NotInvited),
            Made::Closed => return Err(AccountError::RegistrationClosed),
            Made::SetupNeeded => return Err(AccountError::SetupNeeded),
        };
        tracing::debug!(user.id = account.id.as_str(), "an account was made");
        signed_in(&keys, account, session.id, session.refresh, Some(rand::random()))
    }

    /// By which right an account is made. Asked before the password is hashed: who may not has no work done.
    async fn admission(&self, invite: Option<&str>, may_be_first: bool) -> Result<Admission, AccountError> {
        let invited = invite.and_then(|text| text.parse::<SecretToken>().ok());
        let is_first = async || Ok::<_, AccountError>(may_be_first && !self.inner.store.has_accounts().await?);
        match (self.inner.options.registration, invited) {
            (RegistrationMode::Open, _) => Ok(Admission::Open),
            (RegistrationMode::Invite, Some(invited)) => Ok(Admission::Invited(invited.hash())),
            (RegistrationMode::Invite, None) | (RegistrationMode::Closed, _) if is_first().await? => {
                Ok(Admission::Closed)
            }
            (RegistrationMode::Invite, None) => Err(AccountError::NotInvited),
            (RegistrationMode::Closed, _) => Err(AccountError::RegistrationClosed),
        }
    }

    /// The secret of the set-up link, as long as there is no account and one is needed.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn setup_secret(&self) -> Result<Option<String>, AccountError> {
        let is_needed = !self.inner.options.is_local && !self.inner.store.has_accounts().await?;
        Ok(is_needed.then(|| setup_secret(&self.keys())))
    }

    /// Signs in.
    ///
    /// # Errors
    ///
    /// Why not. Nothing in it tells whether there is such an account.
    pub async fn sign_in(&self, login: &str, password: &str, client: &Client) -> Result<SignedIn, AccountError> {
        let inner = &self.inner;
        let (login, password) = (Login::read(login), Password::given(password));
        let found = match &login {
            Some(login) => inner.store.credentials(login.clone()).await?,
            None => None,
        };
        let keys = self.keys();
        let mark = client.mark.as_deref().zip(found.as_ref());
        let browser = mark.and_then(|(mark, found)| read_mark(&keys, mark, &found.account.id));
        let lane = browser.map_or(Lane::Address(client.address), Lane::Browser);
        inner.limits.try_password(login.as_ref(), lane, client.address).map_err(AccountError::TooFast)?;
        let kept = found.as_ref().and_then(|found| found.password.clone());
        let compared = inner.hasher.compare(lane, password, kept).await?;
        let (Some(login), Some(found), Compared::Right | Compared::Outdated(_)) = (login, found, &compared) else {
            return Err(AccountError::WrongCredentials);
        };
        let verified = found.password.unwrap_or_default();
        if found.account.state != AccountState::Active {
            return Err(AccountError::WrongCredentials);
        }
        inner.limits.succeeded(&login, lane, client.address);
        let renewed = if let Compared::Outdated(renewed) = compared { Some(renewed) } else { None };
        let session = new_session(client)?;
        let proof = Proof { verified, renewed };
        if !inner.store.open_session(found.account.id.clone(), session.clone(), proof).await? {
            return Err(AccountError::WrongCredentials);
        }
        signed_in(&keys, found.account, session.id, session.refresh, Some(browser.unwrap_or_else(rand::random)))
    }

    /// Another access token for a refresh token, and the refresh token that counts from now on.
    ///
    /// # Errors
    ///
    /// The session has ended. It ends now if the token was replaced long ago.
    pub async fn refresh(&self, token: &RefreshToken, client: &Client) -> Result<SignedIn, AccountError> {
        let (store, keys) = (&self.inner.store, self.keys());
        // twice: another instance may rotate the token at the same moment, and then this one is the former
        for _ in 0..2 {
            let Some(found) = store.refreshable(token.handle()).await? else { return Err(AccountError::SessionEnded) };
            if found.is_over || found.account.state != AccountState::Active {
                return Err(AccountError::SessionEnded);
            }
            let refresh = match found.rotation.decide(token, &keys.successors) {
                Decision::Repeat(token) => token,
                Decision::Rotate(next) => {
                    if !store.rotate(found.session.clone(), token.hash(), next.hash()).await? {
                        continue;
                    }
                    next
                }
                Decision::End => {
                    self.end_stolen(&found.account.id, found.session, client).await?;
                    return Err(AccountError::SessionEnded);
                }
            };
            let mark = client.mark.as_deref().and_then(|mark| read_mark(&keys, mark, &found.account.id));
            return signed_in(&keys, found.account, found.session, refresh, mark);
        }
        Err(AccountError::Unavailable)
    }

    async fn end_stolen(&self, account: &UserId, session: SessionId, client: &Client) -> Result<(), AccountError> {
        tracing::warn!(
            user.id = account.as_str(), session = session.as_str(), net.address = %client.address,
            "a session is ended: a refresh token of it was used that was replaced long ago, so somebody may have a copy"
        );
        self.end(account, Ending::One(session)).await
    }

    /// Ends the session of a refresh token. Without such a session there is nothing to do.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn sign_out(&self, token: &RefreshToken) -> Result<(), AccountError> {
        let found = self.inner.store.refreshable(token.handle()).await?;
        match found.filter(|found| !found.is_over) {
            Some(found) => self.end(&found.account.id, Ending::One(found.session)).await,
            None => Ok(()),
        }
    }

    /// Ends sessions of an account.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn end(&self, account: &UserId, which: Ending) -> Result<(), AccountError> {
        let ended = self.inner.store.change_account(account.clone(), AccountChange::None, which).await?;
        self.tell(ended);
        Ok(())
    }

    /// The sessions of an account that stand.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn sessions(&self, account: &UserId) -> Result<Vec<SessionView>, AccountError> {
        Ok(self.inner.store.sessions(account.clone()).await?)
    }
}

fn new_session(client: &Client) -> Result<NewSession, AccountError> {
    let id = new_session_id().map_err(|_| AccountError::Unavailable)?;
    let printable = client.user_agent.chars().filter(|c| !c.is_control());
    let mut length = 0;
    let user_agent = printable.take_while(|c| {
        length += c.len_utf8();
        length <= MAX_USER_AGENT
    });
    Ok(NewSession {
        id,
        refresh: RefreshToken::random(),
        user_agent: user_agent.collect(),
        address: client.address.to_string(),
    })
}

fn signed_in(
    keys: &Keys,
    account: Account,
    session: SessionId,
    refresh: RefreshToken,
    browser: Option<Browser>,
) -> Result<SignedIn, AccountError> {
    let claims = AccessClaims { account: account.id.clone(), session: session.clone(), name: account.name.clone() };
    let (token, expires) = keys.issue(&claims)?;
    let access_token = AccessToken { token, expires_at: expires * 1000 };
    let mark = browser.map(|browser| write_mark(keys, browser, &account.id));
    Ok(SignedIn { account, session, access_token, refresh, mark })
}

fn setup_secret(keys: &Keys) -> String {
    let tag = hmac::sign(&keys.marks, b"set-up");
    tag.as_ref().try_into().map(|bytes| SecretToken(bytes).reveal()).unwrap_or_default()
}

fn is_setup_secret(keys: &Keys, given: &str) -> bool {
    given.parse::<SecretToken>().is_ok_and(|given| hmac::verify(&keys.marks, b"set-up", &given.0).is_ok())
}

fn tag_of(keys: &Keys, browser: &Browser, account: &UserId) -> Vec<u8> {
    let tag = hmac::sign(&keys.marks, &[b"browser", &browser[..], account.as_str().as_bytes()].concat());
    tag.as_ref().iter().copied().take(TAG_BYTES).collect()
}

/// What a browser keeps: its name, and a tag that only the server can make for this account.
fn write_mark(keys: &Keys, browser: Browser, account: &UserId) -> String {
    let mut bytes = [0; 32];
    let parts = browser.iter().copied().chain(tag_of(keys, &browser, account));
    bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    SecretToken(bytes).reveal()
}

fn read_mark(keys: &Keys, mark: &str, account: &UserId) -> Option<Browser> {
    let SecretToken(bytes) = mark.parse().ok()?;
    let (browser, tag) = bytes.split_at(TAG_BYTES);
    let browser: Browser = browser.try_into().ok()?;
    let is_ours: bool = subtle::ConstantTimeEq::ct_eq(&tag_of(keys, &browser, account)[..], tag).into();
    is_ours.then_some(browser)
}
