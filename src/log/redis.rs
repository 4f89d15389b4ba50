//! The log in Redis, through fred. Only this module and its parts name fred.
//!
//! Three things about fred shape this module. It sends commands under way again after a reconnect, so only idempotent
//! scripts write. A future of the shared client that is dropped early can wedge the client, so fred's own timeouts bound
//! every wait, never ours. Its helpers for subscribing again stop for ever at the first lag, so the subscription is a loop
//! of ours ([`subscription`]).

mod address;
mod advice;
mod config;
mod connection;
mod decode;
mod eviction;
mod subscription;
mod tls;

use std::{fmt, sync::Once};

use bytes::Bytes;
use fred::{
    error::Error,
    interfaces::{ClientLike, PubsubInterface},
    types::{Key, MultipleKeys, Value, scripts::Script},
};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join},
    stream::{self, BoxStream},
};
use hubbub_lifecycle::{Throttle, metric::REDIS_LOG_GONE};
use hubbub_protocol::{DEDUPE_WINDOW, Seq};
use metrics::counter;
use parking_lot::Mutex;
use tracing::{debug, warn};

pub use self::{
    config::{RedisConfig, RedisError, TlsFiles},
    connection::{Renewal, Renewer},
};
use self::{connection::Connection, subscription::Subscription};
use crate::backend::{
    AppendOutcome, Backend, BackendError, CENSUS_LEASE, Claim, ClaimStep, Event, Fence, Lease, LogBounds,
    RECORDING_LEASE, Report, Snapshot, Submission, SyncRequest, Unrecorded, VersionedCount,
};

/// The warning that the log is gone.
static GONE: Throttle = Throttle::new();

/// The log in Redis.
pub struct Redis {
    names: Names,
    /// For a single server, and for a cluster.
    scripts: [Scripts; 2],
    connection: Connection,
    /// Warns once when the server does not name its process.
    anonymous: Once,
    /// The epoch of the last sync, and the server process that it belongs to.
    epoch: Mutex<Option<(Seq, String)>>,
}

struct Names {
    log: String,
    meta: String,
    dedupe: String,
    recorder: String,
    instances: String,
    census: String,
    channel: String,
}

struct Scripts {
    append: Script,
    sync: Script,
    lease: Script,
    rewind: Script,
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
            recorder: name("recorder"),
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
            lease: script(&[process, state, include_str!("redis/lease.lua")]),
            rewind: script(&[process, state, include_str!("redis/rewind.lua")]),
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
        let names = Names::new(&config.prefix);
        Ok(Self {
            connection: Connection::open(config, &names.log)?,
            names,
            scripts: [false, true].map(Scripts::new),
            anonymous: Once::new(),
            epoch: Mutex::default(),
        })
    }

    /// Renews the connection when the operator says so. None: nothing of it can change while the process runs.
    pub fn renewer(&self) -> Option<Renewer> {
        self.connection.renewer()
    }

    fn scripts(&self, clustered: bool) -> &Scripts {
        let [single, cluster] = &self.scripts;
        if clustered { cluster } else { single }
    }

    /// Warns when an epoch has opened in a server process that had one already: the log was there, and is gone.
    fn compare_epoch(&self, base: Seq, process: &str) {
        let known = self.epoch.lock().replace((base, process.to_owned()));
        if process == "-" || !known.is_some_and(|(before, same)| before != base && same == process) {
            return;
        }
        counter!(REDIS_LOG_GONE).increment(1);
        if let Some(held_back) = GONE.pass() {
            warn!(
                held_back,
                "Redis lost the log and has not restarted: it was evicted (set maxmemory-policy to noeviction) or deleted"
            );
        }
    }
}

impl Backend for Redis {
    fn append<'a>(
        &'a self,
        fence: Fence,
        bounds: LogBounds,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<AppendOutcome, BackendError>> {
        async move {
            let clients = self.connection.connected().await?;
            let Names { log, meta, dedupe, channel, .. } = &self.names;
            let mut keys: Vec<Key> = vec![log.into(), meta.into()];
            for Submission { key, .. } in batch {
                keys.extend([&**key, &*key_before_rooms(key)].map(|key| Key::from(format!("{dedupe}{key}"))));
            }
            let mut arguments: Vec<Value> = vec![
                channel.clone().into(),
                bounds.entries.to_string().into(),
                DEDUPE_WINDOW.as_millis().to_string().into(),
                fence.epoch.to_string().into(),
                fence.last.to_string().into(),
            ];
            let waiting = bounds.unrecorded.map(|Unrecorded { events, bytes }| [events, bytes]);
            arguments.extend(
                waiting.map_or_else(|| ["-".into(), "-".into()], |bounds| bounds.map(|n| n.to_string().into())),
            );
            for submission in batch {
                arguments.push(submission.kind.name().into());
                arguments.push(submission.was.to_string().into());
                arguments.push(submission.hash.to_string().into());
                arguments.push(Value::Bytes(submission.record.clone()));
            }
            let keys = MultipleKeys::from(keys);
            let append = &self.scripts(clients.clustered).append;
            let places: Vec<Value> = append.evalsha_with_reload(&clients.commands, keys, arguments).await?;
            decode::append_outcome(&places, batch.len())
        }
        .boxed()
    }

