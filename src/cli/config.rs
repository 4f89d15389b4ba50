//! Every setting of an instance.
//!
//! An option, its environment variable, its default and its help text are one definition, so `--help` is the reference.
//! Limits that need no setting are constants beside the code that they limit.

mod accounts;
mod redis;
mod storage;
mod value;

use std::{
    fs,
    io::IsTerminal,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, value_parser};
use hubbub_http::{host::HostPattern, listener::Bounds, origin::OriginPattern};
use hubbub_lifecycle::{Secret, SecretSource};
use ipnet::IpNet;

use self::value::{positive, rate, source};
pub(crate) use self::{
    accounts::{AccountArgs, PublicUrl},
    redis::RedisArgs,
    storage::{Durable, Migrate, PlaceArgs, Role, StorageArgs},
};

/// Upper bound of every duration.
const MAX_DURATION: Duration = Duration::from_hours(24);
/// Connections that one address may have open beside its WebSockets.
const HTTP_PER_ADDRESS: usize = 256;
/// Bounds of `--max-header-bytes`.
const MIN_HEADER_BYTES: usize = 4 * 1024;
const MAX_HEADER_BYTES: usize = 1024 * 1024;

/// Options of `hubbub serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Config {
    /// Address for clients: WebSocket, HTTP API and the chat.
    #[arg(
        long,
        env = "HUBBUB_LISTEN",
        help_heading = "Network",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    pub(crate) listen: SocketAddr,

    /// Address for metrics (GET /metrics), or `off` [default: 127.0.0.1:9091, and no metrics if that port is taken].
    #[arg(long, env = "HUBBUB_ADMIN_LISTEN", help_heading = "Network", value_name = "ADDR")]
    pub(crate) admin_listen: Option<AdminListen>,

    /// Name of this instance, shown to clients [default: the host name and a random suffix].
    #[arg(long, env = "HUBBUB_INSTANCE", help_heading = "Network", value_name = "NAME", value_parser = instance)]
    pub(crate) instance: Option<String>,

    /// Proxies whose X-Forwarded-For or Forwarded header is trusted: addresses or networks (10.0.0.0/8), separated by
    /// commas [default: none].
    #[arg(long, env = "HUBBUB_TRUSTED_PROXIES", help_heading = "Network", value_delimiter = ',', value_name = "LIST", value_parser = network)]
    trusted_proxies: Vec<Option<IpNet>>,

    /// Web origins whose pages may connect (<https://chat.example.com>, <https://*.example.com> for one label,
    /// <capacitor://localhost> for an app), separated by commas; `*` allows all. Pages from the host they connect to always
    /// may [default: only those].
    #[arg(long, env = "HUBBUB_ALLOWED_ORIGINS", help_heading = "Network", value_delimiter = ',', value_name = "LIST", value_parser = item::<OriginPattern>)]
    allowed_origins: Vec<Option<OriginPattern>>,

    /// Hosts under which clients reach this server (chat.example.com, *.example.com), separated by commas; `*` allows
    /// all. Requests for other hosts are answered with 421, except addresses and localhost [default: the hosts of
    /// --allowed-origins].
    #[arg(long, env = "HUBBUB_PUBLIC_HOST", help_heading = "Network", value_delimiter = ',', value_name = "LIST", value_parser = item::<HostPattern>)]
    public_host: Vec<Option<HostPattern>>,

    /// How long an HTTP connection may wait for its next request. Longer than the same setting of a load balancer in
    /// front.
    #[arg(long, env = "HUBBUB_KEEP_ALIVE", help_heading = "Network", default_value = "75s", value_name = "TIME", value_parser = duration)]
    pub(crate) keep_alive: Duration,

    /// Key with which a back end may publish over HTTP, as a bearer token [default: none, HTTP publish is disabled].
    #[arg(long, env = "HUBBUB_API_KEY", help_heading = "Network", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<Secret>,

    /// File to read the API key from, instead of --api-key. It is read again on SIGHUP.
    #[arg(
        long,
        env = "HUBBUB_API_KEY_FILE",
        help_heading = "Network",
        value_name = "FILE",
        conflicts_with = "api_key"
    )]
    pub(crate) api_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) redis: RedisArgs,

    #[command(flatten)]
    pub(crate) storage: StorageArgs,

    #[command(flatten)]
    pub(crate) accounts: AccountArgs,

    /// Upper bound in messages for the log and for its copy in memory: how far back a client can resume.
    #[arg(long, env = "HUBBUB_LOG_RETENTION", help_heading = "Limits", default_value_t = 100_000, value_name = "N", value_parser = positive)]
    pub(crate) log_retention: usize,

    /// Upper bound in bytes for the log, and for its copy in memory. The lower of the two bounds counts.
    #[arg(long, env = "HUBBUB_LOG_BYTES", help_heading = "Limits", default_value = "64MiB", value_name = "BYTES")]
    pub(crate) log_bytes: ByteSize,

    /// WebSocket connections of this instance; more are refused with 503 [default: what the limit of open files
    /// allows].
    #[arg(long, env = "HUBBUB_MAX_CONNECTIONS", help_heading = "Limits", value_name = "N", value_parser = positive)]
    pub(crate) max_connections: Option<usize>,

    /// Upper bound in bytes for the headers of a request; more are answered with 431.
    #[arg(long, env = "HUBBUB_MAX_HEADER_BYTES", help_heading = "Limits", default_value = "32KiB", value_name = "BYTES", value_parser = header_bytes)]
    pub(crate) max_header_bytes: ByteSize,

    /// WebSocket connections of one IPv4 address or IPv6 /64; more are closed with code 4004 and come back later. Such an
    /// address may have 256 connections more than that open, for HTTP; further ones are closed, mostly with 429.
    /// It may open as many at once, then a quarter of that each second; what comes faster waits.
    #[arg(long, env = "HUBBUB_MAX_PER_ADDRESS", help_heading = "Limits", default_value_t = 1000, value_name = "N", value_parser = positive)]
    pub(crate) max_per_address: usize,

    /// Messages that one session may publish per second, on average, over all its connections to this instance.
    #[arg(long, env = "HUBBUB_PUBLISH_RATE", help_heading = "Limits", default_value_t = 50.0, value_name = "N/S", value_parser = rate)]
    pub(crate) publish_rate: f64,

    /// Messages that one session may publish at once after a pause.
    #[arg(long, env = "HUBBUB_PUBLISH_BURST", help_heading = "Limits", default_value_t = 100, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) publish_burst: u32,

    /// Messages that all sessions of one IPv4 address or IPv6 /64 may publish per second together, on average. HTTP
    /// publishes with the API key do not count. Of such an address twice as many frames are read a second, at least 1 000.
    #[arg(long, env = "HUBBUB_PUBLISH_RATE_ADDRESS", help_heading = "Limits", default_value_t = 500.0, value_name = "N/S", value_parser = rate)]
    pub(crate) publish_rate_address: f64,

    /// On SIGTERM, first: how long to report "not ready" and serve on, so that load balancers notice.
    #[arg(long, env = "HUBBUB_DRAIN_DELAY", help_heading = "Stopping", default_value = "0s", value_name = "TIME", value_parser = duration)]
    pub(crate) drain_delay: Duration,

    /// Then: over how long to spread the closing of the connections, so that clients do not reconnect all at once.
    #[arg(long, env = "HUBBUB_DRAIN_WINDOW", help_heading = "Stopping", default_value = "5s", value_name = "TIME", value_parser = duration)]
    pub(crate) drain_window: Duration,

    /// How long the closing may take in all. Then the process exits with code 1, even if connections are still open.
    #[arg(long, env = "HUBBUB_DRAIN_TIMEOUT", help_heading = "Stopping", default_value = "25s", value_name = "TIME", value_parser = duration)]
    pub(crate) drain_timeout: Duration,

    /// Format of the log lines on standard error [default: pretty on a terminal, else json].
    #[arg(long, env = "HUBBUB_LOG_FORMAT", help_heading = "Logging", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// What to log: a level, or a list such as `info,hubbub_log=debug`.
    #[arg(long, env = "HUBBUB_LOG", help_heading = "Logging", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// Value of `--admin-listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// No metrics.
    Off,
    /// Metrics at this address.
    At(SocketAddr),
}

