//! The connection to Redis, and its replacement when the password, the certificates or the URL change.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use fred::{
    clients::{Client, SubscriberClient},
    error::Error,
    interfaces::{ClientLike, EventInterface},
    types::{
        Builder, RespVersion,
        config::{Config, ReconnectError, ReconnectPolicy, Server, TcpConfig, UnresponsiveConfig},
    },
};
use hubbub_lifecycle::{Throttle, metric::RELOAD_FAILURES};
use metrics::counter;
use parking_lot::Mutex;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc, oneshot, watch,
    },
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};

use super::{
    address::Address,
    advice::{self, explain},
    config::{Access, RedisConfig, RedisError},
    eviction, tls,
};
use crate::backend::BackendError;

/// Longest wait for a reply. The caller tries again after it.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection, and for its first commands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which a reply is due for this long is closed.
const UNRESPONSIVE: Duration = Duration::from_secs(3);
/// Payloads that may wait for the subscriber before it lags.
const CHANNEL: usize = 8192;
/// Longest wait of a call for a connection.
const CONNECTED_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a client that has stopped is started again.
const RESTART: Duration = Duration::from_secs(1);
/// How often a log line repeats why there is no connection.
const REMINDER: Duration = Duration::from_mins(1);

/// The warning that changed files cannot be used.
static UNUSABLE: Throttle = Throttle::new();

/// What a renewal of the connection has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The URL and the files say what they said before.
    Unchanged,
    /// They say something else. New connections use it, and have succeeded.
    Renewed,
}

/// Reads the URL and the files again when the operator says so.
#[derive(Clone, Debug)]
pub struct Renewer(mpsc::Sender<oneshot::Sender<Result<Renewal, RedisError>>>);

impl Renewer {
    /// Reads the URL and the files again, and connects with them if they have changed. After an error the former ones
    /// stay in use.
    ///
    /// # Errors
    ///
    /// They cannot be read, or Redis refuses a connection with them.
    pub async fn renew(&self) -> Result<Renewal, RedisError> {
        let (reply, renewed) = oneshot::channel();
        // an error means that the connection is closed: nothing needs to be renewed
        drop(self.0.send(reply).await);
        renewed.await.unwrap_or(Ok(Renewal::Unchanged))
    }
}

/// The connection as it is now.
pub(super) struct Connection {
    clients: watch::Receiver<Arc<Clients>>,
    renewer: Option<Renewer>,
    keeper: AbortOnDropHandle<()>,
}

/// Two clients with the same access: one for commands, and one that listens to the channel.
pub(super) struct Clients {
    pub(super) commands: Client,
    pub(super) subscriber: SubscriberClient,
    pub(super) clustered: bool,
    tls: bool,
    /// Why there was no connection when one was tried last, and when a log line has said so.
    refused: Mutex<Option<(String, Instant)>>,
    _running: [AbortOnDropHandle<()>; 3],
}

type Errors = Receiver<(Error, Option<Server>)>;

impl Connection {
    /// Begins to connect and returns. `key` is in the slot of every key of the log.
    pub(super) fn open(config: &RedisConfig, key: &str) -> Result<Self, RedisError> {
        let access = config.read()?;
        let (clients, errors) = Clients::start(&access, key)?;
        let (current, clients) = watch::channel(Arc::new(clients));
        let (sender, requests) = mpsc::channel(1);
        let keeper = Keeper { config: config.clone(), key: key.to_owned(), access, current, errors, requests };
        let keeper = AbortOnDropHandle::new(TaskTracker::new().spawn(keeper.run()));
        Ok(Self { clients, renewer: config.can_change().then_some(Renewer(sender)), keeper })
    }

    pub(super) fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients.borrow())
    }

    /// The clients from now on.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Clients>> {
        self.clients.clone()
    }

    pub(super) fn renewer(&self) -> Option<Renewer> {
        self.renewer.clone()
    }

    /// The clients as soon as they are connected. Waits for that, but not long: a command without a connection would wait
    /// in fred's queue, and be sent after its caller has given up.
    pub(super) async fn connected(&self) -> Result<Arc<Clients>, BackendError> {
        let clients = self.clients();
        let connected = timeout(CONNECTED_TIMEOUT, clients.commands.wait_for_connect()).await;
        connected.map_err(|_| clients.not_connected())?.map_err(|error| BackendError(explain(&error)))?;
        Ok(clients)
    }

    /// Renews nothing from now on.
    pub(super) fn settle(&self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("clustered", &self.clustered).finish_non_exhaustive()
    }
}

impl Clients {
    fn start(access: &Access, key: &str) -> Result<(Self, [Errors; 2]), RedisError> {
        let server = server(access)?;
        let (clustered, tls) = (server.server.is_clustered(), server.uses_tls());
        let builder = builder(server);
        let commands = builder.build().map_err(|error| unusable(&error))?;
        let subscriber = builder.build_subscriber_client().map_err(|error| unusable(&error))?;
        let errors = [commands.error_rx(), subscriber.error_rx()];
        let watch = eviction::watch(commands.clone(), key.to_owned());
        let running = [
            keep_connected(commands.clone()),
            keep_connected(subscriber.clone()),
            AbortOnDropHandle::new(TaskTracker::new().spawn(watch)),
        ];
        Ok((Self { commands, subscriber, clustered, tls, refused: Mutex::default(), _running: running }, errors))
    }
}

impl Clients {
    fn not_connected(&self) -> BackendError {
        let reason = self.refused.lock().as_ref().map(|(reason, _)| reason.clone());
        BackendError(reason.unwrap_or_else(|| "not connected to Redis".to_owned()))
    }

