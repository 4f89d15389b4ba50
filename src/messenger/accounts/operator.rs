//! What administrators and whoever runs the server do with accounts.

use std::time::Duration;

use hubbub_protocol::UserId;

use super::{AccountError, Accounts};
use crate::{
    access_token::SigningKey,
    account::{Account, Login, Password, Username, display_name, new_account_id},
    account_store::{AccountChange, Admission, Made, NewAccount, StoredSecret},
    secret_token::SecretToken,
    session::Ending,
    sign_in_limits::Lane,
};

/// Passwords of whoever runs the server have a lane of their own.
const OPERATOR: Lane = Lane::Browser([0; 16]);

impl Accounts {
    /// Makes an account, whatever the registration says.
    ///
    /// # Errors
    ///
    /// The username is taken, or a text breaks a rule.
    pub async fn add(
        &self,
        username: &str,
        name: &str,
        password: &str,
        administrator: bool,
    ) -> Result<Account, AccountError> {
        let username: Username = username.parse()?;
        let name = display_name(name)?;
        let password = self.inner.hasher.hash(OPERATOR, Password::chosen(password, &username)?).await?;
        let account = NewAccount { id: new_account_id(), username, name, password };
        let made = self.inner.store.make_account(account, Admission::ByOperator { administrator }, true, None).await?;
        if let Made::Account(account) = made { Ok(account) } else { Err(AccountError::UsernameTaken) }
    }

    /// Sets another password. All sessions end.
    ///
    /// # Errors
    ///
    /// There is no such account, or the password breaks a rule.
    pub async fn set_password(&self, id: &UserId, password: &str) -> Result<(), AccountError> {
        let account = self.account(id).await?;
        let password = Password::chosen(password, &account.username.parse()?)?;
        let hash = self.inner.hasher.hash(OPERATOR, password).await?;
        self.change(id, AccountChange::Password(hash), Ending::All).await
    }

    /// Makes an account an administrator, or takes that back.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn set_administrator(&self, id: &UserId, is_administrator: bool) -> Result<(), AccountError> {
        self.change(id, AccountChange::Administrator(is_administrator), Ending::None).await
    }

    /// The account that signs in so.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn find(&self, login: Login) -> Result<Option<Account>, AccountError> {
        Ok(self.inner.store.credentials(login).await?.map(|found| found.account))
    }

    /// Accounts in the order of their usernames, after this one.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn list(&self, after: String, limit: usize) -> Result<Vec<Account>, AccountError> {
        Ok(self.inner.store.list_accounts(after, limit).await?)
    }

    /// Makes an invitation to the server. Returns its secret.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn invite(&self, uses: u32, life: Duration) -> Result<String, AccountError> {
        let token = SecretToken::random();
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        self.inner.store.add_invitation(token.hash(), uses, life).await?;
        Ok(token.reveal())
    }

    /// Makes another key that signs access tokens. The former one counts until the next is made.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn rotate_signing_key(&self) -> Result<(), AccountError> {
        let secret = StoredSecret { purpose: "signing".to_owned(), value: SigningKey::generate()? };
        Ok(self.inner.store.add_secret(secret, true).await?)
    }
}
