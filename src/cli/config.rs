//! Everything that can be set from outside, in one place.
//!
//! Flags and environment variables share one definition, so `--help` is the reference and cannot go stale. Limits that
//! nobody needs to set are constants beside what they limit.

use std::{fs, io::IsTerminal, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use hubbub_lifecycle::Secret;
use ipnet::IpNet;

/// The longest time that can be set.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "hubbub", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(about = "A WebSocket broadcast server with a chat in the browser.")]
#[command(long_about = "A WebSocket broadcast server with a chat in the browser.\n\n\
    Alone it needs nothing: start it and open http://127.0.0.1:8080. With --redis-url any number of instances act as one. \
    Every flag can also be set by its environment variable.")]
pub(crate) struct Cli {
    /// What to do; serve, if nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// How to serve.
    #[command(flatten)]
    pub(crate) serve: Config,
}

/// What the binary can do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Start an instance (the default).
    Serve(Box<Config>),
    /// Ask an instance whether it is ready. Exit code 0 if it is.
    Health(Health),
}

/// How to ask an instance for its health.
#[derive(Clone, Debug, Args)]
pub(crate) struct Health {
    /// Address of the instance.
    #[arg(long, env = "HUBBUB_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
}

/// Configuration of an instance.
#[derive(Clone, Debug, Args)]
pub(crate) struct Config {
    /// Address to listen on.
    #[arg(long, env = "HUBBUB_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// Address for metrics (GET /metrics), or `off`. Unless set, a taken port is no error [default: 127.0.0.1:9091].
    #[arg(long, env = "HUBBUB_ADMIN_LISTEN", value_name = "ADDR")]
    pub(crate) admin_listen: Option<AdminListen>,

    /// Redis that joins the instances: redis://, rediss://, redis-cluster://, redis-sentinel://, valkey:// [default: none,
    /// the instance is on its own].
    #[arg(long, env = "HUBBUB_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) redis_url: Option<Secret>,

    /// File with the Redis URL, instead of --redis-url.
    #[arg(long, env = "HUBBUB_REDIS_URL_FILE", value_name = "FILE", conflicts_with = "redis_url")]
    pub(crate) redis_url_file: Option<PathBuf>,

    /// Certificate authority of the Redis server, in PEM [default: the system's].
    #[arg(long, env = "HUBBUB_REDIS_CA", value_name = "FILE")]
    pub(crate) redis_ca: Option<PathBuf>,

    /// Prefix of keys and channel, so that several deployments can share a Redis.
    #[arg(long, env = "HUBBUB_PREFIX", default_value = "hubbub", value_name = "NAME", value_parser = prefix)]
    pub(crate) prefix: String,

    /// Name of this instance, shown to clients [default: the host's name and a random suffix].
    #[arg(long, env = "HUBBUB_INSTANCE", value_name = "NAME", value_parser = instance)]
    pub(crate) instance: Option<String>,

    /// Messages that the log and this instance's memory keep: how far back a client can resume.
    #[arg(long, env = "HUBBUB_LOG_RETENTION", default_value_t = 100_000, value_name = "N", value_parser = positive)]
    pub(crate) log_retention: usize,

    /// Bytes that they keep, if that is less.
    #[arg(long, env = "HUBBUB_LOG_BYTES", default_value = "64MiB", value_name = "BYTES")]
    pub(crate) log_bytes: ByteSize,

    /// WebSocket connections of this instance; above, 503 [default: what the descriptor limit allows].
    #[arg(long, env = "HUBBUB_MAX_CONNECTIONS", value_name = "N", value_parser = positive)]
    pub(crate) max_connections: Option<usize>,

    /// WebSocket connections of one address; above, they are closed with 4501.
    #[arg(long, env = "HUBBUB_MAX_PER_ADDRESS", default_value_t = 1000, value_name = "N", value_parser = positive)]
    pub(crate) max_per_address: usize,

    /// Proxies whose X-Forwarded-For counts, as addresses or networks (10.0.0.0/8), separated by commas [default: none].
    #[arg(long, env = "HUBBUB_TRUSTED_PROXIES", value_delimiter = ',', value_name = "LIST", value_parser = network)]
    pub(crate) trusted_proxies: Vec<IpNet>,

    /// Publishes a second and connection.
    #[arg(long, env = "HUBBUB_PUBLISH_RATE", default_value_t = 50.0, value_name = "N/S", value_parser = rate)]
    pub(crate) publish_rate: f64,

    /// Publishes a connection may make at once.
    #[arg(long, env = "HUBBUB_PUBLISH_BURST", default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publish_burst: u32,

    /// Origins whose pages may connect (<https://chat.example.com>), separated by commas; `*` allows all [default: pages from
    /// the same host].
    #[arg(long, env = "HUBBUB_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "LIST", value_parser = origin)]
    pub(crate) allowed_origins: Vec<String>,

    /// Key with which a back end may publish over HTTP [default: none, that is off].
    #[arg(long, env = "HUBBUB_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<Secret>,

