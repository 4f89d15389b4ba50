//! Warns when Redis may evict the log, or does. A full Redis that refuses writes only makes publishes wait; one that
//! evicts loses messages, or lets them in twice.

use std::time::Duration;

use fred::{
    clients::{Client, WithOptions},
    error::Error,
    interfaces::{ClientLike, EventInterface},
    types::{ClusterHash, InfoKind, config::Options},
};
use hubbub_lifecycle::{
    Throttle,
    metric::{REDIS_EVICTED, REDIS_EVICTS},
};
use metrics::{Counter, Gauge, counter, gauge};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, warn};

/// How often Redis is asked.
const INTERVAL: Duration = Duration::from_secs(5);

/// The warning of a policy that evicts, and that of evictions.
static POLICY: Throttle = Throttle::new();
static EVICTIONS: Throttle = Throttle::new();

/// Asks Redis after each connect and from then on, without end. `key` is in the slot of every key of the log.
pub(super) async fn watch(client: Client, key: String) {
    let mut connected = client.reconnect_rx();
    let options = Options { cluster_hash: Some(ClusterHash::from(key.as_str())), ..Options::default() };
    let mut watch = Watch {
        client: client.with_options(&options),
        evicted: None,
        evicts: gauge!(REDIS_EVICTS),
        evictions: counter!(REDIS_EVICTED),
    };
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            server = connected.recv() => match server {
                Ok(_) | Err(RecvError::Lagged(_)) => watch.policy().await,
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => watch.evictions().await,
        }
    }
}

struct Watch {
    client: WithOptions<Client>,
    /// What Redis said last of how many keys it has evicted.
    evicted: Option<u64>,
    evicts: Gauge,
    evictions: Counter,
}

impl Watch {
    /// Warns of a setting with which Redis evicts keys once its memory is full.
    async fn policy(&self) {
        let Ok(memory) = self.info(InfoKind::Memory).await else { return };
        let Some(policy) = field(&memory, "maxmemory_policy") else { return };
        let maxmemory = field(&memory, "maxmemory").unwrap_or("0");
        let evicts = policy != "noeviction" && maxmemory != "0";
        self.evicts.set(if evicts { 1.0 } else { 0.0 });
        if evicts && POLICY.pass().is_some() {
            warn!(
                policy,
                maxmemory,
                "a full Redis will evict the log or the idempotency keys: set its maxmemory-policy to noeviction"
            );
        }
    }

    /// Warns when Redis has evicted keys since the last time.
    async fn evictions(&mut self) {
        if !self.client.is_connected() {
            return;
        }
        let Ok(stats) = self.info(InfoKind::Stats).await else { return };
        let Some(evicted) = field(&stats, "evicted_keys").and_then(|number| number.parse().ok()) else { return };
        let Some(before) = self.evicted.replace(evicted) else { return };
        // a server that has restarted counts from 0
        let evicted = evicted.checked_sub(before).unwrap_or(evicted);
        if evicted == 0 {
            return;
        }
        self.evictions.increment(evicted);
        if EVICTIONS.pass().is_some() {
            warn!(
                evicted,
                "Redis evicts keys: messages may be lost or delivered twice; set its maxmemory-policy to noeviction, and \
                 maxmemory higher"
            );
        }
    }

    async fn info(&self, section: InfoKind) -> Result<String, Error> {
        let answer = self.client.info(Some(section)).await;
        answer.inspect_err(|error| debug!(%error, "Redis does not say whether it evicts keys"))
    }
}

/// The value of a field in an answer to INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# Memory\r\nmaxmemory_human:1.00G\r\nmaxmemory:1073741824\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(field(info, "maxmemory"), Some("1073741824"));
        assert_eq!(field(info, "maxmemory_policy"), Some("allkeys-lru"));
        assert_eq!(field(info, "memory"), None);
    }
}
