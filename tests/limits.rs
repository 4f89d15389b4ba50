//! What one address and one person may take from an instance: connections, publishes, pings.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::time::Duration;

use futures_util::SinkExt;
use hubbub_client::{Closed, Config, Connection, Upgrade};
use hubbub_protocol::{
    ErrorCode, GuestSecret, MAX_BODY_BYTES, MAX_CONNECTIONS_PER_SESSION, RoomId, ServerFrame, Welcome,
};
use hubbub_testbed::{
    PATIENCE, Redis, Server, TestClient, Transcript, dial, eventually,
    frames::{Bystander, assert_pongs, closed, enter, enter_with, find, open, publish, send},
    gather, http, room, unique, within,
};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

fn address_full() -> Closed {
    Closed { code: 4004, reason: "address_full".to_owned() }
}

/// How many of the publishes that were sent the server has acked and how many refused, and the wait that it named.
async fn answers(connection: &mut Connection, sent: usize) -> (usize, usize, u64) {
    let (mut acked, mut refused, mut wait) = (0, 0, 0);
    while acked + refused < sent {
        let (is_acked, hint) = find(connection, |frame| match frame {
            ServerFrame::Ack(_) => Some((true, 0)),
            ServerFrame::Error(refusal) => {
                assert_eq!(refusal.code, ErrorCode::RateLimited, "{refusal:?}");
                Some((false, refusal.retry_after_ms.unwrap()))
            }
            _ => None,
        })
        .await;
        if is_acked {
            acked += 1;
        } else {
            refused += 1;
            wait = hint;
        }
    }
    (acked, refused, wait)
}

async fn publish_many(connection: &mut Connection, room: &RoomId, count: usize) {
    for n in 0..count {
        publish(connection, room, &format!("m{n}"), "x").await;
    }
}

