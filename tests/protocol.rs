//! Every documented answer to every kind of input, and that none of it disturbs anybody else.
#![expect(clippy::panic, clippy::excessive_nesting, reason = "a step that fails should fail the test")]

use std::{collections::HashSet, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hubbub_client::{Client, Closed, Config, ConnectError, Connection, Event, Upgrade};
use hubbub_protocol::{
    ErrorCode, GuestSecret, Limits, MAX_BODY_BYTES, MAX_FRAME_BYTES, MAX_ROOMS, RelayState, RoomId, ServerFrame,
    VERSION,
};
use hubbub_testbed::{
    PATIENCE, Server,
    frames::{
        Bystander, assert_pongs, assert_refused, closed, enter, enter_with, find, masked, message, open, publish,
        refusal, send, welcome, write_raw,
    },
    http, room, within,
};
use hyper::Request;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;

/// Sends raw bytes on a live connection; expects this close and an undisturbed bystander.
async fn assert_closes(bytes: &[u8], code: u16, name: &str) {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let (mut connection, _) = enter(server.address(), "Eve", &[&room()]).await;

    write_raw(&mut connection, bytes).await;

    assert_eq!(closed(&mut connection).await, Closed { code, reason: name.to_owned() });
    bystander.assert_undisturbed().await;
    let label = format!("code=\"{code}\"");
    hubbub_testbed::eventually(PATIENCE, || async {
        (server.metric("hubbub_closes_total", &label).await >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn welcome_has_the_user_the_instance_and_the_limits() {
    let server = Server::start(&["--instance", "alpha"]).await;
    let session = GuestSecret::random();
    let hello = json!({"type": "hello", "name": "  Ann ", "session": session, "rooms": ["a", "b", "a"]});

    let (mut ann, welcome) = enter_with(server.address(), &hello).await;

    assert_eq!((welcome.version, welcome.instance.as_str()), (VERSION, "alpha"));
    assert_eq!((welcome.user.name.as_str(), &welcome.user.id), ("Ann", &session.user_id()));
    assert_eq!((welcome.session, welcome.resumed), (None, false));
    assert_eq!((welcome.heartbeat_ms, welcome.dedupe_ms), (25_000, 120_000));
    assert_eq!((welcome.limits, welcome.relay), (Limits::V1, RelayState::Live));
    assert!(welcome.seq > 0 && welcome.seq < 1 << 53, "{}", welcome.seq);

    let (_bob, other) = enter_with(server.address(), &json!({"type": "hello", "name": "Bob"})).await;
    let made = other.session.expect("a session for a client that has none");
    assert_eq!(made.user_id(), other.user.id);
    assert_ne!((other.connection, &other.user.id), (welcome.connection, &welcome.user.id));
    find(&mut ann, |frame| {
        matches!(frame, ServerFrame::Count(count) if (count.connections, count.instances) == (2, 1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_subprotocol_is_answered_when_offered_and_not_required() {
    let server = Server::start(&[]).await;
    let offer = Upgrade { subprotocol: true, ..Upgrade::default() };
    let connection = within(Connection::open(server.address(), &offer)).await.unwrap();
    assert_eq!(connection.subprotocol(), Some("hubbub.v1"));
    assert_eq!(open(server.address()).await.subprotocol(), None);
}

#[tokio::test]
async fn text_that_is_no_frame_is_refused_and_three_in_a_row_end_the_connection() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let (mut eve, _) = enter(server.address(), "Eve", &[&room()]).await;

    let bad = ["not JSON", "", "[]", "null", "{}", r#"{"type":5}"#, r#"{"type":"publish","id":[],"room":"a"}"#];
    for text in bad {
        assert_refused(&mut eve, text, ErrorCode::BadFrame).await; // a good frame follows each
    }
    assert_refused(&mut eve, r#"{"type":"shout","text":"hey"}"#, ErrorCode::UnknownType).await;

    for text in ["{", r#"{"type":"shout"}"#] {
        eve.send_text(text).await.unwrap();
    }
    assert_pongs(&mut eve).await;
    for text in ["{", r#"{"type":"shout"}"#, "}"] {
        eve.send_text(text).await.unwrap();
    }
    assert_eq!(closed(&mut eve).await, Closed { code: 4500, reason: "bad_frame".to_owned() });
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn errors_about_content_never_end_a_connection() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut eve, _) = enter(server.address(), "Eve", &[&room]).await;
    for _ in 0..10 {
        publish(&mut eve, &room, "empty", " \n ").await;
    }
    for _ in 0..10 {
        assert_eq!(refusal(&mut eve).await.code, ErrorCode::EmptyBody);
    }
    assert_pongs(&mut eve).await;
}

#[tokio::test]
async fn a_connection_without_hello_is_closed_after_ten_seconds() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let mut silent = open(server.address()).await;
    let mut chatty = open(server.address()).await;
    let opened = Instant::now();
    send(&mut chatty, &json!({"type": "ping"})).await;
    assert_eq!(refusal(&mut chatty).await.code, ErrorCode::HelloRequired);

    let expected = Closed { code: 4000, reason: "hello_timeout".to_owned() };
    assert_eq!(closed(&mut silent).await, expected);
    assert_eq!(closed(&mut chatty).await, expected);

    let waited = opened.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&waited), "{waited:?}");
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn every_other_frame_before_hello_is_refused_and_hello_still_works() {
    let server = Server::start(&[]).await;
    let mut connection = open(server.address()).await;
    for frame in [
        json!({"type": "publish", "id": "m", "room": "lobby", "body": "x"}),
        json!({"type": "join", "room": "lobby"}),
        json!({"type": "leave", "room": "lobby"}),
        json!({"type": "typing", "room": "lobby"}),
        json!({"type": "ping", "n": 1}),
    ] {
        send(&mut connection, &frame).await;
        assert_eq!(refusal(&mut connection).await.code, ErrorCode::HelloRequired, "{frame}");
    }
    send(&mut connection, &json!({"type": "hello", "name": "Ann"})).await;
    assert_eq!(welcome(&mut connection).await.user.name.as_str(), "Ann");
}

#[tokio::test]
async fn a_second_hello_is_refused_and_changes_nothing() {
    let server = Server::start(&[]).await;
    let (mine, other) = (room(), room());
    let (mut ann, welcome) = enter(server.address(), "Ann", &[&mine]).await;

    let hello = json!({"type": "hello", "name": "Eve", "rooms": [other]});
    assert_refused(&mut ann, &hello.to_string(), ErrorCode::HelloRepeated).await;

    publish(&mut ann, &mine, "m1", "hi").await;
    assert_eq!(message(&mut ann).await.record.from, welcome.user);
}

#[tokio::test]
async fn a_hello_that_breaks_a_rule_is_refused_and_a_better_one_is_taken() {
    let server = Server::start(&[]).await;
    let mut connection = open(server.address()).await;
    let rooms: Vec<String> = (0..=MAX_ROOMS).map(|n| format!("r{n}")).collect();
    for (hello, code) in [
        (json!({"type": "hello"}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": "  "}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": "é".repeat(65)}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": "a\u{202e}b"}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": "a\u{2066}b"}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": "a\u{0}b"}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": "\u{200b}\u{3164}\u{2800}"}), ErrorCode::InvalidName),
        (json!({"type": "hello", "name": 5}), ErrorCode::BadFrame),
        (json!({"type": "hello", "name": "Ann", "session": "short"}), ErrorCode::InvalidSession),
        (json!({"type": "hello", "name": "Ann", "rooms": ["UPPER"]}), ErrorCode::InvalidRoom),
        (json!({"type": "hello", "name": "Ann", "rooms": rooms}), ErrorCode::TooManyRooms),
        (json!({"type": "hello", "name": "Ann", "resume": {"seq": -1}}), ErrorCode::BadFrame),
    ] {
        send(&mut connection, &hello).await;
        assert_eq!(refusal(&mut connection).await.code, code, "{hello}");
    }
    send(&mut connection, &json!({"type": "hello", "name": "é".repeat(64), "rooms": rooms[..MAX_ROOMS]})).await;
    assert_eq!(welcome(&mut connection).await.user.name.as_str().chars().count(), 64);
}

#[tokio::test]
async fn a_33rd_room_cannot_be_joined() {
    let server = Server::start(&[]).await;
    let rooms: Vec<RoomId> = (0..MAX_ROOMS).map(|_| room()).collect();
    let (mut ann, _) = enter(server.address(), "Ann", &rooms.iter().collect::<Vec<_>>()).await;
    let (one_more, known) = (room(), &rooms[0]);

    assert_refused(&mut ann, &json!({"type": "join", "room": one_more}).to_string(), ErrorCode::TooManyRooms).await;

    send(&mut ann, &json!({"type": "join", "room": known})).await; // it is in that one
    joined(&mut ann, known).await;
    send(&mut ann, &json!({"type": "leave", "room": known})).await;
    send(&mut ann, &json!({"type": "join", "room": one_more})).await;
    joined(&mut ann, &one_more).await;
}

async fn joined(connection: &mut Connection, wanted: &RoomId) {
    find(connection, |frame| match frame {
        ServerFrame::Joined { room, .. } => Some(room == *wanted).filter(|found| *found),
        ServerFrame::Error(refusal) => panic!("{refusal:?}"),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_publish_that_breaks_a_rule_is_refused_by_its_id() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let room = room();
    let (mut eve, _) = enter(server.address(), "Eve", &[&room]).await;
    let long = "é".repeat(MAX_BODY_BYTES / 2) + "x";
    for (publish, code) in [
        (json!({"type": "publish", "id": "m", "room": room, "body": long}), ErrorCode::BodyTooLarge),
        (json!({"type": "publish", "id": "m", "room": room, "body": ""}), ErrorCode::EmptyBody),
        (
            json!({"type": "publish", "id": "m", "room": room, "body": "\u{200b}\u{3164}\u{2800}\u{fe0f}"}),
            ErrorCode::EmptyBody,
        ),
        (json!({"type": "publish", "id": "m", "room": room}), ErrorCode::EmptyBody),
        (json!({"type": "publish", "id": "m", "room": "UPPER", "body": "x"}), ErrorCode::InvalidRoom),
        (json!({"type": "publish", "id": "m", "room": "never-joined", "body": "x"}), ErrorCode::NotJoined),
        (json!({"type": "publish", "id": "m", "room": "lobby", "body": "x"}), ErrorCode::NotJoined),
        (json!({"type": "publish", "id": "m.1", "room": room, "body": "x"}), ErrorCode::InvalidId),
    ] {
        let refusal = assert_refused(&mut eve, &publish.to_string(), code).await;
        assert_eq!(refusal.id.as_deref(), publish["id"].as_str(), "{publish:.100}");
    }
    publish(&mut eve, &room, "m", &"é".repeat(MAX_BODY_BYTES / 2)).await;
    assert_eq!(message(&mut eve).await.record.body.len(), MAX_BODY_BYTES);
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn half_an_emoji_is_refused_by_its_id_and_never_ends_a_connection() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    for n in 0..10 {
        let text = format!(r#"{{"type":"publish","id":"m{n}","room":"{room}","body":"hi \ud83d"}}"#);
        ann.send_text(&text).await.unwrap();
    }
    for n in 0..10 {
        let refusal = refusal(&mut ann).await;
        assert_eq!((refusal.code, refusal.id), (ErrorCode::InvalidBody, Some(format!("m{n}"))));
    }
    ann.send_text(&format!(r#"{{"type":"publish","id":"whole","room":"{room}","body":"\ud83d\ude00"}}"#))
        .await
        .unwrap();
    assert_eq!(message(&mut ann).await.record.body, "😀");
}

#[tokio::test]
async fn a_body_that_cannot_be_carried_or_stored_is_invalid_over_the_socket_and_over_http() {
    let server = Server::start(&["--api-key", "key"]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let path = format!("/v1/rooms/{room}/messages");
    for (n, body) in [r"hi \ud83d", r"hi \u0000"].iter().enumerate() {
        let text = format!(r#"{{"type":"publish","id":"m{n}","room":"{room}","body":"{body}"}}"#);
        ann.send_text(&text).await.unwrap();
        let refusal = refusal(&mut ann).await;
        assert_eq!((refusal.code, refusal.id), (ErrorCode::InvalidBody, Some(format!("m{n}"))));

        let request = Request::post(&path)
            .header("content-type", "application/json")
            .header("authorization", "Bearer key")
            .body(format!(r#"{{"id":"m{n}","name":"Bot","body":"{body}"}}"#))
            .unwrap();
        http::send(server.address(), request).await.assert_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let server = Server::start(&[]).await;
    let (mut ann, _) =
        enter_with(server.address(), &json!({"type": "hello", "name": "Ann", "theme": {"dark": [true]}})).await;
    send(&mut ann, &json!({"type": "ping", "n": 7, "mood": null})).await;
    find(&mut ann, |frame| (frame == ServerFrame::Pong { n: Some(7) }).then_some(())).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009() {
    assert_closes(&masked(0x81, &vec![b'x'; MAX_FRAME_BYTES + 1]), 1009, "frame_too_large").await;
}

#[tokio::test]
async fn a_fragmented_message_over_the_limit_closes_with_1009() {
    let half = vec![b'x'; MAX_FRAME_BYTES / 2 + 1];
    assert_closes(&[masked(0x01, &half), masked(0x80, &half)].concat(), 1009, "frame_too_large").await;
}

#[tokio::test]
async fn fragments_without_end_close_with_1009() {
    // far fewer bytes of text than a message may have
    let fragments = [masked(0x00, b"").repeat(20_000), masked(0x89, b"ping")].concat();
    assert_closes(&[masked(0x01, b"x"), fragments.repeat(4)].concat(), 1009, "frame_too_large").await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() {
    assert_closes(&masked(0x81, b"\xff\xfe{}"), 1007, "invalid_utf8").await;
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    assert_closes(&masked(0x82, b"{}"), 1003, "binary_frame").await;
}

#[tokio::test]
async fn an_unmasked_frame_closes_with_1002() {
    assert_closes(b"\x81\x02{}", 1002, "protocol_error").await;
}

#[tokio::test]
async fn reserved_bits_close_with_1002() {
    assert_closes(&masked(0xc1, b"{}"), 1002, "protocol_error").await;
}

#[tokio::test]
async fn a_reserved_opcode_closes_with_1002() {
    assert_closes(&masked(0x83, b"{}"), 1002, "protocol_error").await;
}

#[tokio::test]
async fn a_continuation_of_nothing_closes_with_1002() {
    assert_closes(&masked(0x80, b"{}"), 1002, "protocol_error").await;
}

#[tokio::test]
async fn a_frame_just_within_the_limit_is_read() {
    let server = Server::start(&[]).await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    let ping = |padding: usize| json!({"type": "ping", "n": 4711, "padding": "x".repeat(padding)}).to_string();
    let text = ping(MAX_FRAME_BYTES - ping(0).len());
    assert_eq!(text.len(), MAX_FRAME_BYTES);

    ann.send_text(&text).await.unwrap();

    find(&mut ann, |frame| (frame == ServerFrame::Pong { n: Some(4711) }).then_some(())).await;
    let (head, tail) = text.as_bytes().split_at(MAX_FRAME_BYTES / 3);
    write_raw(&mut ann, &[masked(0x01, head), masked(0x89, b"ping between"), masked(0x80, tail)].concat()).await;
    find(&mut ann, |frame| (frame == ServerFrame::Pong { n: Some(4711) }).then_some(())).await;
}

#[tokio::test]
async fn a_close_frame_is_answered_with_1000() {
    let server = Server::start(&[]).await;
    let (connection, _) = enter(server.address(), "Ann", &[&room()]).await;
    assert_eq!(connection.close(PATIENCE).await.code, 1000);
}

#[tokio::test]
async fn a_connection_that_never_asks_for_anything_is_cut_off() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let opened = Instant::now();
    let mut mute = TcpStream::connect(server.address()).await.unwrap();
    let mut halting = TcpStream::connect(server.address()).await.unwrap();
    halting.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n").await.unwrap();

    let limit = Duration::from_secs(16);
    for (what, stream) in [("no first byte", &mut mute), ("half a header", &mut halting)] {
        let mut answer = Vec::new();
        let end = timeout(limit, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "{what}: still open after {:?}", opened.elapsed());
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{what}");
    }
    bystander.assert_undisturbed().await;
}

async fn upgrade_status(address: &str, headers: &[(&str, &str)]) -> u16 {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match within(Connection::open(address, &Upgrade { headers, ..Upgrade::default() })).await {
        Ok(_) => 101,
        Err(ConnectError::Refused { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn only_pages_of_the_same_host_may_connect() {
    let server = Server::start(&[]).await;
    let same = format!("http://{}", server.address());
    for (origin, status) in [
        (same.as_str(), 101),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
        (&format!("{same}.evil.example"), 403),
        ("", 101),
    ] {
        assert_eq!(upgrade_status(server.address(), &[("Origin", origin)]).await, status, "{origin:?}");
    }
    assert_eq!(upgrade_status(server.address(), &[]).await, 101, "a client that is no browser");
}

#[tokio::test]
async fn an_allowed_origin_may_connect() {
    let server = Server::start(&["--allowed-origins", "https://chat.example,https://www.example"]).await;
    for (origin, status) in
        [("https://chat.example", 101), ("https://www.example", 101), ("https://evil.example", 403), ("null", 403)]
    {
        assert_eq!(upgrade_status(server.address(), &[("Origin", origin)]).await, status, "{origin}");
    }
}

#[tokio::test]
async fn a_plain_request_to_the_socket_gets_426_upgrade_required() {
    let server = Server::start(&[]).await;
    let reply = http::get(server.address(), "/ws").await;
    assert_eq!(reply.status, 426, "{reply:?}");
    assert!(reply.header("upgrade").eq_ignore_ascii_case("websocket"), "{reply:?}");
    let strange = Request::get("/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "12")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let reply = http::send(server.address(), strange.body(String::new()).unwrap()).await;
    assert_eq!(reply.status, 426, "{reply:?}");
    assert_eq!(reply.header("sec-websocket-version"), "13", "{reply:?}");
}

#[tokio::test]
async fn a_thousand_publishes_at_once_are_each_acked_or_refused() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let room = room();
    let (mut eve, _) = enter(server.address(), "Eve", &[&room]).await;
    let (mut sink, mut stream) = eve.websocket().split();

    let send = async {
        for n in 0..1000 {
            let frame = json!({"type": "publish", "id": format!("m{n}"), "room": room, "body": "x"});
            sink.feed(Message::text(frame.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let receive = async {
        let (mut acked, mut refused) = (HashSet::new(), HashSet::new());
        while acked.len() + refused.len() < 1000 {
            let Message::Text(text) = stream.next().await.unwrap().unwrap() else { continue };
            match serde_json::from_str(&text).unwrap() {
                ServerFrame::Ack(ack) => assert!(acked.insert(ack.id.to_string())),
                ServerFrame::Error(refusal) => {
                    assert_eq!(refusal.code, ErrorCode::RateLimited);
                    let wait = refusal.retry_after_ms.expect("a hint when to try again");
                    assert!((1..=60_000).contains(&wait), "{wait}");
                    assert!(refused.insert(refusal.id.unwrap()));
                }
                _ => {}
            }
        }
        assert!(acked.is_disjoint(&refused));
        acked.len()
    };
    let ((), acked) = within(async { tokio::join!(send, receive) }).await;
    drop((sink, stream));

    assert!((100..300).contains(&acked), "the burst of 100 and what 50 a second add: {acked}");
    assert_pongs(&mut eve).await;
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn a_client_that_heeds_the_hints_gets_everything_through() {
    let server = Server::start(&["--publish-rate", "50", "--publish-burst", "20"]).await;
    let room = room();
    let mut ann = Client::new(Config::new(vec![server.address().into()], "Ann".parse().unwrap(), vec![room.clone()]));
    for n in 0..120 {
        ann.publish(&room, &n.to_string()).unwrap();
    }
    let (mut acked, mut bodies) = (0, Vec::new());
    within(async {
        while acked < 120 || bodies.len() < 120 {
            match ann.next_event().await.unwrap() {
                Event::Acked { .. } => acked += 1,
                Event::Message(message) => bodies.push(message.record.body),
                Event::Disconnected { code, .. } => panic!("closed with {code}"),
                Event::Failed { id, reason } => panic!("{id}: {reason:?}"),
                _ => {}
            }
        }
    })
    .await;
    let expected: HashSet<String> = (0..120).map(|n| n.to_string()).collect();
    assert_eq!(bodies.into_iter().collect::<HashSet<_>>(), expected);
}

#[tokio::test]
async fn a_client_that_ignores_the_hints_for_ten_seconds_is_closed_with_4003() {
    let server = Server::start(&["--publish-rate", "1", "--publish-burst", "1"]).await;
    let bystander = Bystander::enter(server.address()).await;
    let room = room();
    let (mut eve, _) = enter(server.address(), "Eve", &[&room]).await;
    let (started, mut n) = (Instant::now(), 0);
    let ended = within(async {
        loop {
            n += 1;
            let publish = json!({"type": "publish", "id": format!("m{n}"), "room": room, "body": "x"});
            if let Err(closed) = eve.send_text(&publish.to_string()).await {
                break closed;
            }
            loop {
                match eve.next_within(Duration::from_millis(20)).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(closed) => return closed,
                }
            }
        }
    })
    .await;
    assert_eq!(ended, Closed { code: 4003, reason: "rate_limited".to_owned() });
    let lasted = started.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(20)).contains(&lasted), "{lasted:?}");
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn a_flood_of_pings_whose_pongs_are_not_read_costs_the_server_nothing() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    let upgrade = Upgrade { receive_buffer_bytes: Some(4096), ..Upgrade::default() };
    let mut eve = within(Connection::open(server.address(), &upgrade)).await.unwrap();
    send(&mut eve, &json!({"type": "hello", "name": "Eve"})).await;
    let before = server.resident_bytes();

    // 64 MiB, if the server takes them. Pings of the protocol and pings of WebSocket.
    let one = [masked(0x81, br#"{"type":"ping","n":1}"#), masked(0x89, &[b'p'; 100])].concat();
    let many = one.repeat(65_536 / one.len());
    let mut sent = 0;
    let stalled_or_closed = within(async {
        while sent < 64 << 20 {
            let write = eve.websocket().get_mut().write_all(&many);
            match timeout(Duration::from_secs(2), write).await {
                Ok(Ok(())) => sent += many.len(),
                Ok(Err(_)) | Err(_) => return true,
            }
        }
        false
    })
    .await;

    assert!(stalled_or_closed, "the server read {sent} bytes of pings whose pongs are not read");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more after {sent} bytes of pings");
    bystander.assert_undisturbed().await;
}

#[tokio::test]
async fn joins_and_leaves_decide_what_a_connection_receives() {
    let server = Server::start(&[]).await;
    let (first, second) = (room(), room());
    let (mut ann, _) = enter(server.address(), "Ann", &[&first]).await;
    let (mut bob, _) = enter(server.address(), "Bob", &[&first, &second]).await;

    publish(&mut bob, &second, "missed-1", "x").await;
    message(&mut bob).await;
    send(&mut ann, &json!({"type": "join", "room": second})).await;
    joined(&mut ann, &second).await;
    publish(&mut bob, &second, "received-2", "x").await;
    message(&mut bob).await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "received-2");

    send(&mut ann, &json!({"type": "leave", "room": second})).await;
    let left = find(&mut ann, |frame| match frame {
        ServerFrame::Left { room, seq } => Some((room, seq)),
        _ => None,
    })
    .await;
    assert_eq!(left.0, second);
    publish(&mut bob, &second, "missed-3", "x").await;
    publish(&mut bob, &first, "received-4", "x").await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "received-4");

    send(&mut ann, &json!({"type": "publish", "id": "m", "room": second, "body": "x"})).await;
    assert_eq!(refusal(&mut ann).await.code, ErrorCode::NotJoined);
    for frame in ["join", "leave", "typing"] {
        assert_refused(&mut ann, &json!({"type": frame, "room": "UPPER"}).to_string(), ErrorCode::InvalidRoom).await;
    }
}

#[tokio::test]
async fn typing_is_seen_by_the_room_and_coalesced() {
    let server = Server::start(&[]).await;
    let (room, other) = (room(), room());
    let (mut ann, welcome) = enter(server.address(), "Ann", &[&room]).await;
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;
    let (mut carl, _) = enter(server.address(), "Carl", &[&other]).await;

    for _ in 0..40 {
        send(&mut ann, &json!({"type": "typing", "room": room})).await;
    }
    assert_pongs(&mut ann).await;
    let typing = |frame| match frame {
        ServerFrame::Typing { room, from } => Some((room, from)),
        _ => None,
    };
    assert_eq!(find(&mut bob, typing).await, (room.clone(), vec![welcome.user]));
    let (first, mut more) = (Instant::now(), 0);
    while let Some(left) = Duration::from_millis(2500).checked_sub(first.elapsed()) {
        if let Some(ServerFrame::Typing { .. }) = bob.next_within(left).await.unwrap() {
            more += 1;
        }
    }
    assert!((1..=2).contains(&more), "{more} more typing frames for one burst");

    publish(&mut carl, &other, "m", "x").await;
    let first =
        find(&mut carl, |frame| matches!(frame, ServerFrame::Typing { .. } | ServerFrame::Message(_)).then_some(frame))
            .await;
    assert!(matches!(first, ServerFrame::Message(_)), "typing left its room: {first:?}");
}

#[tokio::test]
async fn typing_is_passed_on_to_100_connections_of_an_instance_and_not_to_101() {
    let server = Server::start(&[]).await;
    let (full, overfull) = (room(), room());
    let mut connections = Vec::new();
    for _ in 0..100 {
        connections.push(enter(server.address(), "Someone", &[&full, &overfull]).await.0);
    }
    let (_one_more, _) = enter(server.address(), "Someone", &[&overfull]).await;
    let [ann, bob, ..] = &mut connections[..] else { unreachable!() };

    // The second event of a room comes a second after the first: one of the other room would have come by then.
    for _ in 0..2 {
        send(ann, &json!({"type": "typing", "room": overfull})).await;
        send(ann, &json!({"type": "typing", "room": full})).await;
        let seen = find(bob, |frame| match frame {
            ServerFrame::Typing { room, .. } => Some(room),
            _ => None,
        })
        .await;
        assert_eq!(seen, full);
    }
}

#[tokio::test]
async fn connections_beyond_those_of_the_instance_are_refused_with_503() {
    let server = Server::start(&["--max-connections", "2"]).await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    let _bob = enter(server.address(), "Bob", &[&room()]).await;
    let refused = within(Connection::open(server.address(), &Upgrade::default())).await;
    let Err(ConnectError::Refused { status: 503, retry_after: Some(_) }) = refused else {
        panic!("{refused:?}");
    };
    assert_pongs(&mut ann).await;
}

#[tokio::test]
async fn websocket_pings_are_answered_while_messages_flow() {
    let server = Server::start(&[]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    publish(&mut ann, &room, "m1", "x").await;
    ann.websocket().send(Message::Ping("abc".into())).await.unwrap();
    within(async {
        loop {
            match ann.websocket().next().await.unwrap().unwrap() {
                Message::Pong(payload) => return assert_eq!(payload, "abc"),
                Message::Close(frame) => panic!("{frame:?}"),
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn frames_that_come_with_the_upgrade_request_are_not_lost() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address()
    );
    let hello = masked(0x81, br#"{"type":"hello","name":"Early"}"#);
    stream.write_all(&[request.as_bytes(), &hello].concat()).await.unwrap();
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    within(async {
        while !String::from_utf8_lossy(&received).contains(r#""type":"live""#) {
            let bytes = stream.read(&mut buffer).await.unwrap();
            assert!(bytes > 0, "closed: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..bytes]);
        }
    })
    .await;
    let text = String::from_utf8_lossy(&received);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
}

#[tokio::test]
async fn hostile_input_of_every_kind_leaves_the_process_alive() {
    let server = Server::start(&[]).await;
    let bystander = Bystander::enter(server.address()).await;
    // A fixed seed: the same bytes each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let (mut eve, _) = enter(server.address(), "Eve", &[&room()]).await;
        let noise: Vec<u8> = (0..random() % 300).flat_map(|_| random().to_le_bytes()).collect();
        write_raw(&mut eve, &noise).await;
    }
    let fields: Vec<Value> =
        vec![json!(null), json!(-1), json!("x"), json!([]), json!({}), json!(1e300), json!("\u{0}")];
    for kind in ["publish", "join", "leave", "typing", "ping", "hello"] {
        // more frames at once than one connection may send
        let (mut eve, _) = enter(server.address(), "Eve", &[&room()]).await;
        for key in ["id", "room", "body", "n", "rooms", "name"] {
            for value in &fields {
                send(&mut eve, &json!({"type": kind, key: value})).await;
                assert_pongs(&mut eve).await;
            }
        }
    }
    bystander.assert_undisturbed().await;
}
