//! The log in Redis, through fred. Only this module and its parts name fred.
//!
//! What fred does on its own is bent in three ways. Commands in flight are sent again after a reconnect, so only
//! idempotent scripts write. A future of the shared client that is dropped early can wedge it, so every wait is bounded
//! by fred's own timeouts and none by ours. And its resubscribing helpers end for ever at the first lag, so the
//! subscription is a loop of ours ([`subscription`]).

mod decode;
mod subscription;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use fred::{
    clients::{Client, SubscriberClient},
    error::Error,
    interfaces::{ClientLike, PubsubInterface},
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    },
    types::{
        Builder, ConnectHandle, Key, MultipleKeys, RespVersion, Value,
        config::{Config, ReconnectError, ReconnectPolicy, TcpConfig, TlsConfig, TlsConnector, UnresponsiveConfig},
        scripts::Script,
    },
};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join},
    stream::{self, BoxStream},
};

use super::{Backend, BackendError, CENSUS_LEASE, Event, Position, Receipt, Report, Snapshot, Submission, Tally};
use crate::{
    protocol::{DEDUPE_WINDOW, Seq},
    ring::Retention,
};
use subscription::Subscription;

/// Longest wait for a reply; afterwards the caller tries again.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection, and for its first commands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that owes a reply for this long is given up.
const UNRESPONSIVE: Duration = Duration::from_secs(3);
/// Pushes that may wait for the subscriber before it lags.
const CHANNEL: usize = 8192;
/// What the stream and the dedupe key cost beside the record, in bytes.
const OVERHEAD: u64 = 200;

/// Where the log is, and how much of it is kept.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://`, with user and password if need be.
    pub url: String,
    /// Name of this system among others on the same server. Keys and channel begin with it, in braces.
    pub prefix: String,
    /// PEM file of the authority that signed the server's certificate. Default: those of the operating system.
    pub ca: Option<PathBuf>,
    /// How much of the log Redis keeps.
    pub retention: Retention,
}

impl fmt::Debug for RedisConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, prefix, ca, retention } = self;
        f.debug_struct("RedisConfig")
            .field("prefix", prefix)
            .field("ca", ca)
            .field("retention", retention)
            .finish_non_exhaustive()
    }
}

/// Why this configuration can never lead to a connection.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL cannot be understood. It is not shown, since it may hold a password.
    #[error("the Redis URL is not valid: {0}")]
    Url(String),
    /// The URL is of something else.
    #[error("a Redis URL begins with redis://, rediss://, redis-cluster://, redis-sentinel:// or valkey://")]
    Scheme,
    /// The file of the certificate authority cannot be used.
    #[error("cannot use the certificate authority {path}: {reason}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The log in Redis.
pub struct Redis {
    names: Names,
    scripts: Scripts,
    retention: Retention,
    commands: Client,
    subscriber: SubscriberClient,
    connections: [ConnectHandle; 2],
    /// Recent mean size of a record, in bytes.
    mean: AtomicU64,
    clustered: bool,
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
    /// All share a hash tag: a cluster keeps them in one place, as the scripts need them.
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
            // in a cluster the channel lives where the keys do
            Script::from_lua(if clustered { text.replace("'PUBLISH'", "'SPUBLISH'") } else { text })
        };
        let state = include_str!("redis/state.lua");
        Self {
            append: script(&[state, include_str!("redis/append.lua")]),
            sync: script(&[state, include_str!("redis/sync.lua")]),
            census: script(&[include_str!("redis/census.lua")]),
        }
    }
}

