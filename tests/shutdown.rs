//! How an instance starts, and how it ends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails should fail the test")]

mod common;

use std::time::Duration;

use common::{
    crowd::{Member, gather},
    frames::{assert_pongs, closed, enter, find, message, publish},
};
use hubbub_client::{Config, ConnectError, Connection, Upgrade};
use hubbub_protocol::{RelayState, ServerFrame};
use hubbub_testbed::{PATIENCE, Redis, Server, command, eventually, http, room, signal, within};
use tokio::{
    net::TcpListener,
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
async fn clients_leave_one_after_the_other_and_are_served_until_their_turn() {
    let mut server = Server::start(&["--drain-window", "2s"]).await;
    let room = room();
    let config = |n| Config::new(vec![server.address().into()], format!("C{n}").parse().unwrap(), vec![room.clone()]);
    let members = gather((0..40).map(config)).await;
    let asked = Instant::now();
    server.terminate().await;

    // Whoever is still there hears what others still say.
    let (mut first, mut last) = (None, None);
    for member in &members {
        member.until("sent away", |record| !record.closes.is_empty()).await;
        assert_eq!(member.record().closes.first(), Some(&1012));
    }
    for member in &members {
        let pause = member.record().drains.first().copied();
        first = first.min(pause).or(pause);
        last = last.max(pause);
    }
    let took = asked.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "a window of 2 s took {took:?}");
    assert!(last <= Some(Duration::from_secs(5)), "{first:?} to {last:?}");
    drop(members);
    assert_eq!(server.ended().await.code(), Some(0));
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
async fn when_the_timeout_passes_it_exits_with_1_and_says_how_many_it_cut() {
    let mut server = Server::start(&["--drain-window", "100ms", "--drain-timeout", "400ms"]).await;
    let room = room();
    let upgrade = Upgrade { receive_buffer_bytes: Some(4096), ..Upgrade::default() };
    let mut deaf = within(Connection::open(server.address(), &upgrade)).await.unwrap();
    common::frames::say(&mut deaf, &serde_json::json!({"type": "hello", "name": "Deaf", "rooms": [room]})).await;
    let ann = Member::spawn("Ann", vec![server.address().into()], &[&room]);
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
    let said = server.logged("the drain timeout passed").await;
    assert_eq!(said["connections"], 1, "{said}");
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
    assert!(asked.elapsed() < Duration::from_secs(3), "this machine is too slow to tell");

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
async fn a_message_accepted_before_the_drain_is_acked() {
    let mut server = Server::start(&["--drain-window", "100ms"]).await;
    let room = room();
    let ann = Member::spawn("Ann", vec![server.address().into()], &[&room]);
    ann.live().await;
    for n in 0..90 {
        ann.publish(&room, &n.to_string()).await;
    }
    ann.until("one acked", |record| !record.acked.is_empty()).await;
    server.terminate().await;
    ann.until("sent away", |record| !record.closes.is_empty()).await;
    // What reached the server was acked; what did not stays with the client.
    let record = ann.record();
    assert_eq!(record.closes.first(), Some(&1012));
    let delivered: Vec<_> = record.messages.iter().map(|message| &message.record.id).collect();
    assert!(delivered.iter().all(|id| record.acked.contains_key(*id)), "delivered but not acked");
    drop(record);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_taken_port_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flags in [
        ["--listen", address.as_str(), "--admin-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--admin-listen", address.as_str()],
    ] {
        let (code, text) = run(&flags).await;
        assert!([1, 2].contains(&code), "{code}: {text}");
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