    /// File with the API key, instead of --api-key.
    #[arg(long, env = "HUBBUB_API_KEY_FILE", value_name = "FILE", conflicts_with = "api_key")]
    pub(crate) api_key_file: Option<PathBuf>,

    /// On SIGTERM: how long to serve on while not ready, so that load balancers notice.
    #[arg(long, env = "HUBBUB_DRAIN_DELAY", default_value = "0s", value_name = "TIME", value_parser = duration)]
    pub(crate) drain_delay: Duration,

    /// Then: over how long the connections are closed, each in its slot.
    #[arg(long, env = "HUBBUB_DRAIN_WINDOW", default_value = "5s", value_name = "TIME", value_parser = duration)]
    pub(crate) drain_window: Duration,

    /// After how long, in all, it ends with connections left.
    #[arg(long, env = "HUBBUB_DRAIN_TIMEOUT", default_value = "25s", value_name = "TIME", value_parser = duration)]
    pub(crate) drain_timeout: Duration,

    /// Form of the log [default: pretty on a terminal, else json].
    #[arg(long, env = "HUBBUB_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// What to log: a level, or directives such as `info,hubbub::relay=debug`.
    #[arg(long, env = "HUBBUB_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// A setting that the command line alone cannot judge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file of a secret.
    #[error("cannot read the file for {flag}, {}: {source}", path.display())]
    SecretFile {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file of a secret has none in it.
    #[error("the file for {flag}, {}, is empty", path.display())]
    EmptySecretFile {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl Config {
    /// The Redis URL, from its flag or its file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(crate) fn redis_url(&self) -> Result<Option<Secret>, ConfigError> {
        secret("--redis-url-file", self.redis_url.as_ref(), self.redis_url_file.as_ref())
    }

    /// The API key, from its flag or its file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(crate) fn api_key(&self) -> Result<Option<Secret>, ConfigError> {
        secret("--api-key-file", self.api_key.as_ref(), self.api_key_file.as_ref())
    }

    /// The name of this instance.
    pub(crate) fn instance_name(&self) -> String {
        self.instance.clone().unwrap_or_else(|| {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("hubbub");
            format!("{host}-{:04x}", rand::random::<u16>())
        })
    }

    /// The form of the log.
    pub(crate) fn log_format(&self) -> LogFormat {
        let automatic = if std::io::stderr().is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
        self.log_format.unwrap_or(automatic)
    }
}

fn secret(flag: &'static str, value: Option<&Secret>, file: Option<&PathBuf>) -> Result<Option<Secret>, ConfigError> {
    let Some(path) = file else { return Ok(value.cloned()) };
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::SecretFile { flag, path: path.clone(), source })?;
    let secret = text.trim().parse().map_err(|_| ConfigError::EmptySecretFile { flag, path: path.clone() })?;
    Ok(Some(secret))
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

fn prefix(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 letters, digits, '-', '_', '.' or ':'".to_owned())
    }
}

fn instance(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && c != '"';
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 printable ASCII characters without spaces".to_owned())
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if parsed <= MAX_DURATION { Ok(parsed) } else { Err("expected at most a day".to_owned()) }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "expected an address or a network such as 10.0.0.0/8".to_owned())
}

fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains('/')) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("expected an origin such as https://chat.example.com, without a path, or *".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"hubbub").chain(args))
    }

    #[test]
    fn the_command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_what_it_does_when_nothing_is_said() {
        assert!(parse(&[]).unwrap().command.is_none());
        assert!(parse(&["--listen", "127.0.0.1:1"]).unwrap().command.is_none());
        assert!(matches!(parse(&["serve", "--prefix", "x"]).unwrap().command, Some(Command::Serve(_))));
        assert!(matches!(parse(&["health"]).unwrap().command, Some(Command::Health(_))));
    }

    #[test]
    fn units_and_lists_are_understood() {
        let config = parse(&[
            "--log-bytes",
            "1MiB",
            "--drain-window",
            "500ms",
            "--trusted-proxies",
            "10.0.0.0/8,127.0.0.1",
            "--allowed-origins",
            "https://A.example,http://b.example:81",
            "--admin-listen",
            "off",
        ])
        .unwrap()
        .serve;
        assert_eq!(config.log_bytes.as_u64(), 1 << 20);
        assert_eq!(config.drain_window, Duration::from_millis(500));
        assert_eq!(config.trusted_proxies.len(), 2);
        assert_eq!(config.allowed_origins, ["https://a.example", "http://b.example:81"]);
        assert_eq!(config.admin_listen, Some(AdminListen::Off));
    }

    #[test]
    fn wrong_values_are_refused() {
        for args in [
            ["--listen", "nowhere"],
            ["--log-retention", "0"],
            ["--publish-rate", "-1"],
            ["--allowed-origins", "example.com"],
            ["--trusted-proxies", "x"],
            ["--prefix", "a b"],
            ["--drain-timeout", "5"],
            ["--admin-listen", "on"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let config = parse(&["--redis-url", "redis://:hunter2@h", "--api-key", "hunter2"]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
