//! Accounts of an instance: opened from the database, then served.

use std::{sync::Arc, time::Duration};

use hubbub_api::{
    accounts::{AccountApi, AccountIdentity, CHANGES, NodeSockets, note_ends, routes},
    mail::MailServer,
    readers::MemberReaders,
    rooms::{RoomOptions, Rooms},
    seats::MemberDirectory,
    teller::LogTeller,
};
use hubbub_edge::{node::Node, ports::Ports};
use hubbub_http::{Routes, access::Readers};
use hubbub_lifecycle::{Buckets, Shutdown, Throttle};
use hubbub_log::ring::Ring;
use hubbub_messenger::{
    accounts::{AccountOptions, Accounts},
    groups::Groups,
    mail::MailOptions,
    registry::Registry,
};
use hubbub_store::Database;
use tokio::time::sleep;
use tracing::{info, warn};

use super::config::{Config, PublicUrl};

/// Pause between two attempts to read the keys.
const PAUSE: Duration = Duration::from_secs(1);

/// How accounts are served.
#[derive(Debug)]
pub(crate) struct AccountPlan {
    options: AccountOptions,
    public_url: Option<PublicUrl>,
    /// The page of the app, for links.
    page: PublicUrl,
    mail_server: Option<MailServer>,
}

impl AccountPlan {
    /// # Errors
    ///
    /// A setting is wrong.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let public_url = config.accounts.public_url().cloned();
        let is_local = config.listen.ip().is_loopback() && config.trusted_proxies().is_empty();
        let own = format!("http://{}", config.listen).parse().map_err(anyhow::Error::msg);
        let page = public_url.clone().map_or(own, Ok)?;
        let mail_server = config.accounts.mail_server()?;
        Ok(Self { options: config.accounts.options(is_local)?, public_url, page, mail_server })
    }

    /// Starts the service. Waits for a database that cannot be asked.
    ///
    /// # Errors
    ///
    /// None that does not pass.
    pub(crate) async fn open(
        self,
        database: &Database,
        teller: LogTeller,
        shutdown: &Shutdown,
    ) -> anyhow::Result<OpenAccounts> {
        static AWAY: Throttle = Throttle::new();
        let mail = self
            .mail_server
            .map(|server| MailOptions { post: Arc::new(server.start(shutdown)), page: self.page.app() });
        let (options, teller) = (AccountOptions { mail, ..self.options }, Arc::new(teller));
        let accounts = loop {
            let started = Accounts::start(Arc::new(database.clone()), teller.clone(), options.clone()).await;
            match started {
                Ok(accounts) => break accounts,
                Err(error) => {
                    if let Some(held_back) = AWAY.pass() {
                        warn!(%error, held_back, "waiting for the accounts: this instance is not ready before");
                    }
                }
            }
            sleep(PAUSE).await;
        };
        if let Ok(Some(secret)) = accounts.setup_secret().await {
            info!(
                "there is no account yet: make the first one, the administrator's, at {}",
                self.page.page(&format!("set-up={secret}"))
            );
        }
        let registry = Registry::new(Arc::new(database.clone()), teller);
        Ok(OpenAccounts { accounts, registry, database: database.clone(), public_url: self.public_url })
    }
}

/// Accounts that are served.
#[derive(Clone, Debug)]
pub(crate) struct OpenAccounts {
    accounts: Accounts,
    registry: Registry,
    database: Database,
    public_url: Option<PublicUrl>,
}

impl OpenAccounts {
    /// The ports of an instance with accounts.
    pub(crate) fn ports(&self) -> Ports {
        Ports {
            identity: Arc::new(AccountIdentity(self.accounts.clone())),
            directory: Arc::new(MemberDirectory(Arc::new(self.database.clone()))),
            ..Ports::default()
        }
    }

    /// Closes the sockets of sessions that end, as long as the instance runs.
    pub(crate) fn follow(&self, ring: Arc<Ring>, node: &Node, shutdown: &Shutdown) {
        shutdown.spawn_until_shutdown(note_ends(ring, self.accounts.clone()));
        let sockets = Arc::new(NodeSockets(node.clone()));
        shutdown.spawn_until_shutdown(self.accounts.clone().follow(sockets));
    }

    /// Who may read the history of private rooms.
    pub(crate) fn readers(&self) -> Arc<dyn Readers> {
        Arc::new(MemberReaders { accounts: self.accounts.clone(), memberships: Arc::new(self.database.clone()) })
    }

    /// The calls.
    pub(crate) fn routes(&self, node: &Node) -> Routes {
        let url = self.public_url.as_ref();
        let accounts = AccountApi {
            accounts: self.accounts.clone(),
            changes: Arc::new(Buckets::new(CHANGES)),
            groups: Groups::new(self.registry.clone()),
            sight: Arc::new(self.database.clone()),
            guests: true,
            base_path: url.map_or_else(String::new, |url| url.path().to_owned()),
            is_secure: url.is_some_and(PublicUrl::is_secure),
        };
        let options =
            RoomOptions { public_url: url.map_or_else(String::new, PublicUrl::base), ..RoomOptions::default() };
        let rooms = Rooms::new(&self.registry, Arc::new(self.database.clone()), Arc::new(node.clone()), options);
        routes(accounts.clone()).merge(rooms.routes(accounts))
    }
}
