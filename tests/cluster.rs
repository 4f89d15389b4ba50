//! Several instances on one Redis act as one, also when one of them or Redis goes away.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use hubbub_client::{Client, Config};
use hubbub_protocol::{Count, MessageId, RelayState, RoomId};
use hubbub_testbed::{
    Flow, PATIENCE, Proxy, Redis, Server, TestClient, assert_complete, chatter, eventually,
    frames::{closed, enter, enter_with, message, open, publish, send},
    gather, http, room, unique,
};
use serde_json::json;
use tokio::time::{Instant, interval};

/// What the load in these tests needs: no limit gets in its way.
const ROOMY: [&str; 4] = ["--publish-rate", "10000", "--publish-burst", "10000"];

fn config(addresses: Vec<String>, name: &str, rooms: &[&RoomId]) -> Config {
    Config::new(addresses, name.parse().unwrap(), rooms.iter().map(|room| (*room).clone()).collect())
}

#[tokio::test]
async fn two_instances_show_everyone_the_same_messages_in_the_same_order() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let room = room();
    let mut members = Vec::new();
    for server in [&a, &b, &a, &b] {
        members.push(TestClient::spawn("Someone", vec![server.address().into()], &[&room]));
        members.last().unwrap().live().await;
    }
    for n in 0..100 {
        for member in &members {
            member.publish(&room, &n.to_string()).await;
        }
    }
    assert_eq!(assert_complete(&members).await, 400);
    let orders: HashSet<Vec<MessageId>> =
        members.iter().map(|member| member.transcript().ids(&room).into_iter().cloned().collect()).collect();
    assert_eq!(orders.len(), 1, "the order differs between clients");
}

#[tokio::test]
async fn a_message_crosses_and_the_channel_is_one() {
    let redis = Redis::start().await;
    let prefix = unique("prefix");
    let flags = |name| ["--prefix", prefix.as_str(), "--instance", name];
    let (alpha, beta) = (flags("alpha"), flags("beta"));
    let (a, b) = tokio::join!(Server::on(&redis, &alpha), Server::on(&redis, &beta));
    let (first, second) = (room(), room());
    let (mut ann, at_a) = enter(a.address(), "Ann", &[&first, &second]).await;
    let (mut bob, at_b) = enter(b.address(), "Bob", &[&first]).await;
    assert_eq!((at_a.instance.as_str(), at_b.instance.as_str()), ("alpha", "beta"));

    publish(&mut ann, &first, "m1", "hello across").await;
    let (there, here) = (message(&mut bob).await, message(&mut ann).await);
    assert_eq!((&there, there.record.body.as_str()), (&here, "hello across"));

    let channels = redis.command(&["PUBSUB", "CHANNELS", "*"]).await;
    assert_eq!(channels.len(), 1, "{channels:?}");
    assert!(channels[0].contains(&prefix), "{channels:?}");
    for key in redis.command(&["KEYS", "*"]).await {
        assert!(key.contains(&format!("{{{prefix}}}")), "{key} has not the hash tag of all keys");
    }
}

#[tokio::test]
async fn deployments_with_different_prefixes_are_separate() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &["--prefix", "one"]), Server::on(&redis, &["--prefix", "two"]));
    let room = room();
    let (mut ann, _) = enter(a.address(), "Ann", &[&room]).await;
    let (mut bob, welcome) = enter(b.address(), "Bob", &[&room]).await;
    assert_eq!(welcome.count.instances, 1);
    publish(&mut ann, &room, "from-a", "x").await;
    message(&mut ann).await;
    publish(&mut bob, &room, "from-b", "x").await;
    assert_eq!(message(&mut bob).await.record.id.as_str(), "from-b");
}

#[tokio::test]
async fn the_same_message_through_two_instances_is_delivered_once() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &[]), Server::on(&redis, &[]));
    let room = room();
    let hello = json!({"type": "hello", "name": "Ann", "session": "AAAAAAAAAAAAAAAAAAAAAA", "rooms": [room]});
    let (mut here, _) = enter_with(a.address(), &hello).await;
    let (mut there, _) = enter_with(b.address(), &hello).await;
    publish(&mut here, &room, "m1", "first").await;
    let first = message(&mut here).await;
    publish(&mut there, &room, "m1", "second").await;
    publish(&mut there, &room, "m2", "third").await;
    assert_eq!(message(&mut there).await.seq, first.seq);
    assert_eq!(message(&mut there).await.record.body, "third");
    assert_eq!(message(&mut here).await.record.body, "third");
}