    fn sync(&self, request: SyncRequest) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        async move {
            let clients = self.connection.connected().await?;
            let Names { log, meta, channel, .. } = &self.names;
            let arguments: Vec<String> = vec![
                channel.clone(),
                request.after.to_string(),
                request.low.map_or_else(|| "-".to_owned(), |low| low.to_string()),
                request.limit.to_string(),
                request.floor.to_string(),
                format!("{:032x}", rand::random::<u128>()),
            ];
            let keys = vec![log.as_str(), meta.as_str()];
            let sync = &self.scripts(clients.clustered).sync;
            let reply: Value = sync.evalsha_with_reload(&clients.commands, keys, arguments).await?;
            let process = decode::process(&reply);
            if process == "-" {
                self.anonymous.call_once(|| {
                    warn!(
                        "Redis denies INFO (allow it with +info) or hides its run_id: messages lost in a restart may be noticed late"
                    );
                });
            }
            let snapshot = decode::snapshot(reply)?;
            self.compare_epoch(snapshot.base, &process);
            Ok(snapshot)
        }
        .boxed()
    }

    fn lease<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Lease, BackendError>> {
        async move {
            let clients = self.connection.connected().await?;
            let Names { recorder, log, meta, .. } = &self.names;
            let (recorded, base) = match claim.step {
                ClaimStep::Hold { recorded, base } => (recorded.to_string(), base),
                ClaimStep::Release => ("-".to_owned(), 0),
            };
            let lasts = RECORDING_LEASE.as_millis().to_string();
            let arguments: Vec<String> = vec![claim.holder.as_ref().to_owned(), lasts, recorded, base.to_string()];
            let keys = vec![recorder.as_str(), log.as_str(), meta.as_str()];
            let lease = &self.scripts(clients.clustered).lease;
            decode::lease(lease.evalsha_with_reload(&clients.commands, keys, arguments).await?)
        }
        .boxed()
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let clients = self.connection.connected().await?;
            let keys = vec![self.names.log.as_str(), self.names.meta.as_str()];
            let rewind = &self.scripts(clients.clustered).rewind;
            let done: Result<Value, _> =
                rewind.evalsha_with_reload(&clients.commands, keys, vec![recorded.to_string()]).await;
            done.map(|_| ()).map_err(BackendError::from)
        }
        .boxed()
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let clients = self.connection.connected().await?;
            let channel = self.names.channel.as_str();
            let subscribers: Result<u64, _> = if clients.clustered {
                clients.commands.spublish(channel, payload).await
            } else {
                clients.commands.publish(channel, payload).await
            };
            subscribers.map(|_| ()).map_err(BackendError::from)
        }
        .boxed()
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<VersionedCount, BackendError>> {
        async move {
            let clients = self.connection.connected().await?;
            let Names { instances, census, channel, .. } = &self.names;
            let arguments: Vec<String> = vec![
                channel.clone(),
                report.instance.as_ref().to_owned(),
                report.number.to_string(),
                report.connections.map_or_else(|| "-".to_owned(), |connections| connections.to_string()),
                CENSUS_LEASE.as_millis().to_string(),
            ];
            let keys = vec![instances.as_str(), census.as_str()];
            let script = &self.scripts(clients.clustered).census;
            let reply: Vec<u64> = script.evalsha_with_reload(&clients.commands, keys, arguments).await?;
            decode::versioned_count(&reply)
        }
        .boxed()
    }

    fn events(&self) -> BoxStream<'static, Event> {
        let subscription = Subscription::new(self.connection.follow(), self.names.channel.clone());
        stream::unfold(subscription, async |mut subscription| Some((subscription.next().await, subscription))).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.connection.settle();
            let clients = self.connection.clients();
            // nothing is called after this, so a failure does no harm
            let (commands, subscriber) = join(clients.commands.quit(), clients.subscriber.quit()).await;
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
