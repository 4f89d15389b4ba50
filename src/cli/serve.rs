//! `hubbub serve`: starts an instance, waits for a signal, drains it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use hubbub_edge::{
    door::Limits,
    drain::{DrainTimes, drain},
    node::Node,
    ports::Ports,
};
use hubbub_http::listener::{self, Bounds};
use hubbub_lifecycle::{Rate, RotatingSecret, Shutdown};
use hubbub_log::{
    Memory, Redis, RedisConfig, RedisError, Relay, RelayOptions, Renewer, TlsFiles,
    ring::{Retention, Ring},
};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use super::{
    address_file,
    config::{AdminListen, Config, LogFormat},
    descriptors::Descriptors,
    secrets::Secrets,
    signals::{Hangups, StopSignals},
    telemetry,
};

/// Address of the admin listener unless `--admin-listen` is set.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);
/// Upper bound for the connections to the admin listener.
const ADMIN_CONNECTIONS: usize = 64;
/// How long the tasks may take to end after the last connection is closed: longer than the last HTTP requests may.
const TASK_DEADLINE: Duration = listener::LAST_REQUESTS_DEADLINE.saturating_add(Duration::from_secs(1));

/// The settings that need more than parsing. They are checked before anything starts.
#[derive(Debug)]
pub(crate) struct Settings {
    redis: Option<RedisConfig>,
    retention: Retention,
    api_key: Option<RotatingSecret>,
    instance: String,
}

impl Settings {
    /// Starts logging, then checks the other settings.
    ///
    /// # Errors
    ///
    /// The first setting that is wrong.
    pub(crate) fn prepare(config: &Config) -> anyhow::Result<Self> {
        match config.log_format() {
            LogFormat::Pretty => telemetry::log_pretty(&config.log),
            LogFormat::Json => telemetry::log_json(&config.log),
        }
        .with_context(|| format!("--log {}", config.log))?;
        let bytes = usize::try_from(config.log_bytes.as_u64()).context("--log-bytes")?;
        let retention = Retention { messages: config.log_retention, bytes };
        let redis = config.redis_url().map(|url| RedisConfig {
            url,
            prefix: config.prefix.clone(),
            tls: TlsFiles {
                ca: config.redis_ca.clone(),
                cert: config.redis_cert.clone(),
                key: config.redis_key.clone(),
            },
        });
        let api_key = config.api_key().map(RotatingSecret::read).transpose().context("--api-key-file: cannot read")?;
        Ok(Self { redis, retention, api_key, instance: config.instance_name() })
    }
}

