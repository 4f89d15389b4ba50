//! One instance on its own: people chat, come back, and read the history over HTTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails should fail the test")]

use std::time::Duration;

use hubbub_client::{Config, Connection};
use hubbub_protocol::{Ack, GuestSecret, HistoryPage, MessageId, ResetReason, RoomId, Seq, ServerFrame};
use hubbub_testbed::{
    PATIENCE, Server, TestClient, Transcript, assert_complete, eventually,
    frames::{assert_pongs, enter, enter_with, find, message, open, publish, send, welcome},
    http, room, within,
};
use hyper::Request;
use serde_json::{Value, json};

const KEY: &str = "correct-horse-battery-staple";

async fn ack(connection: &mut Connection) -> Ack {
    find(connection, |frame| match frame {
        ServerFrame::Ack(ack) => Some(ack),
        ServerFrame::Error(refusal) => panic!("{refusal:?}"),
        _ => None,
    })
    .await
}

/// Publishes this many messages and returns their places.
async fn publish_many(connection: &mut Connection, room: &RoomId, count: usize) -> Vec<Seq> {
    let mut places = Vec::new();
    for n in 0..count {
        publish(connection, room, &format!("id-{n}"), &format!("body {n}")).await;
        places.push(ack(connection).await.seq);
    }
    places
}

/// What a connection receives after `hello`: the messages before `live`, and whether it was resumed or reset.
async fn replay(address: &str, hello: &Value) -> (Connection, bool, Option<(Seq, ResetReason)>, Vec<Seq>) {
    let mut connection = open(address).await;
    send(&mut connection, hello).await;
    let welcome = welcome(&mut connection).await;
    let (mut reset, mut seqs) = (None, Vec::new());
    within(async {
        loop {
            match connection.next().await.unwrap() {
                ServerFrame::Message(message) => seqs.push(message.seq),
                ServerFrame::Reset { seq, reason } => reset = Some((seq, reason)),
                ServerFrame::Live { .. } => return,
                _ => {}
            }
        }
    })
    .await;
    (connection, welcome.resumed, reset, seqs)
}

#[tokio::test]
async fn two_clients_each_receive_both_messages_of_a_conversation() {
    let server = Server::start(&["--instance", "alpha"]).await;
    let room = room();
    let (mut ann, me) = enter(server.address(), "Ann", &[&room]).await;
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;

    publish(&mut ann, &room, "m1", "Hello, \"Bob\" \u{1f44b}\n\u{1}!").await;
    let ack = ack(&mut ann).await;
    publish(&mut bob, &room, "m1", "Hello, Ann!").await;

    let (first, second) = (message(&mut bob).await, message(&mut bob).await);
    assert_eq!(first.record.body, "Hello, \"Bob\" \u{1f44b}\n\u{1}!");
    assert_eq!((&first.record.from, first.record.id.as_str(), &first.record.room), (&me.user, "m1", &room));
    assert_eq!((first.was, ack.seq, ack.duplicate), (None, first.seq, false));
    assert_eq!(ack.instance, "alpha");
    assert!(me.seq < first.seq && first.seq < second.seq && second.seq < 1 << 53);
    assert!(ack.accepted_at > 1_700_000_000_000 && ack.logged_at >= ack.accepted_at, "{ack:?}");
    assert_eq!(first.record.at, ack.accepted_at);
}

#[tokio::test]
async fn the_sender_receives_its_own_message_once() {
    let server = Server::start(&[]).await;
    let room = room();
    let ann = TestClient::spawn("Ann", vec![server.address().into()], &[&room]);
    for n in 0..50 {
        ann.publish(&room, &n.to_string()).await;
    }
    assert_eq!(assert_complete(&[ann]).await, 50);
}

