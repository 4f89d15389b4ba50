//! Personal access tokens: how the programs of a person are known.

use hubbub_protocol::{SessionId, UserId};

use super::{AccountError, Accounts, Caller, CallerKind};
use crate::{
    account::{Account, InvalidField},
    account_store::PersonalTokenView,
    secret_token::SecretToken,
    session::new_session_id,
};

/// With this a personal access token begins, so that whoever finds one knows what it is.
const PREFIX: &str = "hubbub_pat_";
/// The most characters of the name of a token.
const MAX_NAME_CHARS: usize = 64;

impl Accounts {
    /// Makes a token. The text is shown once.
    ///
    /// # Errors
    ///
    /// The name breaks a rule, the account has too many tokens, or the session has ended meanwhile.
    pub async fn add_personal_token(
        &self,
        caller: &Caller,
        name: &str,
        may_write: bool,
    ) -> Result<(PersonalTokenView, String), AccountError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            let detail = "the name of a token is 1 to 64 characters";
            return Err(InvalidField { field: "name", code: "invalid_name", detail }.into());
        }
        let secret = SecretToken::random();
        let view = PersonalTokenView {
            id: new_session_id().map_err(|_| AccountError::Unavailable)?,
            name: name.to_owned(),
            may_write,
            created_at: hubbub_lifecycle::clock::unix_millis(),
            used_at: None,
        };
        let (account, session) = (caller.account.clone(), caller.session.clone());
        let is_added = self.inner.store.add_personal_token(account, session, view.clone(), secret.hash()).await?;
        if is_added { Ok((view, format!("{PREFIX}{}", secret.reveal()))) } else { Err(AccountError::TooMany) }
    }

    /// The tokens of an account.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn personal_tokens(&self, account: &UserId) -> Result<Vec<PersonalTokenView>, AccountError> {
        Ok(self.inner.store.personal_tokens(account.clone()).await?)
    }

    /// Takes a token back. Its sockets are closed.
    ///
    /// # Errors
    ///
    /// There is no such token.
    pub async fn revoke_personal_token(&self, account: &UserId, id: SessionId) -> Result<(), AccountError> {
        let event = self.inner.store.revoke_personal_token(account.clone(), id).await?;
        self.tell(vec![event.ok_or(AccountError::NotFound("token"))?]);
        Ok(())
    }

    /// Whether this text claims to be a personal access token.
    pub(super) fn is_personal(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// Whose call it is, by a personal access token.
    pub(super) async fn authorize_program(&self, token: &str) -> Result<Caller, AccountError> {
        let (account, view) = self.program(token).await?;
        let by = CallerKind::PersonalToken { may_write: view.may_write };
        Ok(Caller { account: account.id, name: account.name, session: view.id, by })
    }

    /// The account of a personal access token, and its id in place of a session.
    pub(super) async fn enter_program(&self, token: &str) -> Result<(Account, SessionId), AccountError> {
        let (account, view) = self.program(token).await?;
        // a socket publishes; a token that may only read has the history over HTTP
        if view.may_write { Ok((account, view.id)) } else { Err(AccountError::NotAllowed) }
    }

    async fn program(&self, token: &str) -> Result<(Account, PersonalTokenView), AccountError> {
        let secret = token.strip_prefix(PREFIX).and_then(|text| text.parse::<SecretToken>().ok());
        let secret = secret.ok_or(AccountError::SessionEnded)?;
        self.inner.store.personal_token(secret.hash()).await?.ok_or(AccountError::SessionEnded)
    }
}