/// Format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Where the API key comes from.
    pub(crate) fn api_key(&self) -> Option<SecretSource> {
        source(self.api_key.as_ref(), self.api_key_file.as_ref())
    }

    /// Proxies whose headers are trusted.
    pub(crate) fn trusted_proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().flatten().copied().collect()
    }

    /// Origins whose pages may connect.
    pub(crate) fn allowed_origins(&self) -> Vec<OriginPattern> {
        self.allowed_origins.iter().flatten().cloned().collect()
    }

    /// Hosts under which clients reach this server.
    pub(crate) fn public_hosts(&self) -> Vec<HostPattern> {
        self.public_host.iter().flatten().cloned().collect()
    }

    /// The bounds of the public listener, which has room for so many connections.
    pub(crate) fn bounds(&self, connections: usize) -> Bounds {
        Bounds {
            connections,
            per_address: self.max_per_address.saturating_add(HTTP_PER_ADDRESS),
            trusted_proxies: self.trusted_proxies(),
            keep_alive: self.keep_alive,
            max_header_bytes: usize::try_from(self.max_header_bytes.as_u64()).unwrap_or(MAX_HEADER_BYTES),
        }
    }

    /// The name of this instance. Unless it is set, every call makes up a new one.
    pub(crate) fn instance_name(&self) -> String {
        self.instance.clone().unwrap_or_else(|| {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("hubbub");
            format!("{host}-{:04x}", rand::random::<u16>())
        })
    }

    /// The format of the log lines.
    pub(crate) fn log_format(&self) -> LogFormat {
        let automatic = if std::io::stderr().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
        self.log_format.unwrap_or(automatic)
    }
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| "expected an address such as 127.0.0.1:9091, or off".to_owned())
    }
}

fn instance(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_graphic() && c != '"';
    if (1..=64).contains(&text.len()) && text.chars().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 printable ASCII characters without spaces and quotation marks".to_owned())
    }
}

fn header_bytes(text: &str) -> Result<ByteSize, String> {
    let bytes = text.parse::<ByteSize>()?;
    let allowed = MIN_HEADER_BYTES..=MAX_HEADER_BYTES;
    if usize::try_from(bytes.as_u64()).is_ok_and(|bytes| allowed.contains(&bytes)) {
        Ok(bytes)
    } else {
        Err("expected 4KiB to 1MiB".to_owned())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if parsed <= MAX_DURATION { Ok(parsed) } else { Err("expected at most a day".to_owned()) }
}

/// An item of a list. None: there is nothing between two commas.
fn item<T: FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    let text = text.trim();
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn network(text: &str) -> Result<Option<IpNet>, String> {
    let address = item::<IpAddr>(text).map(|address| address.map(IpNet::from));
    address.or_else(|_| item(text)).map_err(|_| "expected an address or a network such as 10.0.0.0/8".to_owned())
}
