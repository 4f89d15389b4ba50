//! The options of Redis.

use std::path::PathBuf;

use clap::Args;
use hubbub_lifecycle::Secret;
use hubbub_log::{RedisConfig, TlsFiles};

use super::value::source;

/// How to reach Redis.
#[derive(Clone, Debug, Args)]
pub(crate) struct RedisArgs {
    /// Redis that connects the instances: redis://, rediss://, redis-cluster://, redis-sentinel:// or valkey://
    /// [default: none, the instance works alone].
    #[arg(long, env = "HUBBUB_REDIS_URL", help_heading = "Redis", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,

    /// File to read the Redis URL from, instead of --redis-url. It is read again on SIGHUP and when the connection fails,
    /// as are the files below.
    #[arg(
        long,
        env = "HUBBUB_REDIS_URL_FILE",
        help_heading = "Redis",
        value_name = "FILE",
        conflicts_with = "redis_url"
    )]
    redis_url_file: Option<PathBuf>,

    /// PEM file of the authority that signed the certificate of the Redis server, or of that certificate itself if it is
    /// self-signed [default: the authorities of the system].
    #[arg(long, env = "HUBBUB_REDIS_CA", help_heading = "Redis", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// PEM file of the client certificate for Redis, if it wants one [default: none].
    #[arg(long, env = "HUBBUB_REDIS_CERT", help_heading = "Redis", value_name = "FILE", requires = "redis_key")]
    redis_cert: Option<PathBuf>,

    /// PEM file of the private key of --redis-cert.
    #[arg(long, env = "HUBBUB_REDIS_KEY", help_heading = "Redis", value_name = "FILE", requires = "redis_cert")]
    redis_key: Option<PathBuf>,

    /// Prefix of all Redis keys and channels. Deployments that share a Redis need different ones.
    #[arg(long, env = "HUBBUB_PREFIX", help_heading = "Redis", default_value = "hubbub", value_name = "NAME", value_parser = prefix)]
    prefix: String,
}

impl RedisArgs {
    /// How to reach Redis. None: the instance works alone.
    pub(crate) fn config(&self) -> Option<RedisConfig> {
        let url = source(self.redis_url.as_ref(), self.redis_url_file.as_ref())?;
        let tls = TlsFiles { ca: self.redis_ca.clone(), cert: self.redis_cert.clone(), key: self.redis_key.clone() };
        Some(RedisConfig { url, prefix: self.prefix.clone(), tls })
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if (1..=64).contains(&text.len()) && text.chars().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 letters, digits, '-', '_', '.' or ':'".to_owned())
    }
}