#[tokio::test]
async fn the_same_message_twice_is_acked_with_its_first_place_and_delivered_once() {
    let server = Server::start(&[]).await;
    let room = room();
    let session = GuestSecret::random();
    let hello = json!({"type": "hello", "name": "Ann", "session": session, "rooms": [room]});
    let (mut ann, _) = enter_with(server.address(), &hello).await;
    let (mut again, _) = enter_with(server.address(), &hello).await;
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;

    publish(&mut ann, &room, "m1", "once").await;
    let first = ack(&mut ann).await;
    publish(&mut ann, &room, "m1", "once").await;
    let second = ack(&mut ann).await;
    let received = message(&mut again).await;
    publish(&mut again, &room, "m1", "once").await;
    let third = ack(&mut again).await;
    assert_eq!([first.duplicate, second.duplicate, third.duplicate], [false, true, true]);
    assert_eq!([second.seq, third.seq], [first.seq; 2]);

    publish(&mut bob, &room, "m1", "another sender, another message").await;
    assert!(!ack(&mut bob).await.duplicate);
    let next = message(&mut again).await;
    assert_eq!((received.seq, received.record.body.as_str()), (first.seq, "once"));
    assert_eq!(next.record.body, "another sender, another message");
}

#[tokio::test]
async fn the_same_message_twice_at_once_is_delivered_once() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    for _ in 0..20 {
        publish(&mut ann, &room, "m1", "same").await;
    }
    publish(&mut ann, &room, "m2", "other").await;
    let (mut acks, mut messages) = (Vec::new(), Vec::new());
    within(async {
        while acks.len() < 21 || messages.len() < 2 {
            match ann.next().await.unwrap() {
                ServerFrame::Ack(ack) => acks.push(ack),
                ServerFrame::Message(message) => messages.push(message.record.id.to_string()),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(messages, ["m1", "m2"]);
    assert_eq!(acks.iter().filter(|ack| !ack.duplicate).count(), 2);
    assert!(acks.iter().filter(|ack| ack.id.as_str() == "m1").all(|ack| ack.seq == acks[0].seq));
    assert_pongs(&mut ann).await;
}

#[tokio::test]
async fn nothing_is_delivered_outside_the_rooms_of_a_connection() {
    let server = Server::start(&[]).await;
    let rooms: Vec<RoomId> = (0..5).map(|_| room()).collect();
    let all: Vec<&RoomId> = rooms.iter().collect();
    let loud = TestClient::spawn("Loud", vec![server.address().into()], &all);
    let mut members: Vec<TestClient<Transcript>> =
        rooms.iter().map(|room| TestClient::spawn("Quiet", vec![server.address().into()], &[room])).collect();
    members.push(TestClient::spawn("Pair", vec![server.address().into()], &all[1..3]));
    members.push(loud);
    for member in &members {
        member.live().await;
    }
    for n in 0..60 {
        members[6].publish(&rooms[n % 5], &n.to_string()).await;
    }
    assert_eq!(assert_complete(&members).await, 60);
    assert_eq!(members[0].transcript().messages.len(), 12);
    assert_eq!(members[5].transcript().messages.len(), 24);
}

#[tokio::test]
async fn a_cursor_gets_exactly_what_was_missed_and_then_live() {
    let server = Server::start(&["--publish-burst", "1000"]).await;
    let (mine, other) = (room(), room());
    let (mut bob, _) = enter(server.address(), "Bob", &[&mine, &other]).await;
    let before = publish_many(&mut bob, &mine, 10).await;
    publish(&mut bob, &other, "elsewhere", "x").await;
    ack(&mut bob).await;

    let hello = |seq: Seq| json!({"type": "hello", "name": "Ann", "rooms": [mine], "resume": {"seq": seq}});
    for (place, seq) in before.iter().enumerate() {
        let (_ann, resumed, reset, replayed) = replay(server.address(), &hello(*seq)).await;
        assert_eq!((resumed, reset), (true, None));
        assert_eq!(replayed, before[place + 1..]);
    }
    let (mut ann, ..) = replay(server.address(), &hello(before[9])).await;
    publish(&mut bob, &mine, "live", "x").await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "live");
}

#[tokio::test]
async fn a_hello_without_a_cursor_starts_now() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;
    publish_many(&mut bob, &room, 3).await;
    let hello = json!({"type": "hello", "name": "Ann", "rooms": [room]});
    let (_ann, resumed, reset, replayed) = replay(server.address(), &hello).await;
    assert_eq!((resumed, reset, replayed), (false, None, Vec::new()));
}

#[tokio::test]
async fn a_cursor_the_log_does_not_know_is_reset() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut bob, welcome) = enter(server.address(), "Bob", &[&room]).await;
    let places = publish_many(&mut bob, &room, 3).await;
    for cursor in [places[2] + 1000, (1 << 53) - 1, u64::MAX, 1, welcome.seq / 2] {
        let hello = json!({"type": "hello", "name": "Ann", "rooms": [room], "resume": {"seq": cursor}});
        let (mut ann, resumed, reset, replayed) = replay(server.address(), &hello).await;
        let (seq, _) = reset.unwrap_or_else(|| panic!("no reset for the cursor {cursor}"));
        assert!(!resumed, "{cursor}");
        assert!(replayed.iter().all(|replayed| *replayed > seq), "{cursor}");
        publish(&mut ann, &room, &format!("after-{cursor}"), "x").await;
        let next = message(&mut ann).await;
        assert_eq!(next.record.id.as_str(), format!("after-{cursor}"));
        assert!(seq < next.seq, "{cursor}");
        // The new cursor is good.
        let hello = json!({"type": "hello", "name": "Ann", "rooms": [room], "resume": {"seq": seq}});
        assert_eq!(replay(server.address(), &hello).await.2, None, "{cursor}");
    }
}

