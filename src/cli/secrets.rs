//! The files of secrets and certificates, which are read again on SIGHUP.

use hubbub_lifecycle::{RotatingSecret, metric::RELOAD_FAILURES};
use hubbub_log::{Renewal, Renewer};
use metrics::counter;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::signals::Hangups;

/// What can be read again. The log says what was read and what failed; what failed stays as it was.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// None if the key does not come from a file.
    pub(crate) api_key: Option<RotatingSecret>,
    /// None without Redis, or if nothing of its connection comes from a file.
    pub(crate) redis: Option<Renewer>,
}

impl Secrets {
    /// Reads the files again at every SIGHUP, without end.
    pub(crate) async fn follow(self, mut hangups: Hangups) -> ! {
        loop {
            hangups.next().await;
            self.read_again().await;
        }
    }

    async fn read_again(&self) {
        if self.api_key.is_none() && self.redis.is_none() {
            info!("SIGHUP: there is no file to read again; see --api-key-file and --redis-url-file");
        }
        if let Some(key) = self.api_key.clone() {
            match spawn_blocking(move || key.read_again()).await.unwrap_or_else(|error| Err(error.into())) {
                Ok(true) => info!("SIGHUP: the API key is another one from now on"),
                Ok(false) => info!("SIGHUP: the API key is the same as before"),
                Err(error) => {
                    counter!(RELOAD_FAILURES).increment(1);
                    warn!(%error, "SIGHUP: the API key cannot be read again (--api-key-file): the former one stays in use");
                }
            }
        }
        if let Some(redis) = &self.redis {
            match redis.renew().await {
                Ok(Renewal::Renewed) => info!("SIGHUP: Redis accepts the URL and the files as they are now"),
                Ok(Renewal::Unchanged) => info!("SIGHUP: the Redis URL and its files are the same as before"),
                Err(error) => {
                    warn!(%error, "SIGHUP: the Redis URL or its files cannot be used: the former ones stay in use");
                }
            }
        }
    }
}
