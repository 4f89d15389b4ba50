//! The log in Redis, through fred. Only this module and its parts name fred.
//!
//! Three things about fred shape this module. It sends commands under way again after a reconnect, so only idempotent
//! scripts write. A future of the shared client that is dropped early can wedge the client, so fred's own timeouts bound
//! every wait, never ours. Its helpers for subscribing again stop for ever at the first lag, so the subscription is a loop
//! of ours ([`subscription`]).

mod advice;
mod decode;
mod subscription;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use bytes::Bytes;
use fred::{
    clients::{Client, SubscriberClient},
    error::{Error, ErrorKind},
    interfaces::{ClientLike, PubsubInterface},
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    },
    types::{
        Builder, Key, MultipleKeys, RespVersion, Value,
        config::{Config, ReconnectError, ReconnectPolicy, TcpConfig, TlsConfig, TlsConnector, UnresponsiveConfig},
        scripts::Script,
    },
};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join},
    stream::{self, BoxStream},
};
use hubbub_protocol::DEDUPE_WINDOW;
use subscription::Subscription;
use tokio::time::{sleep, timeout};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, error, warn};

use crate::backend::{
    AppendOutcome, Backend, BackendError, CENSUS_LEASE, Event, Fence, Report, Snapshot, Submission, SyncRequest,
    VersionedCount,
};

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

/// Which Redis has the log.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://`, `redis-sentinel://` or `redis-cluster://`, with user and password if required.
    pub url: String,
    /// Separates this system from others on the same server. Keys and channel begin with it, in braces.
    pub prefix: String,
    /// PEM file of the authority that signed the server's certificate. Default: the authorities of the operating system.
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for RedisConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, prefix, ca } = self;
        f.debug_struct("RedisConfig").field("prefix", prefix).field("ca", ca).finish_non_exhaustive()
    }
}

/// Why this configuration can never lead to a connection.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL is malformed. It is not shown, since it may hold a password.
    #[error("the Redis URL is not valid: {0}")]
    Url(String),
    /// The URL has another scheme.
    #[error("a Redis URL must begin with redis://, rediss://, redis-cluster://, redis-sentinel:// or valkey://")]
    Scheme,
    /// The certificate authorities of the operating system cannot be loaded.
    #[error("cannot use the certificate authorities of this system (SSL_CERT_FILE, if it is set): {0}")]
    System(String),
    /// The file of the certificate authority cannot be loaded.
    #[error("cannot use the certificate authority {path}: {reason}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// The log in Redis.
pub struct Redis {
    names: Names,
    scripts: Scripts,
    commands: Client,
    subscriber: SubscriberClient,
    _connected: [AbortOnDropHandle<()>; 2],
    clustered: bool,
    /// Warns once when the server does not name its process.
    anonymous: Once,
}

struct Names {
    log: String,
    meta: String,
    dedupe: String,
    instances: String,
    census: String,
    channel: String,
}

struct Scripts {
    append: Script,
    sync: Script,
    census: Script,
}

impl Names {
    /// All share a hash tag, so that a cluster keeps them on one node, as the scripts require.
    fn new(prefix: &str) -> Self {
        let name = |part: &str| format!("{{{prefix}}}:{part}");
        Self {
            log: name("log"),
            meta: name("meta"),
            dedupe: name("d:"),
            instances: name("instances"),
            census: name("census"),
            channel: name("channel"),
        }
    }
}

impl Scripts {
    fn new(clustered: bool) -> Self {
        let script = |parts: &[&str]| {
            let text = parts.concat();
            // in a cluster the channel belongs to the node that has the keys
            Script::from_lua(if clustered { text.replace("'PUBLISH'", "'SPUBLISH'") } else { text })
        };
        let (process, state) = (include_str!("redis/process.lua"), include_str!("redis/state.lua"));
        Self {
            append: script(&[process, state, include_str!("redis/append.lua")]),
            sync: script(&[process, state, include_str!("redis/sync.lua")]),
            census: script(&[process, include_str!("redis/census.lua")]),
        }
    }
}

impl From<Error> for BackendError {
    fn from(error: Error) -> Self {
        Self(advice::explain(&error))
    }
}

impl Redis {
    /// Begins to connect and returns. Goes on in the background until it succeeds, and after each loss of the connection.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`RedisError`] if the configuration is wrong. A server out of reach is no error.
    pub fn connect(config: &RedisConfig) -> Result<Self, RedisError> {
        let scheme = config.url.split_once("://").ok_or(RedisError::Scheme)?.0;
        if !matches!(scheme.split('-').next(), Some("redis" | "rediss" | "valkey" | "valkeys")) {
            return Err(RedisError::Scheme);
        }
        let invalid = |error: Error| match error.kind() {
            ErrorKind::Tls => RedisError::System(error.details().to_owned()),
            _ => RedisError::Url(error.details().to_owned()),
        };
        let mut server = Config::from_url(&config.url).map_err(invalid)?;
        server.version = RespVersion::RESP3;
        server.fail_fast = false;
        if let Some(path) = &config.ca {
            server.tls = Some(trust(path)?);
        }
        let clustered = server.server.is_clustered();
        let builder = builder(server);
        let commands = builder.build().map_err(invalid)?;
        let subscriber = builder.build_subscriber_client().map_err(invalid)?;
        Ok(Self {
            names: Names::new(&config.prefix),
            scripts: Scripts::new(clustered),
            _connected: [keep_connected(commands.clone()), keep_connected(subscriber.clone())],
            commands,
            subscriber,
            clustered,
            anonymous: Once::new(),
        })
    }