    /// What to do about an error, if that is known. `server`: the one that was lost; None: an attempt to connect failed.
    pub(super) fn advise(&self, error: &Error, server: Option<&Server>) -> Option<&'static str> {
        if server.is_some() { advice::advise(error) } else { advice::advise_on_attempt(error, self.tls) }
    }
}

/// Replaces the clients when the files have changed: on request, and when a connection fails.
struct Keeper {
    config: RedisConfig,
    key: String,
    access: Access,
    current: watch::Sender<Arc<Clients>>,
    errors: [Errors; 2],
    requests: mpsc::Receiver<oneshot::Sender<Result<Renewal, RedisError>>>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let [commands, subscriber] = &mut self.errors;
            tokio::select! {
                error = commands.recv() => self.failed(error).await,
                error = subscriber.recv() => self.failed(error).await,
                Some(reply) = self.requests.recv() => {
                    // whoever asked may have gone
                    drop(reply.send(self.renew().await));
                }
            }
        }
    }

    async fn failed(&mut self, error: Result<(Error, Option<Server>), RecvError>) {
        match error {
            Ok((error, server)) => self.complain(&error, server.as_ref()),
            Err(RecvError::Lagged(_)) => (),
            // the client has been closed: it never fails again
            Err(RecvError::Closed) => return pending().await,
        }
        if !self.config.can_change() {
            return;
        }
        match self.renew().await {
            Ok(Renewal::Unchanged) => (),
            Ok(Renewal::Renewed) => info!("Redis accepts the URL and the files as they are now"),
            Err(error) => {
                if UNUSABLE.pass().is_some() {
                    warn!(%error, "the Redis URL or its files have changed and cannot be used: the former ones stay in use");
                }
            }
        }
    }

    /// Says why there is no connection when the operator can change that: at once, and while it lasts each minute.
    fn complain(&self, error: &Error, server: Option<&Server>) {
        let clients = self.current.borrow();
        let advice = clients.advise(error, server);
        let reason = advice::with(advice, error);
        let mut refused = clients.refused.lock();
        let said = refused.take().filter(|(known, at)| *known == reason && at.elapsed() < REMINDER);
        if said.is_none() && advice.is_some() {
            warn!(reason, "no connection to Redis");
        }
        *refused = Some((reason, said.map_or_else(Instant::now, |(_, at)| at)));
    }

    async fn renew(&mut self) -> Result<Renewal, RedisError> {
        let renewed = self.try_renew().await;
        if renewed.is_err() {
            counter!(RELOAD_FAILURES).increment(1);
        }
        renewed
    }

    /// The former connection stays until one with the new access has succeeded: it may be the one that works.
    async fn try_renew(&mut self) -> Result<Renewal, RedisError> {
        let config = self.config.clone();
        let read = spawn_blocking(move || config.read()).await;
        let access = read.unwrap_or_else(|error| Err(RedisError::File(error.to_string())))?;
        if access == self.access {
            return Ok(Renewal::Unchanged);
        }
        try_connect(&access).await?;
        let (clients, errors) = Clients::start(&access, &self.key)?;
        (self.access, self.errors) = (access, errors);
        drop(self.current.send_replace(Arc::new(clients)));
        Ok(Renewal::Renewed)
    }
}

/// Connects once, and closes the connection.
async fn try_connect(access: &Access) -> Result<(), RedisError> {
    let mut builder = builder(server(access)?);
    builder.with_config(|server| server.fail_fast = true);
    let client = builder.build().map_err(|error| unusable(&error))?;
    let _running = AbortOnDropHandle::new(client.init().await.map_err(|error| unusable(&error))?);
    Ok(())
}

fn unusable(error: &Error) -> RedisError {
    RedisError::Refused(explain(error))
}

/// A client tries again for ever, but stops for good at what it takes for an error of the configuration, such as an unexpected
/// reply of a Sentinel or of a cluster's node. Without this loop every call would fail from then on.
fn keep_connected(client: impl ClientLike + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
        loop {
            match AbortOnDropHandle::new(client.connect()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => warn!(%error, "the Redis client has stopped: starting it again"),
                Err(error) => error!(%error, "the Redis client has failed: starting it again"),
            }
            sleep(RESTART).await;
        }
    }))
}

/// Where to connect, as whom, and how.
fn server(access: &Access) -> Result<Config, RedisError> {
    let Address { mut config, tls } = Address::parse(access.url.reveal())?;
    // RESP3 begins with HELLO, which not every server has, and which fred sends as a line of text: a password with a
    // blank would break it
    config.version = RespVersion::RESP2;
    config.fail_fast = false;
    if tls || access.ca.is_some() || access.identity.is_some() {
        config.tls = Some(tls::configure(access)?);
    }
    Ok(config)
}

fn builder(server: Config) -> Builder {
    let mut builder = Builder::from_config(server);
    builder
        .with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = CONNECT_TIMEOUT;
            // fred stops the whole client when a command runs out of attempts during an ASK: redirections must run out first
            connection.max_command_attempts = 10;
            connection.max_redirections = 2;
            connection.max_command_buffer_len = 1024;
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: Duration::from_secs(1) };
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            connection.reconnect_on_auth_error = true;
            connection.reconnect_errors = vec![
                ReconnectError::ClusterDown,
                ReconnectError::Loading,
                ReconnectError::ReadOnly,
                ReconnectError::MasterDown,
            ];
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = COMMAND_TIMEOUT;
            performance.broadcast_channel_capacity = CHANNEL;
        })
        // for ever, with pauses from 50 ms to 1 s
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 1000, 2));
    builder
}
