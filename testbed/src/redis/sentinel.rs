//! A primary, a replica, and the Sentinel that watches them.

use std::{mem, time::Duration};

use tokio::time::sleep;

use super::Redis;
use crate::wait::eventually;

/// What Sentinel calls the pair.
const NAME: &str = "hubbub";
/// A failover takes about 4 s; Sentinel tries again after twice its `failover-timeout`.
const FAILOVER: Duration = Duration::from_mins(1);
/// A primary sends its data at once, without waiting for more replicas.
const AT_ONCE: &str = "repl-diskless-sync-delay 0";

/// A primary and a replica under one Sentinel, whose quorum is one. Dropping it kills all three.
#[derive(Debug)]
pub struct Sentinel {
    watcher: Redis,
    primary: Redis,
    replica: Redis,
    url: String,
}

impl Sentinel {
    /// All three run, and the replica has the primary's data.
    pub async fn start() -> Self {
        let primary = Redis::with(&[AT_ONCE]).await;
        let replica = Redis::with(&[AT_ONCE, &follow(&primary)]).await;
        let watcher = watch(&primary).await;
        let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName={NAME}", watcher.port);
        let pair = Self { watcher, primary, replica, url };
        pair.in_step().await;
        pair
    }

    /// `redis-sentinel://…`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server that takes writes.
    pub fn primary(&self) -> &Redis {
        &self.primary
    }

    /// The Sentinel itself.
    pub fn watcher(&self) -> &Redis {
        &self.watcher
    }

    /// The servers that hold the data.
    pub fn nodes(&self) -> impl Iterator<Item = &Redis> {
        [&self.primary, &self.replica].into_iter()
    }

    /// Kills the primary when the replica has missed what was written for as long as `lag`, and waits until the replica
    /// has been promoted. The old primary comes back as a replica, so that this can be done again.
    ///
    /// A lag of more than 20 s makes Sentinel refuse the replica.
    pub async fn fail_over_to_lagging_replica(&mut self, lag: Duration) {
        // To stop it alone would lose nothing: the data would wait in its socket.
        self.replica.signal("STOP").await;
        self.primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await;
        sleep(lag).await; // the lag itself, nothing that one could wait for
        self.primary.kill().await;
        self.replica.signal("CONT").await;
        let promoted = self.replica.port.to_string();
        eventually(FAILOVER, || async {
            let primary = self.watcher.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await;
            let role = self.replica.command(&["ROLE"]).await;
            (primary == ["127.0.0.1", &promoted] && role.first()? == "master").then_some(())
        })
        .await;

        mem::swap(&mut self.primary, &mut self.replica);
        let follow = follow(&self.primary);
        self.replica.configure(&[AT_ONCE, &follow]);
        self.replica.resume().await;
        self.in_step().await;
    }

    /// Waits until the replica has the data and Sentinel would promote it.
    async fn in_step(&self) {
        eventually(FAILOVER, || async {
            let replication = self.replica.command(&["INFO", "replication"]).await;
            let linked = replication.iter().any(|line| line.trim_end() == "master_link_status:up");
            let known = self.watcher.command(&["SENTINEL", "REPLICAS", NAME]).await;
            let value = |name: &str| known.iter().skip_while(|line| *line != name).nth(1);
            (linked && value("flags")? == "slave" && value("master-link-status")? == "ok").then_some(())
        })
        .await;
    }
}

/// The setting of a replica of this server.
fn follow(primary: &Redis) -> String {
    format!("replicaof 127.0.0.1 {}", primary.port)
}

/// A Sentinel that watches this primary.
async fn watch(primary: &Redis) -> Redis {
    Redis::with(&[
        &format!("sentinel monitor {NAME} 127.0.0.1 {} 1", primary.port),
        &format!("sentinel down-after-milliseconds {NAME} 2000"),
        &format!("sentinel failover-timeout {NAME} 3000"),
    ])
    .await
}
