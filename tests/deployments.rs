//! Every kind of Redis that people run: behind Sentinel, in a cluster, with TLS and access lists, without INFO.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]

mod common;

use std::time::Duration;

use common::crowd::{Member, assert_complete, chatter, gather};
use hubbub::protocol::{RelayState, RoomId};
use hubbub_client::Config;
use hubbub_testbed::{Cluster, PATIENCE, Redis, Sentinel, Server, eventually, room};

/// What the load in these tests needs: no limit gets in its way.
const ROOMY: [&str; 4] = ["--publish-rate", "10000", "--publish-burst", "10000"];

/// Two instances of this deployment.
async fn pair(flags: &[&str]) -> [Server; 2] {
    let flags = [&ROOMY[..], flags].concat();
    tokio::join!(Server::start(&flags), Server::start(&flags)).into()
}

/// Clients in one room, on the two instances in turn.
async fn crowd([a, b]: &[Server; 2], size: usize, room: &RoomId) -> Vec<Member> {
    let configs = (0..size).map(|n| {
        let server = if n % 2 == 0 { a } else { b };
        Config::new(vec![server.address().into()], format!("Member {n}").parse().unwrap(), vec![room.clone()])
    });
    gather(configs).await
}

/// Waits until everybody has been told of an outage and of its end, and hears messages again.
async fn carried_on(members: &[Member], outages: usize) {
    for member in members {
        let lived = |states: &[RelayState]| states.iter().filter(|state| **state == RelayState::Live).count();
        member.until("live again", |record| lived(&record.states) > outages).await;
    }
    let seen = members[0].record().messages.len();
    members[0].until("load again", |record| record.messages.len() > seen + 100).await;
}

/// How many messages the log lost and has again.
async fn put_back(redis: &Redis) -> usize {
    let fields = redis.command(&["XRANGE", "{hubbub}:log", "-", "+"]).await;
    fields.iter().filter(|field| *field == "w").count()
}

/// No connection was lost.
fn assert_connected(members: &[Member]) {
    for member in members {
        let record = member.record();
        assert_eq!((record.closes.as_slice(), record.lives), (&[][..], 1), "a connection was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_to_a_replica_that_lags_lose_no_acked_message() {
    let mut sentinel = Sentinel::start().await;
    let servers = pair(&["--redis-url", sentinel.url()]).await;
    let rooms = [room()];
    let members = crowd(&servers, 20, &rooms[0]).await;
    let failovers = async {
        for outages in 1..=2 {
            let seen = members[0].record().messages.len();
            members[0].until("some load", |record| record.messages.len() > seen + 100).await;
            sentinel.fail_over_to_lagging_replica(Duration::from_secs(1)).await;
            carried_on(&members, outages).await;
            let lost = put_back(sentinel.primary()).await;
            assert!(lost >= outages * 50, "the replica lagged by only {lost} messages");
        }
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), failovers).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_connected(&members);
}

/// In the slot of every key of the relay.
const KEY: &str = "{hubbub}:log";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_lose_the_shard_and_its_subscribers_and_nothing_acked_is_lost() {
    let mut cluster = Cluster::start(Duration::from_secs(1)).await;
    let servers = pair(&["--redis-url", cluster.url()]).await;
    let rooms = [room()];
    let members = crowd(&servers, 20, &rooms[0]).await;
    for member in &members {
        member.until("counted", |record| (record.count.connections, record.count.instances) == (20, 2)).await;
    }
    let faults = async {
        members[0].until("some load", |record| record.messages.len() > 100).await;
        let killed = cluster.primary(KEY).await.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, ["2"], "both instances subscribe on the shard of their keys");
        carried_on(&members, 1).await;
        cluster.fail_over(KEY).await;
        carried_on(&members, 2).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), faults).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_connected(&members);
    for member in &members {
        member.until("counted", |record| (record.count.connections, record.count.instances) == (20, 2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_hangs_is_noticed_on_the_connection_that_subscribes() {
    let cluster = Cluster::start(Duration::from_mins(1)).await;
    let servers = pair(&["--redis-url", cluster.url()]).await;
    let rooms = [room()];
    let members = crowd(&servers, 10, &rooms[0]).await;
    let shard = cluster.primary(KEY).await;
    eventually(PATIENCE, || async {
        let clients = shard.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
        (clients.iter().filter(|client| client.contains(" cmd=ping ")).count() == 2).then_some(())
    })
    .await;
    let freeze = async {
        members[0].until("some load", |record| record.messages.len() > 100).await;
        shard.signal("STOP").await;
        for member in &members {
            member.until("told", |record| record.states.last() == Some(&RelayState::Degraded)).await;
        }
        shard.signal("CONT").await;
        carried_on(&members, 1).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(10), freeze).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_connected(&members);
}