#[tokio::test]
async fn who_finds_an_address_full_comes_back_when_there_is_room() {
    let server = Server::start(&["--max-per-address", "2"]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let (bob, _) = enter(server.address(), "Bob", &[&room]).await;

    let config = Config::new(vec![server.address().into()], "Carl".parse().unwrap(), vec![room.clone()]);
    let carl = TestClient::observed(config, Transcript::default());
    eventually(PATIENCE, || async { (!carl.account().closes.is_empty()).then_some(()) }).await;
    assert!(carl.account().closes.iter().all(|code| *code == 4004), "{:?}", carl.account().closes);
    let warning = server.logged("an address has as many connections as --max-per-address allows").await;
    assert_eq!((warning["net.address"].as_str(), warning["limit"].as_u64()), (Some("127.0.0.1"), Some(2)));
    let counted = server.metric("hubbub_closes_total", r#"code="4004",reason="address_full""#).await;
    assert!(counted >= 1.0, "{counted}");

    bob.close(PATIENCE).await;
    eventually(PATIENCE, || async { carl.account().is_live().then_some(()) }).await;
    assert_pongs(&mut ann).await;
    assert!(!carl.is_over());
}

#[tokio::test]
async fn few_wait_for_a_full_address_and_none_of_them_for_long() {
    let server = Server::start(&["--max-per-address", "1"]).await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    let started = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(open(server.address()).await);
    }
    for connection in &mut silent {
        assert_eq!(closed(connection).await, address_full());
    }
    let lasted = started.elapsed();
    assert!((Duration::from_millis(2900)..Duration::from_secs(10)).contains(&lasted), "{lasted:?}");
    let counted = server.metric("hubbub_closes_total", r#"code="4004""#).await;
    assert!((counted - 40.0).abs() < 0.5, "{counted}");
    assert_pongs(&mut ann).await;
}

#[tokio::test]
async fn a_flood_of_newcomers_at_a_full_address_is_refused_at_once_but_for_a_few() {
    let server = Server::start(&["--max-per-address", "1"]).await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    let mut waiting = Vec::new();
    for _ in 0..16 {
        waiting.push(open(server.address()).await);
    }
    let started = Instant::now();
    let mut refused = open(server.address()).await;
    assert_eq!(closed(&mut refused).await, address_full());
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    assert_pongs(&mut ann).await;
}

#[tokio::test]
async fn connections_beyond_those_of_one_session_are_closed_with_4501_while_all_are_alive() {
    let server = Server::start(&[]).await;
    let (session, room) = (GuestSecret::random(), room());
    let config = |_| Config {
        session,
        ..Config::new(vec![server.address().into()], "Ann".parse().unwrap(), vec![room.clone()])
    };
    let all = gather((0..MAX_CONNECTIONS_PER_SESSION).map(config)).await;
    let mut one_more = open(server.address()).await;
    send(&mut one_more, &json!({"type": "hello", "name": "Ann", "session": session})).await;
    assert_eq!(closed(&mut one_more).await, Closed { code: 4501, reason: "too_many_connections".to_owned() });
    let warning = server.logged("a session has as many connections as one may have").await;
    assert_eq!(warning["user.id"].as_str(), Some(session.user_id().as_str()));
    assert!(all.iter().all(|client| client.account().is_live()));
}

#[tokio::test]
async fn one_address_may_publish_so_much_and_others_do_not_feel_it() {
    let flags = ["--publish-rate", "50", "--publish-burst", "10", "--publish-rate-address", "20"];
    let server = Server::start(&[&flags[..], &["--trusted-proxies", "127.0.0.1", "--api-key", "key"]].concat()).await;
    let room = room();
    let from = |address: &str| Upgrade {
        headers: vec![("X-Forwarded-For".to_owned(), address.to_owned())],
        ..Upgrade::default()
    };
    let enter_from = async |address: &str| {
        let mut connection = within(Connection::open(server.address(), &from(address))).await.unwrap();
        send(&mut connection, &json!({"type": "hello", "name": "Someone", "rooms": [room]})).await;
        find(&mut connection, |frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
        connection
    };
    let started = Instant::now();
    let (mut acked, mut refused) = (0, 0);
    for n in 0..10 {
        // one household: addresses of one /64
        let mut guest = enter_from(&format!("2001:db8::{n}")).await;
        publish_many(&mut guest, &room, 10).await;
        let (taken, not_taken, wait) = answers(&mut guest, 10).await;
        assert!(not_taken == 0 || (21..=51).contains(&wait), "{wait}");
        (acked, refused) = (acked + taken, refused + not_taken);
    }
    let allowed = 20.0 + 20.0 * started.elapsed().as_secs_f64() + 1.0;
    assert!(refused > 0 && f64::from(u32::try_from(acked).unwrap()) <= allowed, "{acked} of 100, allowed {allowed}");
    let warning = server.logged("an address publishes more than --publish-rate-address allows").await;
    assert_eq!(warning["net.address"].as_str(), Some("2001:db8::"));

    let mut neighbour = enter_from("2001:db8:0:1::1").await;
    publish_many(&mut neighbour, &room, 10).await;
    assert_eq!(answers(&mut neighbour, 10).await.0, 10, "another address");

    let path = format!("/v1/rooms/{room}/messages");
    for n in 0..30 {
        let body = json!({"id": format!("api{n}"), "name": "Bot", "body": "x"});
        assert_eq!(http::post(server.address(), &path, Some("key"), &body).await.status, 201, "a trusted back end");
    }
}

#[tokio::test]
async fn all_connections_of_a_session_publish_no_more_than_one() {
    let server = Server::start(&["--publish-rate", "1", "--publish-burst", "10"]).await;
    let (room, started) = (room(), Instant::now());
    let hello = json!({"type": "hello", "name": "Ann", "session": GuestSecret::random(), "rooms": [room]});
    let mut acked = 0;
    for _ in 0..4 {
        let (mut ann, _) = enter_with(server.address(), &hello).await;
        publish_many(&mut ann, &room, 10).await;
        acked += answers(&mut ann, 10).await.0;
    }
    let most = 11 + started.elapsed().as_secs();
    assert!((10..=most).contains(&u64::try_from(acked).unwrap()), "{acked}, at most {most}");
}

#[tokio::test]
async fn who_keeps_to_the_rate_is_not_closed_for_what_its_address_sends() {
    let flags = ["--publish-rate", "1000", "--publish-burst", "1000", "--publish-rate-address", "1"];
    let server = Server::start(&flags).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    publish_many(&mut ann, &room, 1000).await;
    answers(&mut ann, 1000).await;
    let (started, mut refused) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(12) {
        publish_many(&mut ann, &room, 50).await;
        let (_, not_taken, wait) = answers(&mut ann, 50).await;
        refused += not_taken;
        // heeds the hint, as clients do
        let _nothing = ann.next_within(Duration::from_millis(wait)).await.unwrap();
    }
    assert!(refused > 100, "{refused}");
    assert_pongs(&mut ann).await;
}

/// Sends 20 of these each 20 ms until the connection is closed. Returns its end and how many were refused.
async fn flood(eve: &mut Connection, ping: &Message) -> (Closed, usize) {
    let mut refused = 0;
    loop {
        for _ in 0..20 {
            // if it fails, what was received says why
            let _lost = eve.websocket().feed(ping.clone()).await;
        }
        let _lost = eve.websocket().flush().await;
        match refusals(eve, Duration::from_millis(20)).await {
            Ok(more) => refused += more,
            Err(closed) => return (closed, refused),
        }
    }
}

/// How many frames are refused as too many within this time.
async fn refusals(connection: &mut Connection, time: Duration) -> Result<usize, Closed> {
    let (end, mut refused) = (Instant::now() + time, 0);
    while let Some(frame) = connection.next_within(end.saturating_duration_since(Instant::now())).await? {
        let ServerFrame::Error(refusal) = frame else { continue };
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        assert!(refusal.retry_after_ms.is_some());
        refused += 1;
    }
    Ok(refused)
}

async fn assert_flood_is_closed(ping: Message) {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let (mut eve, _) = enter(server.address(), "Eve", &[&room()]).await;
    let started = Instant::now();
    let (end, refused) = Box::pin(within(flood(&mut eve, &ping))).await;
    assert_eq!(end, Closed { code: 4003, reason: "rate_limited".to_owned() });
    assert!(refused > 100, "{refused}");
    let lasted = started.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&lasted), "{lasted:?}");
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn a_flood_of_pings_is_refused_and_then_closed() {
    assert_flood_is_closed(Message::text(r#"{"type":"ping"}"#)).await;
}

#[tokio::test]
async fn a_flood_of_pings_of_websocket_is_refused_and_then_closed() {
    assert_flood_is_closed(Message::Ping("".into())).await;
}

#[tokio::test]
async fn eighty_pings_at_once_are_all_answered() {
    let server = Server::start(&[]).await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    for n in 0..80 {
        send(&mut ann, &json!({"type": "ping", "n": n})).await;
    }
    for n in 0..80 {
        find(&mut ann, |frame| (frame == ServerFrame::Pong { n: Some(n) }).then_some(())).await;
    }
}

#[tokio::test]
async fn frames_that_are_refused_count_as_frames() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut eve, _) = enter(server.address(), "Eve", &[&room]).await;
    for n in 0..200 {
        publish(&mut eve, &room, &format!("m{n}"), "").await;
    }
    let mut codes = Vec::new();
    for n in 0..200 {
        let refusal = hubbub_testbed::frames::refusal(&mut eve).await;
        assert_eq!(refusal.id, Some(format!("m{n}")));
        codes.push(refusal.code);
    }
    let limited = codes.iter().filter(|code| **code == ErrorCode::RateLimited).count();
    assert!((1..=100).contains(&limited), "{limited}");
    assert!(codes.iter().take(100).all(|code| *code == ErrorCode::EmptyBody));
}

#[tokio::test]
async fn the_end_of_a_connection_is_explained_in_the_log_and_counted() {
    let server = Server::start(&["--log", "info,hubbub_edge=debug"]).await;
    let began = Instant::now();
    let (mut ann, welcome) = enter(server.address(), "Ann", &[&room()]).await;
    let live = Instant::now();
    assert_pongs(&mut ann).await;
    let at_least = live.elapsed().as_secs_f64();
    ann.close(PATIENCE).await;
    let at_most = began.elapsed().as_secs_f64();

    let line = server.logged("a connection ended").await;
    assert_eq!(line["connection"].as_u64(), Some(welcome.connection.number()));
    assert_eq!(line["user.id"].as_str(), Some(welcome.user.id.as_str()));
    assert_eq!(line["net.address"].as_str(), Some("127.0.0.1"));
    assert_eq!(line["reason"].as_str(), Some("closed_by_client"));
    assert_eq!(line["frames_in"].as_u64(), Some(2), "hello and ping");
    assert!(line["frames_out"].as_u64().unwrap() >= 4, "welcome, live, pong, close: {line}");
    let seconds = line["seconds"].as_f64().unwrap();
    assert!((at_least..=at_most).contains(&seconds), "{seconds} is not in {at_least}..{at_most}");
    let counted = server.metric("hubbub_closes_total", r#"code="1000",reason="closed_by_client""#).await;
    assert!((counted - 1.0).abs() < 0.1, "{counted}");

    let (bob, _) = enter(server.address(), "Bob", &[&room()]).await;
    drop(bob);
    let lost = || async { (server.metric("hubbub_closes_total", r#"reason="lost""#).await > 0.0).then_some(()) };
    eventually(PATIENCE, lost).await;
}

#[tokio::test]
async fn an_address_is_read_no_faster_than_its_limit_and_others_do_not_wait() {
    // 1 000 frames at once, then 1 000 a second
    let server = Server::start(&["--publish-rate-address", "500"]).await;
    let bystander = Bystander::enter(server.address()).await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    let mut flood = Vec::new();
    for number in 0..20 {
        let stream = dial([127, 0, 0, 2].into(), server.address()).await.unwrap();
        let mut eve = within(Connection::over(stream, server.address(), &Upgrade::default())).await.unwrap();
        send(&mut eve, &json!({"type": "hello", "name": format!("Eve {number}")})).await;
        find(&mut eve, |frame| matches!(frame, ServerFrame::Live { .. }).then_some(())).await;
        flood.push(eve);
    }
    let started = Instant::now();
    for eve in &mut flood {
        for n in 0..200 {
            eve.websocket().feed(Message::text(format!(r#"{{"type":"ping","n":{n}}}"#))).await.unwrap();
        }
        eve.websocket().flush().await.unwrap();
    }
    let answered = async {
        for eve in &mut flood {
            for _ in 0..200 {
                find(eve, |frame| matches!(frame, ServerFrame::Pong { .. } | ServerFrame::Error(_)).then_some(()))
                    .await;
            }
        }
    };
    let undisturbed = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let asked = Instant::now();
            assert_pongs(&mut ann).await;
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    };
    let (slowest, ()) = tokio::join!(undisturbed, answered);
    let lasted = started.elapsed();
    assert!(lasted > Duration::from_millis(2500), "4 000 frames were read within {lasted:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    bystander.assert_undisturbed().await;
    let warning = server.logged("an address sends more frames a second than are read").await;
    assert_eq!((warning["net.address"].as_str(), warning["limit"].as_f64()), (Some("127.0.0.2"), Some(1000.0)));
    assert!(server.metric("hubbub_pauses_total", r#"what="frames""#).await >= 1000.0);
}

#[tokio::test]
async fn who_fills_its_share_of_what_waits_for_the_log_is_named() {
    let mut redis = Redis::start().await;
    let (prefix, flags) = (unique("share"), ["--publish-rate", "100000", "--publish-burst", "100000"]);
    let server = Server::on(&redis, &[&flags[..], &["--prefix", &prefix]].concat()).await;
    let room = room();
    let mut senders = Vec::new();
    for _ in 0..5 {
        senders.push(enter(server.address(), "Ann", &[&room]).await);
    }
    redis.stop().await;
    // half of 16 MiB
    let body = "x".repeat(MAX_BODY_BYTES);
    for (sender, _) in &mut senders {
        for n in 0..256 {
            publish(sender, &room, &format!("m{n}"), &body).await;
        }
    }
    let warning = server.logged("a publish is refused with overloaded: too many messages of this sender").await;
    let named = |welcome: &Welcome| warning["user.id"].as_str() == Some(welcome.user.id.as_str());
    let (sender, _) = senders.iter_mut().find(|(_, welcome)| named(welcome)).unwrap();
    assert_eq!(hubbub_testbed::frames::refusal(sender).await.code, ErrorCode::Overloaded);
    assert_eq!(warning["net.address"].as_str(), Some("127.0.0.1"));
}