#[tokio::test]
async fn a_cursor_older_than_the_log_is_reset() {
    let server = Server::start(&["--log-retention", "100", "--publish-burst", "1000", "--publish-rate", "1000"]).await;
    let room = room();
    let (mut bob, welcome) = enter(server.address(), "Bob", &[&room]).await;
    let places = publish_many(&mut bob, &room, 400).await;
    let hello = json!({"type": "hello", "name": "Ann", "rooms": [room], "resume": {"seq": welcome.seq}});
    let (_ann, resumed, reset, replayed) = replay(server.address(), &hello).await;
    let (seq, reason) = reset.unwrap();
    assert_eq!((resumed, reason), (false, ResetReason::TooOld));
    let above: Vec<Seq> = places.iter().copied().filter(|place| *place > seq).collect();
    assert_eq!(replayed, above, "after a reset nothing above its seq is missing");
    let hello = json!({"type": "hello", "name": "Ann", "rooms": [room], "resume": {"seq": places[390]}});
    assert_eq!(replay(server.address(), &hello).await.3, places[391..]);
}

#[tokio::test]
async fn a_client_that_is_cut_again_and_again_misses_nothing() {
    let server = Server::start(&["--publish-burst", "1000"]).await;
    let room = room();
    let mut config = Config::new(vec![server.address().into()], "Ann".parse().unwrap(), vec![room.clone()]);
    config.backoff.cap = Duration::from_millis(20);
    let ann = TestClient::with(config);
    let bob = TestClient::spawn("Bob", vec![server.address().into()], &[&room]);
    ann.live().await;
    bob.live().await;
    for n in 0..200 {
        bob.publish(&room, &n.to_string()).await;
        ann.publish(&room, &n.to_string()).await;
        if n % 10 == 9 {
            ann.act(hubbub_client::Client::cut).await;
        }
        if n % 20 == 19 {
            ann.live().await;
        }
    }
    assert_eq!(assert_complete(&[ann, bob]).await, 400);
}

