//! `hubbub serve`: starts an instance, waits for a signal, drains it.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use hubbub_api::{recorded::RecordedPast, teller::LogTeller};
use hubbub_edge::{
    door::Limits,
    drain::{DrainTimes, drain},
    node::Node,
};
use hubbub_http::{
    history::{Past, RingPast},
    listener::{self, Bounds},
    startup::Startup,
};
use hubbub_lifecycle::{Rate, RotatingSecret, Shutdown};
use hubbub_log::{
    RelayOptions,
    ring::{Retention, Ring},
};
use hubbub_recorder::{Recorder, RecordingState};
use hubbub_store::Database;
use tokio::{net::TcpListener, time::timeout};
use tracing::{error, info, warn};

use super::{
    USAGE,
    accounts::{AccountPlan, OpenAccounts},
    address_file,
    config::{AdminListen, Config, LogFormat},
    data_folder::DataFolder,
    descriptors::Descriptors,
    secrets::Secrets,
    signals::{Hangups, StopSignals},
    storage::{Opened, Storage},
    telemetry,
};

/// How long the recorder may take for what is not recorded when the last connection is closed.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// Address of the admin listener unless `--admin-listen` is set.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);
/// Upper bound for the connections to the admin listener.
const ADMIN_CONNECTIONS: usize = 64;
/// How long the tasks may take to end after the last connection is closed: longer than the last HTTP requests may.
const TASK_DEADLINE: Duration = listener::LAST_REQUESTS_DEADLINE.saturating_add(Duration::from_secs(1));

/// The settings that need more than parsing. They are checked before anything starts.
#[derive(Debug)]
pub(crate) struct Settings {
    storage: Storage,
    retention: Retention,
    api_key: Option<RotatingSecret>,
    accounts: AccountPlan,
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
        let api_key = config.api_key().map(RotatingSecret::read).transpose().context("--api-key-file: cannot read")?;
        let accounts = AccountPlan::new(config)?;
        Ok(Self { storage: Storage::plan(config)?, retention, api_key, accounts, instance: config.instance_name() })
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
    let address = public.local_addr()?;
    let _address_file = address_file::announce(address);
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let startup = Startup::default();
    shutdown.spawn(listener::serve(public, config.bounds(descriptors.clients), startup.routes(), shutdown.clone()));

    info!(
        listen.address = %address,
        admin.address = admin_address.map(tracing::field::display),
        instance = settings.instance,
        max_connections,
        "listening: open http://{address}"
    );