    /// Waits for the connection, but not long. A command without one would wait in fred's queue, and be sent after its
    /// caller has given up.
    async fn connected(&self) -> Result<(), BackendError> {
        let connected = timeout(CONNECTED_TIMEOUT, self.commands.wait_for_connect()).await;
        connected.map_err(|_| BackendError("not connected to Redis".to_owned()))?.map_err(BackendError::from)
    }
}

impl Backend for Redis {
    fn append<'a>(
        &'a self,
        fence: Fence,
        capacity: usize,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<AppendOutcome, BackendError>> {
        async move {
            self.connected().await?;
            let Names { log, meta, dedupe, channel, .. } = &self.names;
            let mut keys: Vec<Key> = vec![log.into(), meta.into()];
            for Submission { key, .. } in batch {
                keys.extend([&**key, &*key_before_rooms(key)].map(|key| Key::from(format!("{dedupe}{key}"))));
            }
            let mut arguments: Vec<Value> = vec![
                channel.clone().into(),
                capacity.to_string().into(),
                DEDUPE_WINDOW.as_millis().to_string().into(),
                fence.epoch.to_string().into(),
                fence.last.to_string().into(),
            ];
            for submission in batch {
                arguments.push(submission.kind.name().into());
                arguments.push(submission.was.to_string().into());
                arguments.push(submission.hash.to_string().into());
                arguments.push(Value::Bytes(submission.record.clone()));
            }
            let keys = MultipleKeys::from(keys);
            let places: Vec<Value> = self.scripts.append.evalsha_with_reload(&self.commands, keys, arguments).await?;
            decode::append_outcome(&places, batch.len())
        }
        .boxed()
    }

    fn sync(&self, request: SyncRequest) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        async move {
            self.connected().await?;
            let Names { log, meta, channel, .. } = &self.names;
            let arguments: Vec<String> = vec![
                channel.clone(),
                request.after.to_string(),
                request.low.map_or_else(|| "-".to_owned(), |low| low.to_string()),
                request.limit.to_string(),
            ];
            let keys = vec![log.as_str(), meta.as_str()];
            let reply: Value = self.scripts.sync.evalsha_with_reload(&self.commands, keys, arguments).await?;
            if decode::is_anonymous(&reply) {
                self.anonymous.call_once(|| {
                    warn!(
                        "Redis denies INFO (allow it with +info) or hides its run_id: messages lost in a restart may be noticed late"
                    );
                });
            }
            decode::snapshot(reply)
        }
        .boxed()
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            self.connected().await?;
            let channel = self.names.channel.as_str();
            let subscribers: Result<u64, _> = if self.clustered {
                self.commands.spublish(channel, payload).await
            } else {
                self.commands.publish(channel, payload).await
            };
            subscribers.map(|_| ()).map_err(BackendError::from)
        }
        .boxed()
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<VersionedCount, BackendError>> {
        async move {
            self.connected().await?;
            let Names { instances, census, channel, .. } = &self.names;
            let arguments: Vec<String> = vec![
                channel.clone(),
                report.instance.as_ref().to_owned(),
                report.number.to_string(),
                report.connections.map_or_else(|| "-".to_owned(), |connections| connections.to_string()),
                CENSUS_LEASE.as_millis().to_string(),
            ];
            let keys = vec![instances.as_str(), census.as_str()];
            let reply: Vec<u64> = self.scripts.census.evalsha_with_reload(&self.commands, keys, arguments).await?;
            decode::versioned_count(&reply)
        }
        .boxed()
    }

    fn events(&self) -> BoxStream<'static, Event> {
        let subscription = Subscription::new(self.subscriber.clone(), self.names.channel.clone(), self.clustered);
        stream::unfold(subscription, async |mut subscription| Some((subscription.next().await, subscription))).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // nothing is called after this, so a failure does no harm
            let (commands, subscriber) = join(self.commands.quit(), self.subscriber.quit()).await;
            if let Err(error) = commands.and(subscriber) {
                debug!(%error, "could not close the connection to Redis in order");
            }
        }
        .boxed()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("channel", &self.names.channel).finish_non_exhaustive()
    }
}

/// The key `<from.id>:<id>` under which the release before keeps the message with this key. Neither part has a colon.
fn key_before_rooms(key: &str) -> String {
    let parts = key.split_once(':').zip(key.rsplit_once(':'));
    parts.map(|((sender, _), (_, id))| format!("{sender}:{id}")).unwrap_or_default()
}

/// Keeps a client connected until it quits or the handle is dropped.
///
/// fred reconnects for ever, but stops for good at what it takes for an error of the configuration, such as an unexpected
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

/// TLS that trusts one authority only.
fn trust(path: &Path) -> Result<TlsConfig, RedisError> {
    let wrong = |reason: String| RedisError::Authority { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it contains no certificate".to_owned()));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(config).into())
}