#[tokio::test]
async fn history_is_read_page_by_page() {
    let server = Server::start(&["--publish-burst", "1000"]).await;
    let (room, other) = (room(), room());
    let (mut bob, welcome) = enter(server.address(), "Bob", &[&room, &other]).await;
    let mut places = Vec::new();
    for n in 0..30 {
        publish(&mut bob, &room, &format!("m{n}"), &format!("body {n}")).await;
        places.push(ack(&mut bob).await.seq);
        publish(&mut bob, &other, &format!("o{n}"), "x").await;
        ack(&mut bob).await;
    }
    let page = async |query: &str| {
        let reply = http::get(server.address(), &format!("/v1/rooms/{room}/messages{query}")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"), "{query}: {reply:?}");
        let page = reply.json();
        let seqs: Vec<Seq> = page["messages"].as_array().unwrap().iter().map(|m| m["seq"].as_u64().unwrap()).collect();
        (seqs, page["next"].as_u64(), page)
    };
    let (newest, _, whole) = page("").await;
    assert_eq!(newest, places, "fifty by default");
    let first = &whole["messages"][0];
    assert_eq!((&first["room"], &first["id"], &first["body"]), (&json!(room), &json!("m0"), &json!("body 0")));
    assert_eq!(first["from"], serde_json::to_value(&welcome.user).unwrap());

    let mut backwards = Vec::new();
    let mut query = "?limit=7".to_owned();
    loop {
        let (seqs, next, _) = page(&query).await;
        assert!(seqs.len() <= 7 && seqs.is_sorted(), "{seqs:?}");
        backwards.splice(0..0, seqs);
        let Some(next) = next else { break };
        query = format!("?limit=7&before={next}");
    }
    assert_eq!(backwards, places);

    let mut gap = Vec::new();
    let mut query = format!("?limit=7&after={}", places[4]);
    loop {
        let (seqs, next, _) = page(&query).await;
        gap.splice(0..0, seqs);
        let Some(next) = next else { break };
        query = format!("?limit=7&after={}&before={next}", places[4]);
    }
    assert_eq!(gap, places[5..], "`after` bounds the pages, which still go backwards");
}

#[tokio::test]
async fn history_names_the_seq_up_to_which_it_is_complete() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;
    let page = async |room: &str| -> HistoryPage {
        let reply = http::get(server.address(), &format!("/v1/rooms/{room}/messages")).await;
        serde_json::from_value(reply.json()).unwrap()
    };
    for n in 0..3 {
        publish(&mut bob, &room, &format!("m{n}"), "x").await;
        let seq = message(&mut bob).await.seq;
        let busy = page(room.as_str()).await;
        assert_eq!((busy.seq, busy.messages.last().unwrap().seq), (seq, seq));
        let silent = page("nobody-here").await;
        assert_eq!(silent, HistoryPage { messages: Vec::new(), gaps: Vec::new(), next: None, seq });
    }
}