    let instance = tokio::select! {
        instance = Instance::start(settings, hangups, &shutdown) => instance?,
        signal = signals.next() => {
            info!(signal, "stopped before the start was complete");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let options = instance.options(config, max_connections);
    startup.finish(hubbub_http::router(&instance.node, &options, &shutdown));
    if let Some(admin) = admin {
        let metrics = metrics.clone();
        let routes = hubbub_http::admin_router(&instance.node, move || metrics.render());
        let is_local = admin.local_addr()?.ip().is_loopback();
        // elsewhere, Prometheus may know it by any name
        let routes = if is_local { hubbub_http::for_public_hosts(routes, &options) } else { routes };
        shutdown.spawn(listener::serve(admin, Bounds::of(ADMIN_CONNECTIONS), routes, shutdown.clone()));
    }
    shutdown.spawn_until_shutdown(telemetry::maintain(metrics));

    let cause = instance.serve(&mut signals, &shutdown).await;
    tokio::select! {
        code = instance.stop(config, &shutdown) => Ok(if cause == ExitCode::SUCCESS { code } else { cause }),
        signal = signals.next() => {
            let connections = instance.node.fanout().connections().len();
            warn!(signal, connections, "exiting at once after a second signal");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A running instance.
struct Instance {
    node: Node,
    past: Arc<dyn Past>,
    api_key: Option<RotatingSecret>,
    accounts: Option<OpenAccounts>,
    recorder: Option<Recorder>,
    database: Option<Database>,
    _folder: Option<DataFolder>,
}

impl Instance {
    /// Opens what is kept, and starts the node that serves it. Waits for a database that cannot be reached.
    async fn start(settings: Settings, hangups: Hangups, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let Settings { storage, retention, api_key, accounts, instance } = settings;
        let ring = Arc::new(Ring::new(retention));
        let unique = format!("{instance}#{:08x}", rand::random::<u32>());
        let options = RelayOptions { instance: unique, ..RelayOptions::default() };
        let Opened { relay, renewer, database, recorder, folder } =
            storage.open(Arc::clone(&ring), options, shutdown).await?;
        let accounts = match &database {
            Some(database) => Some(accounts.open(database, LogTeller(relay.clone()), shutdown).await?),
            None => None,
        };
        let ports = accounts.as_ref().map(OpenAccounts::ports).unwrap_or_default();
        let node = hubbub_edge::start(&instance, Arc::clone(&ring), relay, ports, shutdown);
        if let Some(accounts) = &accounts {
            accounts.follow(ring, &node, shutdown);
        }
        let secrets = Secrets { api_key: api_key.clone().filter(RotatingSecret::is_file), redis: renewer };
        shutdown.spawn_until_shutdown(secrets.follow(hangups));
        let past: Arc<dyn Past> = match &database {
            Some(database) => Arc::new(RecordedPast::new(
                node.clone(),
                Arc::new(database.clone()),
                recorder.as_ref().map(Recorder::state),
            )),
            None => Arc::new(RingPast(node.clone())),
        };
        Ok(Self { node, past, api_key, accounts, recorder, database, _folder: folder })
    }

    fn options(&self, config: &Config, max_connections: usize) -> hubbub_http::Options {
        hubbub_http::Options {
            api_key: self.api_key.clone(),
            allowed_origins: config.allowed_origins(),
            public_hosts: config.public_hosts(),
            trusted_proxies: config.trusted_proxies(),
            max_connections,
            limits: limits(config),
            past: Arc::clone(&self.past),
            readers: self.accounts.as_ref().map(OpenAccounts::readers),
            api: self.accounts.as_ref().map(|accounts| accounts.routes(&self.node)),
        }
    }

    /// Serves until there is a reason to stop. Returns the exit code that goes with it.
    async fn serve(&self, signals: &mut StopSignals, shutdown: &Shutdown) -> ExitCode {
        tokio::select! {
            signal = signals.next() => {
                info!(signal, "stopping");
                ExitCode::SUCCESS
            }
            () = shutdown.failed() => {
                error!("stopping after an internal error; clients will reconnect to other instances");
                ExitCode::FAILURE
            }
            () = self.two_clusters() => {
                error!("stopping: another cluster records its log into this database; see --database-url and --prefix");
                ExitCode::from(USAGE)
            }
        }
    }

    /// Completes when it is clear that two clusters use one database.
    async fn two_clusters(&self) {
        let Some(recorder) = &self.recorder else { return pending().await };
        let mut state = recorder.state();
        if state.wait_for(|state| *state == RecordingState::TwoClusters).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Drains the node, then ends the tasks.
    async fn stop(&self, config: &Config, shutdown: &Shutdown) -> ExitCode {
        let times =
            DrainTimes { delay: config.drain_delay, window: config.drain_window, timeout: config.drain_timeout };
        let drained = drain(&self.node, times, async {
            if let Some(recorder) = &self.recorder {
                recorder.close(LAST_RECORDS).await;
            }
        })
        .await;
        if let Err(tasks) = shutdown.finish(TASK_DEADLINE).await {
            warn!(tasks, "some tasks did not end in time");
        }
        if let Some(database) = &self.database
            && timeout(TASK_DEADLINE, database.close()).await.is_err()
        {
            warn!("the database did not answer in time");
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
