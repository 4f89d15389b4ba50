//! `hubbub user` and `hubbub invite`: accounts, for whoever runs the server. The instances may run.

use std::{io, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand, value_parser};
use hubbub_messenger::{
    account::{AccountState, Login},
    accounts::{AccountError, AccountOptions, Accounts, RegistrationMode},
    outbox::{Event, Teller},
};
use hubbub_store::{Database, DatabaseOptions};
use rand::distr::{Alphanumeric, SampleString};

use super::config::{Durable, PlaceArgs, PublicUrl, RedisArgs};
use super::storage::LogPlace;

/// Characters of a password that is made up.
const PASSWORD_CHARS: usize = 20;
/// Accounts that are read at a time.
const PAGE: usize = 200;
/// A day.
const DAY: Duration = Duration::from_hours(24);

/// Which database.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    redis: RedisArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

/// What is done to accounts.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account. Prints a password, unless one comes on standard input.
    Add {
        /// What the person signs in with.
        username: String,
        /// The name that others see [default: the username].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// It may do what administrators may.
        #[arg(long)]
        administrator: bool,
        /// Read the password from standard input: its first line.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List all accounts.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Close an account: all its sessions end, and nobody signs in to it.
    Disable {
        /// Its username.
        username: String,
        #[command(flatten)]
        place: Place,
    },
    /// Open an account again.
    Enable {
        /// Its username.
        username: String,
        #[command(flatten)]
        place: Place,
    },
    /// Set another password. All sessions end. Prints it, unless it comes on standard input.
    Password {
        /// Its username.
        username: String,
        /// Read the password from standard input: its first line.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// An invitation to the server.
#[derive(Clone, Debug, Args)]
pub(crate) struct InviteCommand {
    /// How many accounts may be made with it.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    uses: u32,

    /// Days until it expires.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = value_parser!(u32).range(1..=365))]
    days: u32,

    /// URL under which browsers reach the server.
    #[arg(long, env = "HUBBUB_PUBLIC_URL", value_name = "URL")]
    public_url: Option<PublicUrl>,

    #[command(flatten)]
    place: Place,
}

/// Another key for access tokens.
#[derive(Clone, Debug, Args)]
pub(crate) struct RotateKeyCommand {
    #[command(flatten)]
    place: Place,
}

impl RotateKeyCommand {
    /// Makes another key.
    ///
    /// # Errors
    ///
    /// There is no database.
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let (accounts, database) = self.place.open().await?;
        let made = accounts.rotate_signing_key().await.map_err(said);
        database.close().await;
        made?;
        let told = "Another key signs access tokens from now on. Tokens of the former one count until the key is replaced again: \
                    wait 20 minutes before that.";
        Ok(told.to_owned())
    }
}

impl Place {
    /// The service, and the database below it.
    async fn open(&self) -> anyhow::Result<(Accounts, Database)> {
        let log = LogPlace::of(&self.redis, &self.place, Durable::Full);
        let Some(url) = log.database(&self.place)? else { bail!("there is no database: see --database-url") };
        let options = DatabaseOptions { migrate: false, ..DatabaseOptions::default() };
        let database = Database::open(&url, options).await.context("--database-url")?;
        let options = AccountOptions {
            registration: RegistrationMode::Closed,
            is_local: true,
            rate: 1.0,
            signing_keys: Vec::new(),
            mail: None,
        };
        let accounts = Accounts::start(Arc::new(database.clone()), Arc::new(Nobody), options).await;
        Ok((accounts.map_err(said)?, database))
    }
}

impl UserCommand {
    /// Does it. Returns what whoever ran the command is told.
    ///
    /// # Errors
    ///
    /// There is no database, or no such account.
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let (Self::Add { place, .. }
        | Self::List { place }
        | Self::Disable { place, .. }
        | Self::Enable { place, .. }
        | Self::Password { place, .. }) = self;
        let (accounts, database) = place.open().await?;
        let done = self.act(&accounts).await;
        database.close().await;
        done
    }

    async fn act(&self, accounts: &Accounts) -> anyhow::Result<String> {
        match self {
            Self::Add { username, name, administrator, password_stdin, .. } => {
                let (password, shown) = password(*password_stdin)?;
                let name = name.as_deref().unwrap_or(username);
                let account = accounts.add(username, name, &password, *administrator).await.map_err(said)?;
                let what = if account.administrator { "administrator" } else { "account" };
                Ok(format!("The {what} {} is made.{shown}", account.username))
            }
            Self::List { .. } => list(accounts).await,
            Self::Disable { username, .. } => {
                let id = find(accounts, username).await?;
                accounts.set_state(&id, AccountState::Disabled).await.map_err(said)?;
                Ok(format!("The account {username} is closed."))
            }
            Self::Enable { username, .. } => {
                let id = find(accounts, username).await?;
                accounts.set_state(&id, AccountState::Active).await.map_err(said)?;
                Ok(format!("The account {username} is open."))
            }
            Self::Password { username, password_stdin, .. } => {
                let id = find(accounts, username).await?;
                let (password, shown) = password(*password_stdin)?;
                accounts.set_password(&id, &password).await.map_err(said)?;
                Ok(format!("The account {username} has another password.{shown}"))
            }
        }
    }
}

impl InviteCommand {
    /// Makes an invitation. Returns its link.
    ///
    /// # Errors
    ///
    /// There is no database.
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let (accounts, database) = self.place.open().await?;
        let token = accounts.invite(self.uses, DAY * self.days).await.map_err(said);
        database.close().await;
        let token = token?;
        Ok(match &self.public_url {
            Some(url) => url.page(&format!("invite={token}")),
            None => token,
        })
    }
}

async fn list(accounts: &Accounts) -> anyhow::Result<String> {
    let (mut lines, mut after) = (Vec::new(), String::new());
    loop {
        let page = accounts.list(after.clone(), PAGE).await.map_err(said)?;
        let Some(last) = page.last() else { break };
        last.username.clone_into(&mut after);
        lines.extend(page.iter().map(|account| {
            let role = if account.administrator { "administrator" } else { "" };
            format!("{}\t{}\t{}\t{role}", account.username, account.name, account.state.name()).trim_end().to_owned()
        }));
    }
    Ok(lines.join("\n"))
}

async fn find(accounts: &Accounts, username: &str) -> anyhow::Result<hubbub_protocol::UserId> {
    let login = Login::read(username).filter(|_| !username.contains('@'));
    let login = login.with_context(|| format!("{username} is no username"))?;
    let found = accounts.find(login).await.map_err(said)?;
    found.map(|account| account.id).with_context(|| format!("there is no account {username}"))
}

/// A password, and what is said of it.
fn password(from_input: bool) -> anyhow::Result<(String, String)> {
    if from_input {
        let mut line = String::new();
        let _length = io::stdin().read_line(&mut line).context("standard input")?;
        return Ok((line.trim_end_matches(['\r', '\n']).to_owned(), String::new()));
    }
    let password = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_CHARS);
    let shown = format!(" Its password: {password}");
    Ok((password, shown))
}

fn said(error: AccountError) -> anyhow::Error {
    match error {
        AccountError::Invalid(errors) => anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        other => anyhow!(other),
    }
}

/// The instances read the database.
#[derive(Clone, Copy, Debug)]
struct Nobody;

impl Teller for Nobody {
    fn tell(&self, _: Vec<Event>) {}
}
