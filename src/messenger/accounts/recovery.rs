//! Passwords and mail addresses: changed, reset and verified.

use hubbub_protocol::UserId;

use super::{AccountError, Accounts, Caller, Client};
use crate::{
    account::{Account, AccountState, Login, MailAddress, Password},
    account_store::{AccountChange, MailPurpose, ProfileChange},
    mail::Mail,
    password_hasher::Compared,
    secret_token::SecretToken,
    session::Ending,
    sign_in_limits::Lane,
};

impl Accounts {
    /// Whether mails can be sent.
    pub fn offers_mail(&self) -> bool {
        self.inner.options.mail.is_some()
    }

    /// Checks the password of somebody who is signed in already, before a change that a stolen session must not make.
    ///
    /// # Errors
    ///
    /// It is wrong, was tried too often, or cannot be checked now.
    pub async fn confirm(&self, id: &UserId, password: &str, client: &Client) -> Result<Account, AccountError> {
        let inner = &self.inner;
        let found = inner.store.account(id.clone()).await?;
        let found = found.filter(|found| found.account.state == AccountState::Active);
        let found = found.ok_or(AccountError::SessionEnded)?;
        let login = Login::read(&found.account.username).ok_or(AccountError::WrongPassword)?;
        let lane = Lane::Address(client.address);
        inner.limits.try_password(Some(&login), lane, client.address).map_err(AccountError::TooFast)?;
        match inner.hasher.compare(lane, Password::given(password), found.password).await? {
            Compared::Wrong => Err(AccountError::WrongPassword),
            Compared::Right | Compared::Outdated(_) => {
                inner.limits.succeeded(&login, lane, client.address);
                Ok(found.account)
            }
        }
    }

    /// Changes the password. The other sessions end.
    ///
    /// # Errors
    ///
    /// The current password is wrong, or the new one breaks a rule.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &str,
        new: &str,
        client: &Client,
    ) -> Result<(), AccountError> {
        let account = self.confirm(&caller.account, current, client).await?;
        let new = Password::chosen(new, &account.username.parse()?)?;
        let hash = self.inner.hasher.hash(Lane::Address(client.address), new).await?;
        self.change(&caller.account, AccountChange::Password(hash), Ending::AllBut(caller.session.clone())).await
    }

    /// Deletes the account. All its sessions end, and its username stays reserved.
    ///
    /// # Errors
    ///
    /// The password is wrong.
    pub async fn delete(&self, caller: &Caller, password: &str, client: &Client) -> Result<(), AccountError> {
        let _account = self.confirm(&caller.account, password, client).await?;
        self.change(&caller.account, AccountChange::Delete, Ending::All).await
    }

    /// Closes an account, or opens it again.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn set_state(&self, id: &UserId, state: AccountState) -> Result<(), AccountError> {
        let ending = if state == AccountState::Active { Ending::None } else { Ending::All };
        self.change(id, AccountChange::State(state), ending).await
    }

    pub(super) async fn change(&self, id: &UserId, change: AccountChange, ending: Ending) -> Result<(), AccountError> {
        let ended = self.inner.store.change_account(id.clone(), change, ending).await?;
        self.tell(ended);
        Ok(())
    }

    /// Sends a mail with a link by which another password can be set, if an account has this verified address. Whether
    /// one has, the caller does not learn: not by the answer, and not by its time.
    ///
    /// # Errors
    ///
    /// No mails are sent here, or too many were asked for.
    pub async fn forgot_password(&self, address: &str, client: &Client) -> Result<(), AccountError> {
        let offered = self.inner.options.mail.is_some();
        if !offered {
            return Err(AccountError::NotFound("call: this server sends no mails"));
        }
        let address: MailAddress = address.parse()?;
        self.inner.limits.try_mail(client.address).map_err(AccountError::TooFast)?;
        let found = self.inner.store.credentials(Login::Mail(address.clone())).await?;
        if let Some(found) = found.filter(|found| found.account.state == AccountState::Active) {
            self.mail_in_background(found.account, MailPurpose::Reset, address);
        }
        Ok(())
    }

    /// Sets another password by the token of a mail. All sessions end.
    ///
    /// # Errors
    ///
    /// The token does not count, or the password breaks a rule.
    pub async fn reset_password(&self, token: &str, password: &str, client: &Client) -> Result<(), AccountError> {
        let unknown = || AccountError::NotFound("link, or it was used already: ask for another mail");
        let token = token.parse::<SecretToken>().map_err(|_| unknown())?.hash();
        let account = self.inner.store.resettable(token.clone()).await?.ok_or_else(unknown)?;
        let password = Password::chosen(password, &account.username.parse()?)?;
        let hash = self.inner.hasher.hash(Lane::Address(client.address), password).await?;
        let ended = self.inner.store.reset_password(token, hash).await?.ok_or_else(unknown)?;
        self.tell(ended);
        Ok(())
    }

    /// Sends a mail to a new address of an account. Until its link is used, the address counts for nothing.
    ///
    /// # Errors
    ///
    /// The password is wrong, the address is none, or no mails are sent here.
    pub async fn change_email(
        &self,
        caller: &Caller,
        address: Option<&str>,
        password: &str,
        client: &Client,
    ) -> Result<(), AccountError> {
        let address = address.map(str::parse::<MailAddress>).transpose()?;
        let account = self.confirm(&caller.account, password, client).await?;
        let Some(address) = address else {
            let change = ProfileChange { forget_email: true, ..ProfileChange::default() };
            let _changed = self.inner.store.change_profile(caller.account.clone(), change).await?;
            return Ok(());
        };
        if !self.offers_mail() {
            return Err(AccountError::NotFound("call: this server sends no mails"));
        }
        self.inner.limits.try_mail(client.address).map_err(AccountError::TooFast)?;
        self.mail_in_background(account, MailPurpose::Verify, address);
        Ok(())
    }

    /// Shows that a mail address belongs to an account, by the token of a mail.
    ///
    /// # Errors
    ///
    /// The token does not count, or the address belongs to another account by now.
    pub async fn verify_email(&self, token: &str) -> Result<(), AccountError> {
        let unknown =
            || AccountError::NotFound("link, or it was used already, or the address belongs to another account");
        let token = token.parse::<SecretToken>().map_err(|_| unknown())?.hash();
        if self.inner.store.verify_email(token).await? { Ok(()) } else { Err(unknown()) }
    }

    fn mail_in_background(&self, account: Account, purpose: MailPurpose, address: MailAddress) {
        let accounts = self.clone();
        drop(self.inner.tasks.spawn(async move {
            let Some(mail) = &accounts.inner.options.mail else { return };
            let token = SecretToken::random();
            let kept = accounts.inner.store.add_mail_token(token.hash(), account.id.clone(), purpose, address.clone());
            match kept.await {
                Ok(true) => mail.post.send(Mail::with_link(purpose, address, &account.username, &mail.page, &token)),
                Ok(false) => tracing::debug!(user.id = account.id.as_str(), "an account was mailed too often lately"),
                Err(error) => tracing::warn!(%error, "a mail cannot be sent: its token cannot be kept"),
            }
        }));
    }
}
