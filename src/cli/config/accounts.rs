//! The options of accounts.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use hubbub_api::mail::MailServer;
use hubbub_lifecycle::Secret;
use hubbub_messenger::{
    access_token::SigningKey,
    accounts::{AccountOptions, RegistrationMode},
};
use url::Url;

use super::value::{rate, source};

/// Who has an account, and how. Accounts need a database.
#[derive(Clone, Debug, Args)]
pub(crate) struct AccountArgs {
    /// Who may make an account: anybody, whoever has an invitation (see `hubbub invite`), or only whoever runs the server
    /// (see `hubbub user add`). The first account becomes the administrator.
    #[arg(long, env = "HUBBUB_REGISTRATION", help_heading = "Accounts", default_value = "open", value_name = "MODE")]
    registration: RegistrationArg,

    /// URL under which browsers reach this server, with the path if it has one (<https://example.com/chat>). Cookies are
    /// made for it, and links in mails and invitations begin with it [default: taken from each request].
    #[arg(long, env = "HUBBUB_PUBLIC_URL", help_heading = "Accounts", value_name = "URL")]
    public_url: Option<PublicUrl>,

    /// File with the Ed25519 keys, in PEM, that sign access tokens. The first one signs, tokens of all of them count
    /// [default: a key that is made once and kept in the database].
    #[arg(long, env = "HUBBUB_TOKEN_KEY", help_heading = "Accounts", value_name = "FILE")]
    token_key: Option<PathBuf>,

    /// Mail server for links by which people set another password: <smtp://HOST:25>, <smtp://USER:PASSWORD@HOST:587?tls=required>
    /// or <smtps://USER:PASSWORD@HOST>. Needs --public-url [default: no mails].
    #[arg(long, env = "HUBBUB_SMTP_URL", help_heading = "Accounts", hide_env_values = true, value_name = "URL")]
    smtp_url: Option<Secret>,

    /// File to read the URL of the mail server from, instead of --smtp-url.
    #[arg(
        long,
        env = "HUBBUB_SMTP_URL_FILE",
        help_heading = "Accounts",
        value_name = "FILE",
        conflicts_with = "smtp_url"
    )]
    smtp_url_file: Option<PathBuf>,

    /// Sender of the mails [default: `hubbub` at the host of --public-url].
    #[arg(long, env = "HUBBUB_MAIL_FROM", help_heading = "Accounts", value_name = "ADDR")]
    mail_from: Option<String>,

    /// Failed sign-ins that one IPv4 address or IPv6 /64 may have per second, on average; 60 times as many at once.
    /// A sixth of it counts for new accounts, a twelfth for mails.
    #[arg(long, env = "HUBBUB_SIGN_IN_RATE_ADDRESS", help_heading = "Limits", default_value_t = 1.0, value_name = "N/S", value_parser = rate)]
    sign_in_rate_address: f64,
}

/// Value of `--registration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RegistrationArg {
    /// Anybody.
    Open,
    /// Whoever has an invitation.
    Invite,
    /// Whoever runs the server.
    Closed,
}

/// Value of `--public-url`: with a host, without user, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl(Url);

impl PublicUrl {
    /// Its path, without a `/` at its end.
    pub(crate) fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Whether it is reached over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Its host.
    fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The URL without a `/` at its end.
    pub(crate) fn base(&self) -> String {
        self.0.as_str().trim_end_matches('/').to_owned()
    }

    /// The URL of the page of the app.
    pub(crate) fn app(&self) -> String {
        format!("{}/", self.base())
    }

    /// The URL of a page of the app, which has its state in the fragment.
    pub(crate) fn page(&self, fragment: &str) -> String {
        format!("{}#{fragment}", self.app())
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let is_bare = |url: &Url| {
            url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
                // the path stands in a header
                && !url.path().contains([';', ','])
        };
        url.filter(is_bare)
            .map(Self)
            .ok_or("expected a URL such as https://chat.example.com or https://example.com/chat")
    }
}

impl AccountArgs {
    /// The URL under which browsers reach this server.
    pub(crate) fn public_url(&self) -> Option<&PublicUrl> {
        self.public_url.as_ref()
    }

    /// How accounts are served. `is_local`: only this machine reaches the server.
    ///
    /// # Errors
    ///
    /// `--token-key` cannot be read.
    pub(crate) fn options(&self, is_local: bool) -> anyhow::Result<AccountOptions> {
        Ok(AccountOptions {
            registration: self.registration.into(),
            is_local,
            rate: self.sign_in_rate_address,
            signing_keys: self.signing_keys()?,
            mail: None,
        })
    }

    /// The mail server, if there is one.
    ///
    /// # Errors
    ///
    /// A setting is wrong or missing.
    pub(crate) fn mail_server(&self) -> anyhow::Result<Option<MailServer>> {
        let Some(url) = source(self.smtp_url.as_ref(), self.smtp_url_file.as_ref()) else { return Ok(None) };
        let url = url.read().context("--smtp-url-file: cannot read")?;
        let public_url =
            self.public_url.as_ref().context("--smtp-url needs --public-url: links in mails begin with it")?;
        let sender = self.mail_from.clone().unwrap_or_else(|| format!("hubbub@{}", public_url.host()));
        MailServer::new(url.reveal(), &sender).map(Some).context("--smtp-url, --mail-from")
    }

    fn signing_keys(&self) -> anyhow::Result<Vec<SigningKey>> {
        let Some(path) = &self.token_key else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("--token-key {}", path.display()))?;
        let keys = SigningKey::from_pem(&text).with_context(|| format!("--token-key {}", path.display()))?;
        ensure!(keys.len() <= 2, "--token-key: two keys count at a time, and this file has {}", keys.len());
        Ok(keys)
    }
}

impl From<RegistrationArg> for RegistrationMode {
    fn from(arg: RegistrationArg) -> Self {
        match arg {
            RegistrationArg::Open => Self::Open,
            RegistrationArg::Invite => Self::Invite,
            RegistrationArg::Closed => Self::Closed,
        }
    }
}
