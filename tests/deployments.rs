//! Every kind of Redis that people run: behind Sentinel, in a cluster, with TLS and access lists, without INFO.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]

use std::{collections::HashMap, time::Duration};

use hubbub_client::Config;
use hubbub_protocol::{RelayState, RoomId};
use hubbub_testbed::{
    Cluster, PATIENCE, Redis, Sentinel, Server, TestClient, Transcript, assert_complete, chatter, command, eventually,
    gather, room, within,
};

/// What the load in these tests needs: no limit gets in its way.
const ROOMY: [&str; 4] = ["--publish-rate", "10000", "--publish-burst", "10000"];

/// Two instances of this deployment.
async fn pair(flags: &[&str]) -> [Server; 2] {
    let flags = [&ROOMY[..], flags].concat();
    tokio::join!(Server::start(&flags), Server::start(&flags)).into()
}

/// The password of the user in the documentation.
const PASSWORD: &str = "a-long-secret";

/// A line of docs/operations.md that begins so, without that beginning.
fn documented(beginning: &str) -> String {
    let page = include_str!("../docs/operations.md");
    page.lines().find_map(|line| line.strip_prefix(beginning)).unwrap().replace("SECRET", PASSWORD)
}

/// The documented user of a deployment that needs these commands more, created on this server.
async fn admit(redis: &Redis, more: &str) {
    let rules = documented("    user hubbub ") + " " + documented(more).trim_matches('`');
    let words: Vec<&str> = ["ACL", "SETUSER", "hubbub"].into_iter().chain(rules.split(' ')).collect();
    assert_eq!(redis.command(&words).await, ["OK"]);
}

/// A URL with the documented user in it.
fn as_user(url: &str) -> String {
    url.replacen("://", &format!("://hubbub:{PASSWORD}@"), 1)
}

async fn secured() -> Redis {
    let users = ["default", "hubbub"].map(|name| format!("user {name} {}", documented(&format!("    user {name} "))));
    Redis::secured(&users.each_ref().map(String::as_str)).await
}

/// Clients in one room, on the two instances in turn.
async fn crowd([a, b]: [&Server; 2], size: usize, room: &RoomId) -> Vec<TestClient<Transcript>> {
    let configs = (0..size).map(|n| {
        let server = if n % 2 == 0 { a } else { b };
        Config::new(
            vec![server.address().into()],
            format!("TestClient<Transcript> {n}").parse().unwrap(),
            vec![room.clone()],
        )
    });
    gather(configs).await
}

/// A message of each instance reaches both.
async fn assert_talk(servers: &[Server; 2]) {
    let room = room();
    let members = crowd(servers.each_ref(), 2, &room).await;
    for member in &members {
        member.publish(&room, "hello").await;
    }
    assert_eq!(assert_complete(&members).await, 2);
}

/// The instance cannot use its Redis, and the log says why in these words.
async fn assert_refused(server: &Server, words: &str) {
    let fields = server.logged("relay.degraded").await;
    assert!(fields["reason"].as_str().unwrap().contains(words), "{fields}");
    assert_eq!(server.readiness().await, 503);
}

/// Waits until every client receives new messages, which all go through Redis, and the status `live`.
async fn carried_on(members: &[TestClient<Transcript>]) {
    let seen: Vec<usize> = members.iter().map(|member| member.transcript().messages.len()).collect();
    for (member, seen) in members.iter().zip(seen) {
        member.until("hearing more", |record| record.messages.len() > seen + 100).await;
        member.until("live", |record| record.states.last() == Some(&RelayState::Live)).await;
    }
}

/// How many messages the log lost and has again.
async fn put_back(redis: &Redis) -> usize {
    let fields = redis.command(&["XRANGE", "{hubbub}:log", "-", "+"]).await;
    fields.iter().filter(|field| *field == "w").count()
}