/// Runs an instance until a signal or an internal error stops it. Returns the exit code of the process.
///
/// # Errors
///
/// The instance cannot start.
pub(crate) async fn run(config: &Config, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::install().context("cannot install signal handlers")?;
    let hangups = Hangups::install().context("cannot install a signal handler")?;
    let descriptors = Descriptors::claim();
    let max_connections = max_connections(config, descriptors);
    let metrics = telemetry::install_metrics().context("cannot install the metrics recorder")?;
    let public = listener::bind(config.listen).with_context(|| {
        format!("cannot listen on {}; is another instance running? --listen chooses another address", config.listen)
    })?;
    let admin = bind_admin(config.admin_listen)?;

    let shutdown = Shutdown::default();
    let (node, redis) = start(&settings, &shutdown).context("--redis-url")?;
    let secrets = Secrets { api_key: settings.api_key.clone().filter(RotatingSecret::is_file), redis };
    shutdown.spawn_until_shutdown(secrets.follow(hangups));
    let address = public.local_addr()?;
    let _address_file = address_file::announce(address);
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let options = hubbub_http::Options {
        api_key: settings.api_key,
        allowed_origins: config.allowed_origins(),
        public_hosts: config.public_hosts(),
        trusted_proxies: config.trusted_proxies(),
        max_connections,
        limits: limits(config),
    };
    let routes = hubbub_http::router(&node, &options, &shutdown);
    let bounds = config.bounds(descriptors.clients);
    shutdown.spawn(listener::serve(public, bounds, routes, shutdown.clone()));
    if let Some(admin) = admin {
        let metrics = metrics.clone();
        let routes = hubbub_http::admin_router(&node, move || metrics.render());
        let is_local = admin.local_addr()?.ip().is_loopback();
        // elsewhere, Prometheus may know it by any name
        let routes = if is_local { hubbub_http::for_public_hosts(routes, &options) } else { routes };
        shutdown.spawn(listener::serve(admin, Bounds::of(ADMIN_CONNECTIONS), routes, shutdown.clone()));
    }
    shutdown.spawn_until_shutdown(telemetry::maintain(metrics));
    info!(
        listen.address = %address,
        admin.address = admin_address.map(tracing::field::display),
        instance = settings.instance,
        max_connections,
        "listening: open http://{address}"
    );

    let cause = tokio::select! {
        signal = signals.next() => {
            info!(signal, "stopping");
            ExitCode::SUCCESS
        }
        () = shutdown.failed() => {
            error!("stopping after an internal error; clients will reconnect to other instances");
            ExitCode::FAILURE
        }
    };
    tokio::select! {
        code = stop(&node, config, &shutdown) => Ok(if cause == ExitCode::SUCCESS { code } else { cause }),
        signal = signals.next() => {
            warn!(signal, connections = node.fanout().connections().len(), "exiting at once after a second signal");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Starts the log and the node that serves it. The connection to Redis may be renewed.
fn start(settings: &Settings, shutdown: &Shutdown) -> Result<(Node, Option<Renewer>), RedisError> {
    let ring = Arc::new(Ring::new(settings.retention));
    let unique = format!("{}#{:08x}", settings.instance, rand::random::<u32>());
    let options = RelayOptions { instance: unique, ..RelayOptions::default() };
    let (relay, renewer) = match &settings.redis {
        Some(config) => {
            let redis = Redis::connect(config)?;
            let renewer = redis.renewer();
            (Relay::start(redis, Arc::clone(&ring), options, shutdown), renewer)
        }
        None => (Relay::start(Memory::new(), Arc::clone(&ring), options, shutdown), None),
    };
    Ok((hubbub_edge::start(&settings.instance, ring, relay, Ports::default(), shutdown), renewer))
}

/// Drains the node, then ends the tasks.
async fn stop(node: &Node, config: &Config, shutdown: &Shutdown) -> ExitCode {
    let times = DrainTimes { delay: config.drain_delay, window: config.drain_window, timeout: config.drain_timeout };
    let drained = drain(node, times).await;
    if let Err(tasks) = shutdown.finish(TASK_DEADLINE).await {
        warn!(tasks, "some tasks did not end in time");
    }
    match drained {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(cut) => {
            error!(connections = cut.0, "{cut}");
            ExitCode::FAILURE
        }
    }
}

fn limits(config: &Config) -> Limits {
    let (burst, of_address) = (f64::from(config.publish_burst), config.publish_rate_address);
    Limits {
        connections_per_address: config.max_per_address,
        publish_rate: Rate { per_second: config.publish_rate, burst },
        // an address may publish at once what it may in a second, but no less than one person
        publish_rate_of_address: Rate { per_second: of_address, burst: of_address.max(burst) },
    }
}

fn max_connections(config: &Config, descriptors: Descriptors) -> usize {
    let allowed = descriptors.websockets;
    let requested = config.max_connections.unwrap_or(allowed);
    if requested > allowed {
        warn!(requested, allowed, "--max-connections is reduced: the limit of open files (ulimit -n) allows no more");
    }
    requested.min(allowed)
}

/// A port in use is an error only if `--admin-listen` is set.
fn bind_admin(listen: Option<AdminListen>) -> anyhow::Result<Option<TcpListener>> {
    match listen {
        Some(AdminListen::Off) => Ok(None),
        Some(AdminListen::At(address)) => {
            let bound = listener::bind(address);
            bound.map(Some).with_context(|| format!("cannot listen on {address} for --admin-listen"))
        }
        None => Ok(listener::bind(DEFAULT_ADMIN)
            .inspect_err(|error| {
                warn!(%error, address = %DEFAULT_ADMIN, "metrics are off: set --admin-listen to another address");
            })
            .ok()),
    }
}
