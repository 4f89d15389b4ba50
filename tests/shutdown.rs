//! How an instance starts, and how it ends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails should fail the test")]

use std::{collections::BTreeSet, time::Duration};

use hubbub_client::{Closed, Config, ConnectError, Connection, Upgrade};
use hubbub_protocol::{RelayState, ServerFrame};
use hubbub_testbed::{
    PATIENCE, Redis, Server, TestClient, chatter, command, eventually,
    frames::{assert_pongs, closed, enter, find, message, open, publish, send},
    gather, http, room, signal, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// Exit code and everything printed of a process that must end by itself.
async fn run(flags: &[&str]) -> (i32, String) {
    let output = timeout(Duration::from_secs(10), command(flags).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{flags:?} was accepted")).unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

async fn drains_after(name: &str) {
    let mut server = Server::start(&["--drain-window", "500ms"]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;

    signal(server.pid(), name).await;

    for connection in [&mut ann, &mut bob] {
        let pause = find(connection, |frame| match frame {
            ServerFrame::Drain { reconnect_after_ms } => Some(reconnect_after_ms),
            _ => None,
        })
        .await;
        assert!(pause <= 5_000, "{pause}");
        let end = connection.next_within(Duration::from_secs(2)).await.unwrap_err();
        assert_eq!((end.code, end.reason.as_str()), (1012, "drain"), "1012 follows drain at once");
    }
    drop((ann, bob));
    assert_eq!(server.ended_within(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_drains_and_exits_with_0() {
    drains_after("TERM").await;
}

#[tokio::test]
async fn sigint_drains_and_exits_with_0() {
    drains_after("INT").await;
}

#[tokio::test]
async fn an_instance_without_clients_ends_at_once() {
    let mut server = Server::start(&[]).await;
    let asked = Instant::now();
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn the_last_requests_get_their_time() {
    let mut server = Server::start(&["--api-key", "key"]).await;
    let mut unfinished = within(TcpStream::connect(server.address())).await.unwrap();
    let head = "POST /v1/rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
    unfinished.write_all(head.as_bytes()).await.unwrap();
    // The server waits for the body.
    assert_eq!(within(unfinished.read_u8()).await.unwrap(), b'H');
    let asked = Instant::now();
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    let unfinished_task = |line: &String| line.contains("did not end in time");
    assert!(!server.log().iter().any(unfinished_task), "{:#?}", server.log());
}

#[tokio::test]
async fn a_connection_that_has_not_sent_hello_drains_too() {
    let mut server = Server::start(&["--drain-window", "500ms"]).await;
    let mut silent = open(server.address()).await;
    server.terminate().await;
    assert_eq!(closed(&mut silent).await, Closed { code: 1012, reason: "drain".to_owned() });
    drop(silent);
    assert_eq!(server.ended_within(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn clients_are_closed_one_after_the_other_and_served_until_then() {
    let redis = Redis::start().await;
    let roomy = ["--publish-rate", "1000", "--publish-burst", "1000"];
    let (mut leaving, staying) =
        tokio::join!(Server::on(&redis, &["--drain-window", "2s"]), Server::on(&redis, &roomy));
    let room = room();
    let config = |n| Config::new(vec![leaving.address().into()], format!("C{n}").parse().unwrap(), vec![room.clone()]);
    let clients = gather((0..40).map(config)).await;
    let ann = gather([Config::new(vec![staying.address().into()], "Ann".parse().unwrap(), vec![room.clone()])]).await;

    let asked = Instant::now();
    leaving.terminate().await;
    let all_left = async {
        for client in &clients {
            client.until("closed", |seen| !seen.closes.is_empty()).await;
        }
    };
    let published = chatter(&ann, std::slice::from_ref(&room), Duration::from_millis(10), all_left).await;
    let took = asked.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "a window of 2 s took {took:?}");

    ann[0].until("all received", |seen| seen.messages.len() == published).await;
    let sent = ann[0].transcript();
    let mut served = BTreeSet::new();
    for client in &clients {
        let seen = client.transcript();
        let received = seen.ids(&room);
        assert_eq!(seen.closes, [1012]);
        assert!(seen.drains.len() == 1 && seen.drains[0] <= Duration::from_secs(5), "{:?}", seen.drains);
        assert_eq!(received, sent.ids(&room)[..received.len()], "everything up to its close time, in order");
        served.insert(received.len());
    }
    // 40 close times in 2 s, 200 messages: clients that are closed together, or not served until then, have equally many.
    assert!(served.len() > 20, "{served:?}");
    drop((sent, clients));
    assert_eq!(leaving.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--drain-window", "20s", "--drain-timeout", "25s"]).await;
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(enter(server.address(), "Ann", &[&room()]).await);
    }
    server.terminate().await;
    eventually(PATIENCE, || async { (server.readiness().await == 503).then_some(()) }).await;
    let asked = Instant::now();
    server.terminate().await;
    let status = server.ended_within(Duration::from_secs(3)).await;
    assert!(!status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn when_the_timeout_passes_it_exits_with_1_and_logs_how_many_it_cut() {
    let mut server = Server::start(&["--drain-window", "100ms", "--drain-timeout", "400ms"]).await;
    let room = room();
    let upgrade = Upgrade { receive_buffer_bytes: Some(4096), ..Upgrade::default() };
    let mut unread = within(Connection::open(server.address(), &upgrade)).await.unwrap();
    send(&mut unread, &serde_json::json!({"type": "hello", "name": "Unread", "rooms": [room]})).await;
    let ann = TestClient::spawn("Ann", vec![server.address().into()], &[&room]);
    ann.live().await;
    for _ in 0..90 {
        ann.publish(&room, &"x".repeat(8000)).await;
    }
    ann.settled().await;
    drop(ann);

    let asked = Instant::now();
    server.terminate().await;

    assert_eq!(server.ended().await.code(), Some(1));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let logged = server.logged("the drain timeout passed").await;
    assert_eq!(logged["connections"], 1, "{logged}");
}

#[tokio::test]
async fn during_the_delay_it_is_not_ready_but_serves_on() {
    let mut server = Server::start(&["--drain-delay", "3s", "--drain-window", "100ms"]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let asked = Instant::now();
    server.terminate().await;
    eventually(PATIENCE, || async { (server.readiness().await == 503).then_some(()) }).await;
    assert_eq!(http::get(server.address(), "/health/live").await.status, 200);

    let (mut late, _) = enter(server.address(), "Late", &[&room]).await;
    publish(&mut late, &room, "m1", "still served").await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "m1");
    assert!(asked.elapsed() < Duration::from_secs(3), "this machine is too slow for this test");

    assert_eq!(closed(&mut ann).await.code, 1012);
    assert_eq!(closed(&mut late).await.code, 1012);
    drop((ann, late));
    assert_eq!(server.ended().await.code(), Some(0));
    let took = asked.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn while_draining_upgrades_are_refused_with_a_hint() {
    let server = Server::start(&["--drain-window", "10s", "--drain-timeout", "20s"]).await;
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(enter(server.address(), "Ann", &[&room()]).await);
    }
    server.terminate().await;
    let (retry_after, _) = eventually(PATIENCE, || async {
        match Connection::open(server.address(), &Upgrade::default()).await {
            Ok(_) => None,
            Err(ConnectError::Refused { status: 503, retry_after }) => Some(retry_after),
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert!(retry_after.is_some(), "no Retry-After");
    assert_eq!(server.readiness().await, 503);
}

#[tokio::test]
async fn what_is_in_the_log_at_the_end_of_a_drain_is_what_was_acked() {
    let redis = Redis::start().await;
    let roomy = ["--publish-rate", "10000", "--publish-burst", "10000", "--drain-window", "100ms"];
    let (mut leaving, staying) = tokio::join!(Server::on(&redis, &roomy), Server::on(&redis, &[]));
    let room = room();
    let ann = gather([Config::new(vec![leaving.address().into()], "Ann".parse().unwrap(), vec![room.clone()])]).await;
    let bob = TestClient::spawn("Bob", vec![staying.address().into()], &[&room]);
    bob.live().await;

    let drained = async {
        ann[0].until("one acked", |seen| !seen.acked.is_empty()).await;
        leaving.terminate().await;
        ann[0].until("closed", |seen| !seen.closes.is_empty()).await;
    };
    let published = chatter(&ann, std::slice::from_ref(&room), Duration::from_millis(1), drained).await;
    assert_eq!(leaving.ended().await.code(), Some(0));

    // Above everything that the drained instance has appended.
    let last = bob.publish(&room, "last").await;
    bob.until("complete", |seen| seen.ids(&room).contains(&&last)).await;
    let (sender, receiver) = (ann[0].transcript(), bob.transcript());
    assert_eq!(sender.closes, [1012]);
    let delivered: BTreeSet<_> = receiver.ids(&room).into_iter().filter(|id| **id != last).collect();
    assert_eq!(delivered, sender.acked.keys().collect(), "delivered and acked are the same");
    assert_eq!(delivered.len() + sender.unacked, published, "what was not acked stays with the client");
}

#[tokio::test]
async fn a_taken_port_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flags in [
        ["--listen", address.as_str(), "--admin-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--admin-listen", address.as_str()],
    ] {
        let (code, text) = run(&flags).await;
        assert_eq!(code, 1, "{text}");
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&address)).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(text.contains("in use"), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[tokio::test]
async fn without_an_admin_address_of_its_own_it_goes_on_if_the_default_is_taken() {
    let _taken_by_us_or_by_another = TcpListener::bind("127.0.0.1:9091").await;
    let server = Server::spawn_without_admin(&[]).await;
    server.ready().await;
    let (mut ann, _) = enter(server.address(), "Ann", &[&room()]).await;
    assert_pongs(&mut ann).await;
}

#[tokio::test]
async fn the_admin_listener_can_be_off() {
    let server = Server::start(&["--admin-listen", "off"]).await;
    assert_eq!(server.admin(), "");
    assert!(!http::get(server.address(), "/metrics").await.body.contains("hubbub_"));
}

#[tokio::test]
async fn wrong_input_ends_with_exit_code_2_and_says_what() {
    for (flags, mentions) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--listen", "nonsense"], "--listen"),
        (&["--drain-window", "potato"], "--drain-window"),
        (&["--log-retention", "0"], "--log-retention"),
        (&["--redis-url", "http://example.org"], "redis-sentinel://"),
        (&["--prefix", "has space"], "--prefix"),
        (&["--log-format", "xml"], "--log-format"),
        (&["--trusted-proxies", "not-an-address"], "--trusted-proxies"),
    ] {
        let nowhere = if flags.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let (code, text) = run(&[nowhere, &["--admin-listen", "off"], flags].concat()).await;
        assert_eq!(code, 2, "{flags:?}: {text}");
        assert!(text.contains(mentions), "{flags:?}: {text}");
        assert!(!text.contains("panicked"), "{flags:?}: {text}");
    }
}

#[tokio::test]
async fn help_names_the_flags_and_no_secret() {
    let mut with_secret = command(&["--help"]);
    with_secret.env("HUBBUB_API_KEY", "secret-key").env("HUBBUB_REDIS_URL", "redis://:secret-pass@127.0.0.1:1");
    let output = within(with_secret.output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for flag in ["--listen", "--redis-url", "--drain-timeout", "--log-retention", "HUBBUB_LISTEN", "127.0.0.1:8080"] {
        assert!(text.contains(flag), "{flag} is missing in {text}");
    }
    assert!(!text.contains("secret-"), "{text}");
}

/// Waits until the log says that Redis is out of reach.
async fn complains(server: &Server) {
    let is_complaint = |line: &String| line.contains(r#""WARN""#) && line.contains(r#""target":"hubbub"#);
    let limit = Duration::from_secs(10);
    eventually(limit, || async { server.log().iter().any(is_complaint).then_some(()) }).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let mut redis = Redis::absent().await;
    let server = Server::spawn(&["--redis-url", redis.url()]).await;
    assert_eq!(http::get(server.address(), "/health/live").await.status, 200);
    assert_eq!(server.readiness().await, 503);
    complains(&server).await;
    assert_eq!(server.readiness().await, 503);
    let errors: Vec<String> = server.log().into_iter().filter(|line| line.contains(r#""ERROR""#)).collect();
    assert!(errors.is_empty(), "a probe that finds it not ready is no error: {errors:#?}");

    redis.resume().await;

    server.ready().await;
    let room = room();
    let (mut ann, welcome) = enter(server.address(), "Ann", &[&room]).await;
    assert_eq!(welcome.relay, RelayState::Live);
    publish(&mut ann, &room, "m1", "x").await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "m1");
}

#[tokio::test]
async fn a_server_that_waits_for_redis_can_be_stopped() {
    let redis = Redis::absent().await;
    let mut server = Server::spawn(&["--redis-url", redis.url(), "--drain-window", "100ms"]).await;
    let refused = within(Connection::open(server.address(), &Upgrade::default())).await;
    assert!(matches!(refused, Err(ConnectError::Refused { status: 503, .. })), "{refused:?}");
    server.terminate().await;
    assert_eq!(server.ended_within(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn a_password_in_the_redis_url_is_never_logged() {
    let redis = Redis::absent().await;
    let url = redis.url().replace("redis://", "redis://user:hunter2@");
    let server = Server::spawn(&["--redis-url", &url, "--log", "debug"]).await;
    complains(&server).await;
    assert!(!server.log().concat().contains("hunter2"), "{:#?}", server.log());
}