#[tokio::test]
async fn the_counter_counts_connections_and_instances_everywhere() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &[]), Server::on(&redis, &[]));
    let room = room();
    let ann = TestClient::spawn("Ann", vec![a.address().into()], &[&room]);
    let bob = TestClient::spawn("Bob", vec![b.address().into()], &[&room]);
    let two = |count: Count| (count.connections, count.instances) == (2, 2);
    ann.until("two over two", |record| two(record.count)).await;
    bob.until("two over two", |record| two(record.count)).await;
    let stats = http::get(a.address(), "/v1/stats").await.json();
    assert_eq!(stats["instances"], 2, "{stats}");

    drop(bob);
    ann.until("one over two", |record| (record.count.connections, record.count.instances) == (1, 2)).await;
    b.terminate().await;
    ann.until("one over one", |record| (record.count.connections, record.count.instances) == (1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_in_twenty_rooms_over_two_instances_get_everything_once() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let rooms: Vec<RoomId> = (0..20).map(|_| room()).collect();
    // One room for most, four for every tenth.
    let configs = (0..1000).map(|n| {
        let server = if n % 2 == 0 { &a } else { &b };
        let mine: Vec<&RoomId> =
            if n % 10 == 0 { [0, 5, 10, 15].map(|k| &rooms[(n + k) % 20]).into() } else { vec![&rooms[n % 20]] };
        config(vec![server.address().into()], &format!("Client {n}"), &mine)
    });
    let members = gather(configs).await;
    members[0].until("a thousand", |record| record.count.connections == 1000).await;

    for round in 0..5 {
        for (n, member) in members.iter().enumerate().take(100) {
            member.publish(&rooms[n % 20], &format!("{round}")).await;
        }
    }

    assert_eq!(assert_complete(&members).await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_the_counter_is_right_within_four_seconds() {
    let redis = Redis::start().await;
    let (mut a, b) = tokio::join!(Server::on(&redis, &[]), Server::on(&redis, &[]));
    let room = room();
    let doomed = gather((0..500).map(|n| config(vec![a.address().into()], &format!("Doomed {n}"), &[&room]))).await;
    let others = gather((0..20).map(|n| config(vec![b.address().into()], &format!("Other {n}"), &[&room]))).await;
    for other in &others {
        other.until("everyone there", |record| record.count.connections == 520).await;
    }

    let killed = Instant::now();
    a.kill().await;

    for other in &others {
        let gone = |count: Count| (count.connections, count.instances) == (20, 1);
        other.until_within(Duration::from_secs(4), "right", |record| gone(record.count)).await;
    }
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(doomed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_sends_every_client_to_the_other_instance_and_nothing_is_lost() {
    let redis = Redis::start().await;
    let flags = [&ROOMY[..], &["--drain-window", "2s", "--drain-timeout", "20s"]].concat();
    let (mut a, b) = tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags));
    let rooms: Vec<RoomId> = (0..4).map(|_| room()).collect();
    let addresses = Server::addresses(&[&a, &b]);
    let mut members =
        gather((0..200).map(|n| config(addresses.clone(), &format!("Moving {n}"), &[&rooms[n % 4]]))).await;
    let all: Vec<&RoomId> = rooms.iter().collect();
    let staying = gather([config(vec![b.address().into()], "Staying", &all)]).await;
    // The publishers are connected to the instance that stops, too.
    let publishers = gather((0..20).map(|n| config(addresses.clone(), &format!("Publisher {n}"), &all))).await;

    let stop = async {
        staying[0].until("some load", |record| record.messages.len() > 100).await;
        a.terminate().await;
        let asked = Instant::now();
        staying[0].until_within(Duration::from_secs(10), "alone", |record| record.count.instances == 1).await;
        let status = a.ended_within(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(0));
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(8), "a drain window of 2 s took {took:?}");
        for member in &members {
            member.until("moved", |record| record.lives == 2 && record.is_live()).await;
        }
    };
    let published = chatter(&publishers, &rooms, Duration::from_millis(5), stop).await;
    assert!(published > 200, "{published}");

    for member in &members {
        let record = member.transcript();
        assert_eq!((record.closes.as_slice(), record.drains.len()), (&[1012][..], 1));
        assert!(record.drains[0] <= Duration::from_secs(5), "{:?}", record.drains);
    }
    members.extend(staying);
    members.extend(publishers);
    assert_eq!(assert_complete(&members).await, published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_loses_no_acked_message() {
    let redis = Redis::start().await;
    let (mut a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let rooms: Vec<RoomId> = (0..2).map(|_| room()).collect();
    let all: Vec<&RoomId> = rooms.iter().collect();
    let addresses = Server::addresses(&[&a, &b]);
    let members =
        gather((0..40).map(|n| config(addresses.clone(), &format!("TestClient<Transcript> {n}"), &all))).await;
    let stop = async {
        members[0].until("some load", |record| record.messages.len() > 200).await;
        a.kill().await;
        for member in &members {
            member.until("moved", |record| record.lives >= 2 && record.is_live()).await;
        }
        let seen = members[0].transcript().messages.len();
        members[0].until("more load", |record| record.messages.len() > seen + 100).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(4), stop).await;
    assert!(members.iter().all(|member| member.transcript().closes.contains(&1006)));
    assert_eq!(assert_complete(&members).await, published);
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_stop_for_five_seconds_and_no_connection_or_message_is_lost() {
    let mut redis = Redis::persistent().await;
    let (a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let rooms: Vec<RoomId> = (0..2).map(|_| room()).collect();
    let all: Vec<&RoomId> = rooms.iter().collect();
    let members = gather((0..40).map(|n| {
        let server = if n % 2 == 0 { &a } else { &b };
        config(vec![server.address().into()], &format!("TestClient<Transcript> {n}"), &all)
    }))
    .await;

    let outage = async {
        members[0].until("some load", |record| record.messages.len() > 100).await;
        redis.stop().await;
        for member in &members {
            member.until("degraded", |record| record.states.last() == Some(&RelayState::Degraded)).await;
        }
        assert_eq!(
            (a.readiness().await, b.readiness().await),
            (200, 200),
            "taking all instances out of service would not help"
        );
        assert_eq!(http::get(a.address(), "/health/ready").await.json()["relay"], "degraded");
        // The outage itself is what is measured here: five seconds of publishes pile up.
        let mut seconds = interval(Duration::from_secs(1));
        for _ in 0..6 {
            seconds.tick().await;
        }
        redis.resume().await;
        for member in &members {
            member.until("live again", |record| record.states.last() == Some(&RelayState::Live)).await;
        }
        let seen = members[0].transcript().messages.len();
        members[0].until("load again", |record| record.messages.len() > seen + 100).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(10), outage).await;

    assert_eq!(assert_complete(&members).await, published);
    for member in &members {
        let record = member.transcript();
        assert_eq!((record.closes.as_slice(), record.lives), (&[][..], 1), "a connection was lost");
        assert_eq!(record.states.first(), Some(&RelayState::Live));
        assert!(record.states.len() >= 3 && record.states.len() < 10, "{:?}", record.states);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_lost_and_an_instance_held_is_put_back() {
    let mut redis = Redis::start().await; // keeps nothing: a restart loses the log
    let (a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let room = room();
    let rooms = [room.clone()];
    let members = gather((0..10).map(|n| {
        let server = if n % 2 == 0 { &a } else { &b };
        config(vec![server.address().into()], &format!("TestClient<Transcript> {n}"), &[&room])
    }))
    .await;
    let loss = async {
        members[0].until("some load", |record| record.messages.len() > 100).await;
        redis.stop().await;
        members[0].until("degraded", |record| record.states.last() == Some(&RelayState::Degraded)).await;
        redis.resume().await;
        for member in &members {
            member.until("live again", |record| record.states.last() == Some(&RelayState::Live)).await;
        }
        let seen = members[0].transcript().messages.len();
        members[0].until("load again", |record| record.messages.len() > seen + 50).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(10), loss).await;
    assert_eq!(assert_complete(&members).await, published);

    // A client that was away during the loss gets everything too: all messages are in the log again.
    let cursor = members[0].transcript().messages[0].seq;
    let mut late = config(vec![b.address().into()], "Late", &[&room]);
    late.resume = Some(cursor);
    let late = gather([late]).await;
    let record = late[0].transcript();
    let known: BTreeSet<String> = record.messages.iter().map(|m| m.record.id.to_string()).collect();
    let first = members[0].transcript();
    let wanted: BTreeSet<String> = first.messages.iter().skip(1).map(|m| m.record.id.to_string()).collect();
    assert!(record.resets.is_empty() && known.is_superset(&wanted), "{} of {}", known.len(), wanted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_flushed_under_load_loses_nothing() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let rooms = [room()];
    let members = gather((0..10).map(|n| {
        let server = if n % 2 == 0 { &a } else { &b };
        config(vec![server.address().into()], &format!("TestClient<Transcript> {n}"), &[&rooms[0]])
    }))
    .await;
    let flush = async {
        members[0].until("some load", |record| record.messages.len() > 100).await;
        redis.command(&["FLUSHALL"]).await;
        members[0].until("load again", |record| record.messages.len() > 400).await;
    };
    let published = chatter(&members, &rooms, Duration::from_millis(10), flush).await;
    assert_eq!(assert_complete(&members).await, published);
}

#[tokio::test]
async fn clients_that_hop_between_instances_miss_nothing() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(Server::on(&redis, &ROOMY), Server::on(&redis, &ROOMY));
    let rooms = [room(), room()];
    let all: Vec<&RoomId> = rooms.iter().collect();
    let addresses = Server::addresses(&[&a, &b]);
    let hoppers = (0..10).map(|n| {
        let mut config = config(addresses.clone(), &format!("Hopper {n}"), &all);
        config.backoff.cap = Duration::from_millis(50);
        config
    });
    let members = gather(hoppers).await;
    let hops = async {
        for hop in 0..60_usize {
            let hopper = &members[hop % 10];
            hopper.act(Client::cut).await;
            let wanted = hop / 10 + 2;
            hopper.until("back", |record| record.lives >= wanted && record.is_live()).await;
        }
    };
    let published = chatter(&members, &rooms, Duration::from_millis(2), hops).await;
    assert_eq!(assert_complete(&members).await, published);
    let instances: HashSet<String> = members[0].transcript().instances.iter().cloned().collect();
    assert_eq!(instances.len(), 2);
}

#[tokio::test]
async fn an_instance_without_the_log_sends_a_cursor_it_does_not_know_elsewhere() {
    let redis = Redis::start().await;
    let link = Proxy::to(&format!("127.0.0.1:{}", redis.port()), Flow::Free).await;
    let flags = ["--redis-url", &format!("redis://{}", link.address())];
    let (a, b) = tokio::join!(Server::on(&redis, &[]), Server::start(&flags));
    let relay = async |state: &str| {
        let matches = async || (http::get(b.address(), "/health/ready").await.json()["relay"] == state).then_some(());
        eventually(PATIENCE, matches).await
    };
    relay("live").await;
    link.cut();
    relay("degraded").await;
    let room = room();
    let (mut ann, _) = enter(a.address(), "Ann", &[&room]).await;
    publish(&mut ann, &room, "m1", "x").await;
    let cursor = message(&mut ann).await.seq;

    // Not served from a place before it, and no `reset` either: this instance cannot check the cursor.
    let hello = json!({"type": "hello", "name": "Bob", "rooms": [room], "resume": {"seq": cursor}});
    let mut bob = open(b.address()).await;
    send(&mut bob, &hello).await;
    let end = closed(&mut bob).await;
    assert_eq!((end.code, end.reason.as_str()), (1013, "try_again_later"));

    link.restore();
    relay("live").await;
    let (_bob, welcome) = enter_with(b.address(), &hello).await;
    assert_eq!((welcome.resumed, welcome.seq), (true, cursor));
}

#[tokio::test]
async fn history_and_back_end_publishes_work_on_every_instance() {
    let redis = Redis::start().await;
    let flags = ["--api-key", "secret"];
    let (a, b) = tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags));
    let room = room();
    let path = format!("/v1/rooms/{room}/messages");
    let body = json!({"id": "m1", "body": "done", "name": "Bot"});
    let (first, again) = (
        http::post(a.address(), &path, Some("secret"), &body).await.json(),
        http::post(b.address(), &path, Some("secret"), &body).await.json(),
    );
    assert_eq!(first["seq"], again["seq"]);
    for server in [&a, &b] {
        eventually(PATIENCE, || async {
            let page = http::get(server.address(), &path).await.json();
            (page["messages"][0]["seq"] == first["seq"]).then_some(())
        })
        .await;
    }
    // An instance that starts later fills its ring from the log.
    let late = Server::on(&redis, &[]).await;
    let page = http::get(late.address(), &path).await.json();
    assert_eq!(page["messages"][0]["seq"], first["seq"], "{page}");
}
