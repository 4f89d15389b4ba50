//! Three shards, each with a replica.

use std::time::Duration;

use tokio::process::Command;

use super::Redis;
use crate::wait::{eventually, within};

/// Nodes that own a third of the slots each; as many more replicate them.
const SHARDS: usize = 3;
/// From start to a cluster that serves, and from the death of a primary to its replica's taking over.
const CHANGE: Duration = Duration::from_mins(1);

/// A Redis cluster. Dropping it kills all its nodes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
    url: String,
}

impl Cluster {
    /// A cluster that takes a node for dead when it has been silent for this long. It serves every slot.
    pub async fn start(node_timeout: Duration) -> Self {
        let node_timeout = format!("cluster-node-timeout {}", node_timeout.as_millis());
        let settings = ["cluster-enabled yes", &node_timeout, "repl-diskless-sync-delay 0"];
        let mut nodes = Vec::new();
        for _ in 0..2 * SHARDS {
            nodes.push(Redis::with(&settings).await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let create = Command::new("redis-cli")
            .args(["--cluster", "create", "--cluster-replicas", "1", "--cluster-yes"])
            .args(&addresses)
            .output();
        let created = within(create).await.unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let url = format!("redis-cluster://{}?node={}&node={}", addresses[0], addresses[1], addresses[2]);
        let cluster = Self { nodes, url };
        eventually(CHANGE, || async {
            for node in &cluster.nodes {
                if !cluster.serves(node).await {
                    return None;
                }
            }
            Some(())
        })
        .await;
        cluster
    }

    /// `redis-cluster://…`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All nodes, primaries and replicas.
    pub fn nodes(&self) -> impl Iterator<Item = &Redis> {
        self.nodes.iter()
    }

    /// The node that owns the slot of this key.
    pub async fn primary(&self, key: &str) -> &Redis {
        &self.nodes[self.owner(key).await]
    }

    /// Kills the node that owns the slot of this key, and waits until its replica has taken over.
    pub async fn fail_over(&mut self, key: &str) {
        let doomed = self.owner(key).await;
        self.nodes.remove(doomed).kill().await;
        eventually(CHANGE, || async {
            let owner = self.find_owner(key).await?;
            self.serves(&self.nodes[owner]).await.then_some(())
        })
        .await;
    }

    /// Lets a replica take over the slot of this key from a primary that lives on, as maintenance does.
    pub async fn hand_over(&self, key: &str) {
        let before = self.owner(key).await;
        for node in &self.nodes {
            let role = node.command(&["ROLE"]).await;
            if role.contains(&"slave".to_owned()) && role.contains(&self.nodes[before].port.to_string()) {
                assert_eq!(node.command(&["CLUSTER", "FAILOVER"]).await, ["OK"]);
            }
        }
        eventually(CHANGE, || async { self.find_owner(key).await.filter(|after| *after != before) }).await;
    }

    /// Begins to move the slot of this key to another primary, and moves nothing: the owner redirects every client that asks for a key
    /// that it has not there. Returns the owner.
    pub async fn begin_move(&self, key: &str) -> &Redis {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await.remove(0);
        let owner = self.primary(key).await;
        let mut target = None;
        for node in self.nodes.iter().filter(|node| node.port != owner.port) {
            if node.command(&["ROLE"]).await[0] == "master" {
                target = Some(node);
            }
        }
        let target = target.unwrap();
        let (from, to) = (owner.command(&["CLUSTER", "MYID"]).await, target.command(&["CLUSTER", "MYID"]).await);
        assert_eq!(target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from[0]]).await, ["OK"]);
        assert_eq!(owner.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to[0]]).await, ["OK"]);
        owner
    }

    /// Gives the move up.
    pub async fn cancel_move(&self, key: &str) {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await.remove(0);
        for node in &self.nodes {
            node.command(&["CLUSTER", "SETSLOT", &slot, "STABLE"]).await;
        }
    }

    async fn owner(&self, key: &str) -> usize {
        eventually(CHANGE, || self.find_owner(key)).await.0
    }

    /// The node that says that the slot of this key is its own.
    async fn find_owner(&self, key: &str) -> Option<usize> {
        for (place, node) in self.nodes.iter().enumerate() {
            if matches!(node.command(&["EXISTS", key]).await.first().map(String::as_str), Some("0" | "1")) {
                return Some(place);
            }
        }
        None
    }

    /// Whether this node knows an owner for every slot, and has its primary's data if it is a replica.
    async fn serves(&self, node: &Redis) -> bool {
        let state = node.command(&["CLUSTER", "INFO"]).await;
        let role = node.command(&["ROLE"]).await;
        let linked = role.first().is_some_and(|role| role == "master") || role.iter().any(|line| line == "connected");
        linked && state.iter().any(|line| line.trim_end() == "cluster_state:ok")
    }
}