/// No connection was lost, and each client has the messages of each sender in their order.
fn assert_unharmed(members: &[TestClient<Transcript>]) {
    for member in members {
        let record = member.transcript();
        assert_eq!((record.closes.as_slice(), record.lives), (&[][..], 1), "a connection was lost");
        let mut last = HashMap::new();
        for message in &record.messages {
            let number: usize = message.record.body.parse().unwrap();
            let before = last.insert(&message.record.from.id, number);
            assert!(before < Some(number), "{number} after {before:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_to_a_replica_that_lags_lose_no_acked_message() {
    let mut sentinel = Sentinel::start().await;
    let servers = pair(&["--redis-url", sentinel.url()]).await;
    let rooms = [room()];
    let members = crowd(servers.each_ref(), 20, &rooms[0]).await;
    let failovers = async {
        for outages in 1..=2 {
            carried_on(&members).await;
            sentinel.fail_over_to_lagging_replica(Duration::from_secs(1)).await;
            carried_on(&members).await;
            let lost = put_back(sentinel.primary()).await;
            assert!(lost >= outages * 50, "the replica lagged by only {lost} messages");
        }
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), failovers).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_unharmed(&members);
}

#[tokio::test]
async fn behind_sentinel_the_documented_user_is_enough() {
    let sentinel = Sentinel::start().await;
    for node in sentinel.nodes() {
        admit(node, "* behind Sentinel: ").await;
    }
    let sentry = ["ACL", "SETUSER", "sentry", "on", ">other-secret", "+@all"];
    assert_eq!(sentinel.watcher().command(&sentry).await, ["OK"]);
    let url = as_user(sentinel.url());
    let authenticated = format!("{url}&sentinelUsername=sentry&sentinelPassword=other-secret");
    assert_talk(&[Server::start(&["--redis-url", &url]).await, Server::start(&["--redis-url", &authenticated]).await])
        .await;
}

#[tokio::test]
async fn in_a_cluster_the_documented_user_is_enough() {
    let cluster = Cluster::start(Duration::from_mins(1)).await;
    for node in cluster.nodes() {
        admit(node, "* in Redis Cluster: ").await;
    }
    assert_talk(&pair(&["--redis-url", &as_user(cluster.url())]).await).await;
}

#[tokio::test]
async fn in_another_database_the_documented_user_is_enough() {
    let redis = Redis::start().await;
    admit(&redis, "* if the URL names a database: ").await;
    assert_talk(&pair(&["--redis-url", &format!("{}/1", as_user(redis.url()))]).await).await;
    assert_eq!(redis.command(&["DBSIZE"]).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_the_documented_user_needs_all_its_commands_and_no_other() {
    let mut redis = secured().await;
    let url = redis.url_as("hubbub", PASSWORD);
    let authority = redis.authority();
    let [mut a, b] =
        pair(&["--redis-url", &url, "--redis-ca", authority.to_str().unwrap(), "--drain-window", "0s"]).await;
    let servers = [&a, &b];
    let rooms = [room()];
    let members = crowd(servers, 10, &rooms[0]).await;
    let faults = async {
        carried_on(&members).await;
        for kind in ["pubsub", "normal"] {
            redis.command(&["CLIENT", "KILL", "TYPE", kind]).await;
        }
        carried_on(&members).await;
        let length = async |redis: &Redis| redis.command(&["XLEN", KEY]).await[0].parse::<u64>().unwrap();
        let before = length(&redis).await;
        redis.stop().await;
        redis.resume().await;
        assert!(length(&redis).await >= before, "the log did not survive the restart");
        carried_on(&members).await;
        redis.command(&["FLUSHALL"]).await;
        carried_on(&members).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), faults).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_unharmed(&members);

    for server in servers {
        assert!(server.log().iter().all(|line| !line.contains(PASSWORD)));
    }
    a.terminate().await;
    assert!(a.ended().await.success());
    let refused = redis.command(&["ACL", "LOG"]).await;
    assert!(refused.iter().all(|line| line != "command" && line != "key" && line != "channel"), "{refused:?}");
    let used = redis.command(&["INFO", "commandstats"]).await;
    for granted in documented("    user hubbub ").split(' ').filter_map(|rule| rule.strip_prefix('+')) {
        assert!(used.iter().any(|line| line.starts_with(&format!("cmdstat_{granted}:"))), "{granted} is not used");
    }
}

#[tokio::test]
async fn the_authorities_of_the_system_count_unless_one_is_named() {
    let redis = secured().await;
    let url = redis.url_as("hubbub", PASSWORD);
    let (authority, flags) = (redis.authority(), ["--redis-url", &url, "--admin-listen", "127.0.0.1:0"]);
    Server::spawn_in(&[("SSL_CERT_FILE", authority.to_str().unwrap())], &flags).await.ready().await;

    let stranger = Server::spawn(&flags).await;
    assert_refused(&stranger, "--redis-ca").await;

    let none = within(command(&flags).env("SSL_CERT_FILE", "/nowhere").output()).await.unwrap();
    let printed = String::from_utf8(none.stderr).unwrap();
    assert!(!none.status.success() && printed.contains("SSL_CERT_FILE") && !printed.contains(PASSWORD), "{printed}");
}

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    let redis = secured().await;
    let url = redis.url_as("hubbub", "mistyped-secret");
    let authority = redis.authority();
    let server = Server::spawn(&["--redis-url", &url, "--redis-ca", authority.to_str().unwrap()]).await;
    assert_refused(&server, "rejects the user or the password").await;
    assert!(server.log().iter().all(|line| !line.contains("mistyped-secret")));

    let help = within(command(&["--help"]).env("HUBBUB_REDIS_URL", &url).output()).await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("HUBBUB_REDIS_URL") && !help.contains("mistyped-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_info_works_and_is_warned_of_once() {
    let mut redis = Redis::with(&["rename-command INFO \"\""]).await;
    let servers = pair(&["--redis-url", redis.url()]).await;
    let rooms = [room()];
    let members = crowd(servers.each_ref(), 10, &rooms[0]).await;
    let restart = async {
        carried_on(&members).await;
        redis.stop().await;
        redis.resume().await;
        carried_on(&members).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), restart).await;
    assert_eq!(assert_complete(&members).await, published);
    for server in &servers {
        assert_eq!(server.log().iter().filter(|line| line.contains("run_id")).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_info_that_lost_its_newest_messages_gets_them_back() {
    let mut redis = Redis::with(&["rename-command INFO \"\"", "appendonly yes"]).await;
    let servers = pair(&["--redis-url", redis.url()]).await;
    let rooms = [room()];
    let members = crowd(servers.each_ref(), 10, &rooms[0]).await;
    let lose = async {
        for _ in 0..3 {
            carried_on(&members).await;
            redis.kill().await;
            assert!(redis.cut_append_only_file(10_000) > 5000);
            redis.resume().await;
            carried_on(&members).await;
        }
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), lose).await;
    assert_eq!(assert_complete(&members).await, published);
}

/// In the slot of every key of the relay.
const KEY: &str = "{hubbub}:log";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_lose_the_shard_and_its_subscribers_and_nothing_acked_is_lost() {
    let mut cluster = Cluster::start(Duration::from_secs(2)).await;
    let servers = pair(&["--redis-url", cluster.url()]).await;
    let rooms = [room()];
    let members = crowd(servers.each_ref(), 20, &rooms[0]).await;
    for member in &members {
        member.until("counted", |record| (record.count.connections, record.count.instances) == (20, 2)).await;
    }
    let faults = async {
        carried_on(&members).await;
        let killed = cluster.primary(KEY).await.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, ["2"], "both instances subscribe on the shard of their keys");
        carried_on(&members).await;
        cluster.hand_over(KEY).await;
        carried_on(&members).await;
        cluster.fail_over(KEY).await;
        carried_on(&members).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(5), faults).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_unharmed(&members);
    for member in &members {
        member.until("counted", |record| (record.count.connections, record.count.instances) == (20, 2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_hangs_is_noticed_on_the_connection_that_subscribes() {
    let cluster = Cluster::start(Duration::from_mins(1)).await;
    let servers = pair(&["--redis-url", cluster.url()]).await;
    let rooms = [room()];
    let members = crowd(servers.each_ref(), 10, &rooms[0]).await;
    let shard = cluster.primary(KEY).await;
    eventually(PATIENCE, || async {
        let clients = shard.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
        (clients.iter().filter(|client| client.contains(" cmd=ping ")).count() == 2).then_some(())
    })
    .await;
    let freeze = async {
        carried_on(&members).await;
        shard.signal("STOP").await;
        for member in &members {
            member.until("degraded", |record| record.states.last() == Some(&RelayState::Degraded)).await;
        }
        shard.signal("CONT").await;
        carried_on(&members).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(10), freeze).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_unharmed(&members);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_being_moved_holds_messages_back_and_ends_no_client() {
    let cluster = Cluster::start(Duration::from_mins(1)).await;
    let servers = pair(&["--redis-url", cluster.url()]).await;
    let rooms = [room()];
    let members = crowd(servers.each_ref(), 10, &rooms[0]).await;
    let moving = async {
        carried_on(&members).await;
        let owner = cluster.begin_move(KEY).await;
        owner.command(&["FLUSHALL"]).await;
        for member in &members {
            member.until("degraded", |record| record.states.last() == Some(&RelayState::Degraded)).await;
        }
        cluster.cancel_move(KEY).await;
        carried_on(&members).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(10), moving).await;
    assert_eq!(assert_complete(&members).await, published);
    assert_unharmed(&members);
}