#[tokio::test]
async fn history_answers_bad_requests_with_problems() {
    let server = Server::start(&[]).await;
    http::get(server.address(), "/v1/rooms/UPPER/messages").await.assert_problem(422, "invalid_room");
    for query in ["?limit=x", "?before=-1", "?after=1.5"] {
        let reply = http::get(server.address(), &format!("/v1/rooms/lobby/messages{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{query}");
    }
    let reply = http::get(server.address(), "/v1/rooms/lobby/messages?limit=1000000").await;
    assert_eq!(reply.status, 200, "a limit above the largest page is cut: {reply:?}");
    assert_eq!(http::get(server.address(), "/v1/nothing").await.status, 404);
}

#[tokio::test]
async fn a_back_end_publishes_over_http() {
    let server = Server::start(&["--api-key", KEY]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let path = format!("/v1/rooms/{room}/messages");
    let body = json!({"id": "deploy-1", "body": "done", "name": "Deploy bot"});

    let created = http::post(server.address(), &path, Some(KEY), &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let received = message(&mut ann).await;
    assert_eq!(created.json()["seq"], received.seq);
    assert_eq!((received.record.from.id.as_str(), received.record.from.name.as_str()), ("api", "Deploy bot"));
    assert_eq!((received.record.id.as_str(), received.record.body.as_str()), ("deploy-1", "done"));

    let again = http::post(server.address(), &path, Some(KEY), &body).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(again.json(), json!({"seq": received.seq, "duplicate": true}));
    publish(&mut ann, &room, "next", "x").await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "next", "the repetition was delivered");
}

#[tokio::test]
async fn http_publishes_need_the_key_and_follow_the_rules() {
    let server = Server::start(&["--api-key", KEY]).await;
    let path = "/v1/rooms/lobby/messages";
    let good = json!({"id": "m1", "body": "x", "name": "Bot"});
    for key in [None, Some("wrong"), Some(""), Some("correct-horse-battery-stapl")] {
        let reply = http::post(server.address(), path, key, &good).await;
        assert_eq!(reply.status, 401, "{key:?}: {reply:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{reply:?}");
    }
    for (body, code) in [
        (json!({"id": "m 1", "body": "x", "name": "Bot"}), "invalid_id"),
        (json!({"id": "m1", "body": " ", "name": "Bot"}), "empty_body"),
        (json!({"id": "m1", "body": "x", "name": ""}), "invalid_name"),
        (json!({"id": "m1", "body": 5, "name": "Bot"}), "bad_frame"),
    ] {
        http::post(server.address(), path, Some(KEY), &body).await.assert_problem(422, code);
    }
    let long = json!({"id": "m1", "body": "x".repeat(8193), "name": "Bot"});
    http::post(server.address(), path, Some(KEY), &long).await.assert_problem(413, "body_too_large");
    let reply = http::post(server.address(), "/v1/rooms/A/messages", Some(KEY), &good).await;
    reply.assert_problem(422, "invalid_room");
    let huge = json!({"id": "m1", "body": "x".repeat(1 << 20), "name": "Bot"});
    assert_eq!(http::post(server.address(), path, Some(KEY), &huge).await.status, 413);
    let no_json = Request::post(path).header("authorization", format!("Bearer {KEY}")).body("{".to_owned()).unwrap();
    let reply = http::send(server.address(), no_json).await;
    assert_eq!((reply.status, reply.header("content-type")), (415, "application/problem+json"), "{reply:?}");
    let history = http::get(server.address(), path).await.json();
    assert_eq!(history["messages"], json!([]), "nothing of all this was published");
}

#[tokio::test]
async fn http_publishes_are_off_without_a_key() {
    let server = Server::start(&[]).await;
    let body = json!({"id": "m1", "body": "x", "name": "Bot"});
    let reply = http::post(server.address(), "/v1/rooms/lobby/messages", Some("any"), &body).await;
    assert_eq!((reply.status, reply.header("content-type")), (404, "application/problem+json"), "{reply:?}");
    let history = http::get(server.address(), "/v1/rooms/lobby/messages").await.json();
    assert_eq!(history["messages"], json!([]));
}

#[tokio::test]
async fn stats_and_health_are_right() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let _bob = enter(server.address(), "Bob", &[&RoomId::lobby()]).await;
    publish(&mut ann, &room, "m1", "x").await;
    let seq = message(&mut ann).await.seq;

    eventually(PATIENCE, || async {
        let stats = http::get(server.address(), "/v1/stats").await.json();
        let text = stats.to_string();
        assert_eq!(stats["relay"], "live", "{text}");
        assert!(stats["seq"].as_u64() >= Some(seq), "{text}");
        assert_eq!((&stats["rooms"], &stats["connections"]["instance"]), (&json!(2), &json!(2)), "{text}");
        (stats["instances"] == 1 && stats["connections"]["all"] == 2).then_some(())
    })
    .await;
    assert_eq!(http::get(server.address(), "/health/live").await.status, 200);
    let ready = http::get(server.address(), "/health/ready").await;
    assert_eq!((ready.status, &ready.json()["relay"]), (200, &json!("live")));
}

#[tokio::test]
async fn metrics_are_on_the_admin_listener_and_only_there() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    publish(&mut ann, &room, "m1", "x").await;
    message(&mut ann).await;

    let reply = http::get(server.admin(), "/metrics").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("text/plain"), "{reply:?}");
    let names: Vec<&str> = reply
        .body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(name.starts_with("hubbub_"), "{name}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let has_help = [name, family].iter().any(|name| reply.body.contains(&format!("# HELP {name} ")));
        assert!(has_help, "{name} has no help");
    }
    assert!((server.metric("hubbub_connections", "").await - 1.0).abs() < f64::EPSILON);
    assert!(server.metric("hubbub_relay_appended_total", "").await >= 1.0);
    let public = http::get(server.address(), "/metrics").await;
    assert!(!public.body.contains("hubbub_connections"), "{public:?}");
}

#[tokio::test]
async fn the_browser_app_is_served_at_the_root() {
    let server = Server::start(&[]).await;
    let reply = http::get(server.address(), "/").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
    assert!(reply.body.to_lowercase().contains("<!doctype html>"));
}

#[tokio::test]
async fn a_message_id_is_returned_as_it_was_sent() {
    let server = Server::start(&[]).await;
    let room = room();
    let longest: MessageId = "A-b_".repeat(16).parse().unwrap();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    publish(&mut ann, &room, longest.as_str(), "x").await;
    assert_eq!(ack(&mut ann).await.id, longest);
}