impl From<Error> for BackendError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl Redis {
    /// Begins to connect, and goes on in the background for as long as it takes. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`RedisError`] if the configuration itself is wrong. A server out of reach is none.
    pub fn connect(config: &RedisConfig) -> Result<Self, RedisError> {
        let scheme = config.url.split_once("://").ok_or(RedisError::Scheme)?.0;
        if !matches!(scheme.split('-').next(), Some("redis" | "rediss" | "valkey" | "valkeys")) {
            return Err(RedisError::Scheme);
        }
        let invalid = |error: Error| RedisError::Url(error.details().to_owned());
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
            retention: config.retention,
            connections: [commands.connect(), subscriber.connect()],
            commands,
            subscriber,
            mean: AtomicU64::new(256),
            clustered,
        })
    }

    /// How many entries the stream may have so that it stays within both bounds.
    fn max_length(&self, batch: &[Submission]) -> u64 {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX).max(1);
        let bytes = batch.iter().map(|submission| submission.record.len()).sum::<usize>();
        let here = u64::try_from(bytes).unwrap_or(u64::MAX) / count;
        // a moving mean over some hundred messages; two batches at once do not happen
        let weight = count.min(64);
        let mean = (self.mean.load(Ordering::Relaxed) * (256 - weight) + here * weight) / 256;
        self.mean.store(mean, Ordering::Relaxed);
        let by_bytes = u64::try_from(self.retention.bytes).unwrap_or(u64::MAX) / (mean + OVERHEAD);
        u64::try_from(self.retention.messages).unwrap_or(u64::MAX).min(by_bytes).max(1)
    }

    async fn try_append(&self, epoch: Seq, batch: &[Submission]) -> Result<Receipt, BackendError> {
        let Names { log, meta, dedupe, channel, .. } = &self.names;
        let mut keys: Vec<Key> = vec![log.into(), meta.into()];
        keys.extend(batch.iter().map(|submission| Key::from(format!("{dedupe}{}", submission.key))));
        let mut arguments: Vec<Value> = vec![
            channel.clone().into(),
            self.max_length(batch).to_string().into(),
            DEDUPE_WINDOW.as_millis().to_string().into(),
            epoch.to_string().into(),
        ];
        for submission in batch {
            arguments.push(submission.was.to_string().into());
            arguments.push(Value::Bytes(submission.record.clone()));
        }
        let keys = MultipleKeys::from(keys);
        let places: Vec<Value> = self.scripts.append.evalsha_with_reload(&self.commands, keys, arguments).await?;
        decode::receipt(&places, batch.len())
    }

    async fn try_sync(&self, position: Position) -> Result<Snapshot, BackendError> {
        let Names { log, meta, channel, .. } = &self.names;
        let arguments: Vec<String> = vec![
            channel.clone(),
            position.last.to_string(),
            position.low.map_or_else(|| "-".to_owned(), |low| low.to_string()),
            position.count.to_string(),
        ];
        let keys = vec![log.as_str(), meta.as_str()];
        let reply: Value = self.scripts.sync.evalsha_with_reload(&self.commands, keys, arguments).await?;
        decode::snapshot(reply)
    }

    async fn try_announce(&self, payload: Bytes) -> Result<(), BackendError> {
        let channel = self.names.channel.as_str();
        let _heard: u64 = if self.clustered {
            self.commands.spublish(channel, payload).await?
        } else {
            self.commands.publish(channel, payload).await?
        };
        Ok(())
    }

    async fn try_report(&self, report: &Report) -> Result<Tally, BackendError> {
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
        decode::tally(&reply)
    }
}

impl Backend for Redis {
    fn append<'a>(&'a self, epoch: Seq, batch: &'a [Submission]) -> BoxFuture<'a, Result<Receipt, BackendError>> {
        self.try_append(epoch, batch).boxed()
    }

    fn sync(&self, position: Position) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        self.try_sync(position).boxed()
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        self.try_announce(payload).boxed()
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<Tally, BackendError>> {
        self.try_report(report).boxed()
    }

    fn events(&self) -> BoxStream<'static, Event> {
        let subscription = Subscription::new(self.subscriber.clone(), self.names.channel.clone(), self.clustered);
        stream::unfold(subscription, async |mut subscription| Some((subscription.next().await, subscription))).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // the process ends, or this backend does: what a server out of reach thinks of it does not matter
            let (commands, subscriber) = join(self.commands.quit(), self.subscriber.quit()).await;
            if let Err(error) = commands.and(subscriber) {
                tracing::debug!(%error, "the goodbye to Redis failed");
            }
        }
        .boxed()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("channel", &self.names.channel).finish_non_exhaustive()
    }
}

fn builder(server: Config) -> Builder {
    let mut builder = Builder::from_config(server);
    builder
        .with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = CONNECT_TIMEOUT;
            connection.max_command_attempts = 3;
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
        // for ever, from 50 ms to 1 s
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
        return Err(wrong("it holds no certificate".to_owned()));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(config).into())
}
