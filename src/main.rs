//! Entry point: read the configuration, listen, wait for a signal, drain.

mod cli;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use hubbub_edge::{
    conversation::PublishRate,
    drain::{DrainTimes, drain},
    node::Node,
};
use hubbub_http::{health, listener};
use hubbub_lifecycle::{Secret, Shutdown};
use hubbub_log::{
    Memory, Redis, RedisConfig, RedisError, Relay, RelayOptions,
    ring::{Retention, Ring},
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

use crate::cli::{
    config::{AdminListen, Cli, Command, Config, LogFormat},
    descriptors::Descriptors,
    telemetry,
};

/// Where metrics are served unless something else is said.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9091);
/// Connections to the admin listener.
const ADMIN_CONNECTIONS: usize = 64;
/// What the tasks may take to end, once the last connection is gone.
const LAST_TASKS: Duration = Duration::from_secs(1);
/// Exit code for wrong input, as the command line parser has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Health(health)) => check_health(health.listen),
        Some(Command::Serve(config)) => serve(&config),
        None => serve(&cli.serve),
    }
}

/// Asks an instance for its health: 0 if it is ready, else 1 and one line that says why.
fn check_health(listen: SocketAddr) -> ExitCode {
    let asked = Runtime::new().context("cannot start").and_then(|runtime| Ok(runtime.block_on(health::ask(listen))?));
    asked.map_or_else(|error| complain(&error, 1), |()| ExitCode::SUCCESS)
}

fn serve(config: &Config) -> ExitCode {
    let settings = match Settings::prepare(config) {
        Ok(settings) => settings,
        Err(error) => return complain(&error, USAGE),
    };
    let outcome = Runtime::new().context("cannot start").and_then(|runtime| {
        let outcome = runtime.block_on(run(config, settings));
        // whatever a second signal left behind ends here
        runtime.shutdown_background();
        outcome
    });
    outcome.unwrap_or_else(|error| complain(&error, if error.is::<RedisError>() { USAGE } else { 1 }))
}

#[expect(clippy::print_stderr, reason = "an error that ends the process is for whoever started it, log or not")]
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("hubbub: {error:#}");
    ExitCode::from(code)
}

/// What can be wrong with the configuration is found out before anything starts.
struct Settings {
    redis: Option<RedisConfig>,
    retention: Retention,
    api_key: Option<Secret>,
    instance: String,
}

impl Settings {
    fn prepare(config: &Config) -> anyhow::Result<Self> {
        match config.log_format() {
            LogFormat::Pretty => telemetry::log_pretty(&config.log),
            LogFormat::Json => telemetry::log_json(&config.log),
        }
        .with_context(|| format!("--log {}", config.log))?;
        let bytes = usize::try_from(config.log_bytes.as_u64()).context("--log-bytes")?;
        let retention = Retention { messages: config.log_retention, bytes };
        let redis = config.redis_url()?.map(|url| RedisConfig {
            url: url.reveal().to_owned(),
            prefix: config.prefix.clone(),
            ca: config.redis_ca.clone(),
        });
        Ok(Self { redis, retention, api_key: config.api_key()?, instance: config.instance_name() })
    }
}

async fn run(config: &Config, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install().context("cannot install signal handlers")?;
    let descriptors = Descriptors::claim();
    let max_connections = max_connections(config, descriptors);
    let metrics = telemetry::install_metrics().context("cannot install the metrics recorder")?;
    let public = listener::bind(config.listen).with_context(|| {
        format!("cannot listen on {}; is another instance running? --listen chooses another address", config.listen)
    })?;
    let admin = bind_admin(config.admin_listen)?;

    let shutdown = Shutdown::default();
    let node = start(&settings, &shutdown).context("--redis-url")?;
    let address = public.local_addr()?;
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let options = hubbub_http::Options {
        api_key: settings.api_key,
        allowed_origins: config.allowed_origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        max_connections,
        max_per_address: config.max_per_address,
        publish_rate: PublishRate { per_second: config.publish_rate, burst: f64::from(config.publish_burst) },
    };
    let routes = hubbub_http::router(&node, &options, &shutdown);
    shutdown.spawn(listener::serve(public, descriptors.clients, routes, shutdown.clone()));
    if let Some(admin) = admin {
        let metrics = metrics.clone();
        let routes = hubbub_http::admin_router(&node, move || metrics.render());
        shutdown.spawn(listener::serve(admin, ADMIN_CONNECTIONS, routes, shutdown.clone()));
    }
    shutdown.spawn_until_started(telemetry::keep_tidy(metrics));
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
            error!("a part of this instance has failed: it stops, and its clients go on elsewhere");
            ExitCode::FAILURE
        }
    };
    tokio::select! {
        code = stop(&node, config, &shutdown) => Ok(if cause == ExitCode::SUCCESS { code } else { cause }),
        signal = signals.next() => {
            warn!(signal, connections = node.members().len(), "a second signal: ending at once");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The orderly end.
async fn stop(node: &Node, config: &Config, shutdown: &Shutdown) -> ExitCode {
    let times = DrainTimes { delay: config.drain_delay, window: config.drain_window, timeout: config.drain_timeout };
    let drained = drain(node, times).await;
    if let Err(tasks) = shutdown.finish(LAST_TASKS).await {
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

fn max_connections(config: &Config, descriptors: Descriptors) -> usize {
    let affordable = descriptors.websockets;
    let asked = config.max_connections.unwrap_or(affordable);
    if asked > affordable {
        warn!(asked, affordable, "the descriptor limit does not allow for --max-connections: raise it (ulimit -n)");
    }
    asked.min(affordable)
}

/// The instance itself: the log, and everything that is served from it.
fn start(settings: &Settings, shutdown: &Shutdown) -> Result<Node, RedisError> {
    let ring = Arc::new(Ring::new(settings.retention));
    let unique = format!("{}#{:08x}", settings.instance, rand::random::<u32>());
    let options = RelayOptions { instance: unique, ..RelayOptions::default() };
    let relay = match &settings.redis {
        Some(redis) => Relay::start(Redis::connect(redis)?, Arc::clone(&ring), options, shutdown),
        None => Relay::start(Memory::new(), Arc::clone(&ring), options, shutdown),
    };
    Ok(Node::start(&settings.instance, ring, relay, shutdown))
}

/// A taken port is an error only if somebody asked for it.
fn bind_admin(listen: Option<AdminListen>) -> anyhow::Result<Option<TcpListener>> {
    match listen {
        Some(AdminListen::Off) => Ok(None),
        Some(AdminListen::At(address)) => {
            let bound = listener::bind(address);
            bound.map(Some).with_context(|| format!("cannot listen on {address} for --admin-listen"))
        }
        None => Ok(listener::bind(DEFAULT_ADMIN)
            .inspect_err(|error| warn!(%error, address = %DEFAULT_ADMIN, "no metrics: set --admin-listen to another address or to off"))
            .ok()),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one. Cancel safe.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
