//! Clients that read slowly, not at all, or lose their network in the middle of a frame.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::{collections::BTreeSet, time::Duration};

use hubbub_client::{Config, Connection, Upgrade};
use hubbub_protocol::{RoomId, Seq};
use hubbub_testbed::{
    Flow, PATIENCE, Proxy, Server, TestClient, Transcript, assert_complete, eventually,
    frames::{closed, enter, enter_with, find, send},
    gather, room, within,
};
use serde_json::json;
use tokio::time::{Instant, interval};

/// No limit gets in the way of the load.
const ROOMY: [&str; 4] = ["--publish-rate", "100000", "--publish-burst", "100000"];

/// Connected, live in the room, and never read again.
async fn enter_without_reading(address: &str, room: &RoomId) -> Connection {
    let upgrade = Upgrade { receive_buffer_bytes: Some(4096), ..Upgrade::default() };
    let mut connection = within(Connection::open(address, &upgrade)).await.unwrap();
    send(&mut connection, &json!({"type": "hello", "name": "Unread", "rooms": [room]})).await;
    find(&mut connection, |frame| matches!(frame, hubbub_protocol::ServerFrame::Live { .. }).then_some(())).await;
    connection
}

async fn closes_4002(server: &Server) -> f64 {
    server.metric("hubbub_closes_total", "code=\"4002\"").await
}

#[tokio::test]
async fn a_worker_that_falls_out_of_the_ring_says_what_becomes_of_its_connections() {
    let server = Server::start(&[&ROOMY[..], &["--log-retention", "1"]].concat()).await;
    let room = room();
    let config = Config::new(vec![server.address().into()], "Bob".parse().unwrap(), vec![room.clone()]);
    let bob = gather([config]).await.remove(0);
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    // batches that are longer than the ring, until a worker has missed one
    eventually(PATIENCE, || async {
        bob.act({
            let room = room.clone();
            move |client| (0..50).for_each(|_| drop(client.publish(&room, "x").unwrap()))
        })
        .await;
        bob.account().closes.contains(&4002).then_some(())
    })
    .await;

    let line =
        server.logged("a fan-out worker was slower than the ring: its live connections are closed with 4002").await;
    assert!((1..=2).contains(&line["connections"].as_u64().unwrap()), "{line}");
    assert_eq!(closed(&mut ann).await.code, 4002);
    eventually(PATIENCE, || async { (bob.account().is_live() && bob.account().lives > 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_closed_and_delays_no_other() {
    let server = Server::start(&[&ROOMY[..], &["--log-bytes", "4194304"]].concat()).await;
    let room = room();
    let config =
        |n| Config::new(vec![server.address().into()], format!("Other {n}").parse().unwrap(), vec![room.clone()]);
    let others = gather((0..100).map(config)).await;
    let mut unread = enter_without_reading(server.address(), &room).await;
    let before = server.resident_bytes();

    let body = "x".repeat(4096);
    let mut ticks = interval(Duration::from_millis(25));
    let (started, mut worst) = (Instant::now(), 0);
    // Until it has been closed: what the kernel holds for it fills up, then ten seconds pass.
    while closes_4002(&server).await < 1.0 {
        ticks.tick().await;
        others[0].publish(&room, &body).await;
        worst = worst.max(server.resident_bytes());
        assert!(started.elapsed() < PATIENCE, "not closed after {PATIENCE:?}");
    }
    let took = started.elapsed();

    let end = closed(&mut unread).await;
    assert_eq!((end.code, end.reason.as_str()), (4002, "slow_consumer"), "after {took:?}");
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&took), "{took:?}");
    let grown = worst.saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more");
    let published = assert_complete(&others).await;
    assert!(published > 100, "{published}");
    for other in &others {
        let record = other.transcript();
        assert_eq!(record.lives, 1);
        assert!(record.worst_delay < Duration::from_secs(2), "{:?}", record.worst_delay);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_slower_than_the_log_is_closed_and_gets_a_reset_for_what_it_missed() {
    let server = Server::start(&[&ROOMY[..], &["--log-retention", "300"]].concat()).await;
    let room = room();
    let proxy = Proxy::to(server.address(), Flow::Throttled(400_000)).await;
    let mut config = Config::new(vec![proxy.address().into()], "Slow".parse().unwrap(), vec![room.clone()]);
    config.upgrade.receive_buffer_bytes = Some(4096);
    let slow = gather([config]).await.remove(0);
    let ann = TestClient::spawn("Ann", vec![server.address().into()], &[&room]);
    ann.live().await;

    let body = "x".repeat(4096);
    let all = 2000;
    for n in 1..=all {
        ann.publish(&room, &body).await;
        if n % 50 == 0 {
            // Ann herself keeps up with the short log.
            ann.until("received her own", |record| record.messages.len() == n).await;
        }
    }
    ann.settled().await;
    // It reads all the time, so it is not slow; only the log has moved on.
    slow.until("closed", |record| !record.closes.is_empty()).await;
    proxy.set(Flow::Free);
    let last = ann.transcript().acked.values().map(|(seq, _)| *seq).max().unwrap();
    slow.until("caught up", |record| record.cursor >= last && record.is_live()).await;

    let (slow, ann) = (slow.transcript(), ann.transcript());
    assert!(slow.closes.iter().all(|code| *code == 4002), "{:?}", slow.closes);
    assert_eq!(slow.resets.len(), slow.closes.len(), "a reset follows each close");
    // Whatever it has not got lies between the last message before a reset and that reset.
    let told: BTreeSet<Seq> = slow.messages.iter().map(|message| message.seq).collect();
    let gaps: Vec<_> = slow.resets.iter().map(|reset| (*told.range(..=*reset).next_back().unwrap(), *reset)).collect();
    for message in &ann.messages {
        let seq = message.seq;
        let is_lost = gaps.iter().any(|(before, reset)| *before < seq && seq <= *reset);
        assert_ne!(told.contains(&seq), is_lost, "{seq}: {gaps:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_only_slow_catches_up_and_misses_nothing() {
    let server = Server::start(&ROOMY).await;
    let rooms = [room(), room()];
    let all: Vec<&RoomId> = rooms.iter().collect();
    let proxy = Proxy::to(server.address(), Flow::Throttled(300_000)).await;
    let mut config = Config::new(vec![proxy.address().into()], "Slow".parse().unwrap(), rooms.to_vec());
    config.upgrade.receive_buffer_bytes = Some(4096);
    let mut members = gather([config]).await;
    members.push(TestClient::spawn("Fast", vec![server.address().into()], &all));
    members[1].live().await;

    let body = "x".repeat(4096);
    for n in 0..400 {
        members[1].publish(&rooms[n % 2], &body).await;
    }
    members[1].settled().await;
    assert!(members[0].transcript().messages.len() < 400, "the proxy is not slow");
    members[1].until("has all", |record| record.messages.len() == 400).await;
    eventually(PATIENCE, || async { (server.metric("hubbub_connections_catching_up", "").await >= 1.0).then_some(()) })
        .await;

    assert_eq!(assert_complete(&members).await, 400);
    let record = members[0].transcript();
    assert_eq!((record.lives, record.closes.as_slice()), (1, &[][..]), "it was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stalls_for_a_moment_is_live_again_afterwards() {
    let server = Server::start(&ROOMY).await;
    let room = room();
    let proxy = Proxy::to(server.address(), Flow::Free).await;
    let mut config = Config::new(vec![proxy.address().into()], "Stalling".parse().unwrap(), vec![room.clone()]);
    config.upgrade.receive_buffer_bytes = Some(4096);
    let mut members = gather([config]).await;
    members.push(TestClient::spawn("Fast", vec![server.address().into()], &[&room]));
    members[1].live().await;
    let body = "x".repeat(4096);
    for round in 1..=5 {
        proxy.set(Flow::Stalled);
        for _ in 0..100 {
            members[1].publish(&room, &body).await;
        }
        members[1].settled().await;
        eventually(PATIENCE, || async {
            (server.metric("hubbub_connections_catching_up", "").await >= 1.0).then_some(())
        })
        .await;
        proxy.set(Flow::Free);
        members[0].until("caught up", |record| record.messages.len() == round * 100).await;
        eventually(PATIENCE, || async {
            (server.metric("hubbub_connections_catching_up", "").await < 1.0).then_some(())
        })
        .await;
    }
    assert_eq!(assert_complete(&members).await, 500);
    assert_eq!(members[0].transcript().lives, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_at_any_byte_resumes_without_a_hole() {
    let server = Server::start(&ROOMY).await;
    let rooms = [room(), room()];
    let all: Vec<&RoomId> = rooms.iter().collect();
    let proxy = Proxy::to(server.address(), Flow::Free).await;
    let mut config = Config::new(vec![proxy.address().into()], "Unlucky".parse().unwrap(), rooms.to_vec());
    config.backoff.base = Duration::from_millis(5);
    config.backoff.cap = Duration::from_millis(5);
    let mut members = gather([config]).await;
    for name in ["One", "Two"] {
        members.push(TestClient::spawn(name, vec![server.address().into()], &all));
        members.last().unwrap().live().await;
    }

    // A fixed seed: the same cuts each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below).unwrap()
    };
    let cuts = async {
        for cut in 0..150 {
            let unlucky = &members[0];
            // The handshake and welcome are about 700 bytes; most cuts come in the replay or live.
            proxy.set(Flow::CutAfter(if cut % 10 == 0 { random(900) } else { 700 + random(6000) }));
            let ended = |record: &Transcript| record.closes.len() + record.unreachable;
            let before = ended(&unlucky.transcript());
            unlucky.until("cut", |record| ended(record) > before).await;
        }
        proxy.set(Flow::Free);
        members[0].live().await;
    };
    let mut published = 0;
    tokio::pin!(cuts);
    let mut ticks = interval(Duration::from_millis(5));
    loop {
        tokio::select! {
            () = &mut cuts => break,
            _ = ticks.tick() => {
                // Runs of one room, then the other, in one batch: two writes where the audience changes.
                for _ in 0..4 {
                    members[1 + published % 2].publish(&rooms[published / 2 % 2], &"x".repeat(published % 300 + 1)).await;
                    published += 1;
                }
            }
        }
    }
    assert_eq!(assert_complete(&members).await, published);
    let welcomed = members[0].transcript().instances.len();
    assert!(welcomed > 75, "most cuts come after the handshake: {welcomed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_never_reads_its_acks_is_stopped_and_disturbs_no_other() {
    let server = Server::start(&ROOMY).await;
    let room = room();
    let (mut bob, _) = enter(server.address(), "Bob", &[&room]).await;
    let mut unread = enter_without_reading(server.address(), &hubbub_testbed::room()).await;
    send(&mut unread, &json!({"type": "join", "room": room})).await;
    let before = server.resident_bytes();
    let mut sent = 0;
    let stuck = within(async {
        while sent < 100_000 {
            let publish = json!({"type": "publish", "id": format!("m{sent}"), "room": room, "body": "x".repeat(200)});
            let text = publish.to_string();
            let write = unread.send_text(&text);
            match tokio::time::timeout(Duration::from_secs(2), write).await {
                Ok(Ok(())) => sent += 1,
                Ok(Err(_)) | Err(_) => return true,
            }
            while let Ok(Some(_)) = bob.next_within(Duration::ZERO).await {}
        }
        false
    })
    .await;
    assert!(stuck, "the server took {sent} publishes whose acks were not read");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    let (_carl, _) = enter_with(server.address(), &json!({"type": "hello", "name": "Carl", "rooms": [room]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_and_leaves_while_catching_up_do_not_run_ahead_of_what_was_sent() {
    let server = Server::start(&ROOMY).await;
    let rooms = [room(), room()];
    let proxy = Proxy::to(server.address(), Flow::Free).await;
    let mut config = Config::new(vec![proxy.address().into()], "Slow".parse().unwrap(), vec![rooms[0].clone()]);
    config.upgrade.receive_buffer_bytes = Some(4096);
    config.backoff.cap = Duration::from_millis(20);
    let slow = gather([config]).await.remove(0);
    let fast = TestClient::spawn("Fast", vec![server.address().into()], &[&rooms[0], &rooms[1]]);
    fast.live().await;
    let body = "x".repeat(4096);
    for round in 1..=10 {
        proxy.set(Flow::Stalled);
        let mut last = None;
        for n in 0..100 {
            if n == 50 {
                let second = rooms[1].clone();
                slow.act(move |client| client.join(second)).await;
            }
            last = Some(fast.publish(&rooms[n % 2], &body).await);
        }
        fast.settled().await;
        // In every other round it is cut as soon as it has received `joined`.
        proxy.set(if round % 2 == 0 { Flow::Free } else { Flow::Throttled(2_000_000) });
        slow.until("joined", |record| record.rooms.contains(&rooms[1])).await;
        if round % 2 == 1 {
            slow.act(hubbub_client::Client::cut).await;
            proxy.set(Flow::Free);
        }
        let wanted = last.unwrap();
        let in_second = |record: &Transcript| record.messages.last().map(|m| m.record.id.clone());
        slow.until("caught up", |record| in_second(record).as_ref() == Some(&wanted)).await;
        let second = rooms[1].clone();
        slow.act(move |client| client.leave(second)).await;
        slow.until("left", |record| !record.rooms.contains(&rooms[1])).await;
    }
    let (slow, fast) = (slow.transcript(), fast.transcript());
    assert_eq!(slow.violations, hubbub_client::Violations::default());
    assert!(slow.resets.is_empty() && fast.messages.len() == 1000);
    // Nothing of the room it never left is missing.
    assert_eq!(slow.ids(&rooms[0]), fast.ids(&rooms[0]));
    // In the other one nothing is missing between a join and the leave after it.
    let seconds = slow.ids(&rooms[1]).len();
    assert!((10..=500).contains(&seconds), "{seconds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_has_the_place_up_to_which_its_connection_was_served() {
    let server = Server::start(&ROOMY).await;
    let (busy, quiet) = (room(), room());
    let proxy = Proxy::to(server.address(), Flow::Throttled(100_000)).await;
    let mut config = Config::new(vec![proxy.address().into()], "Slow".parse().unwrap(), vec![busy.clone()]);
    config.upgrade.receive_buffer_bytes = Some(4096);
    let slow = gather([config]).await.remove(0);
    let ann = TestClient::spawn("Ann", vec![server.address().into()], &[&busy]);
    let (mut idle, welcome) = enter(server.address(), "Idle", &[&quiet]).await;
    ann.live().await;
    let body = "x".repeat(4096);
    for _ in 0..1000 {
        ann.publish(&busy, &body).await; // four megabytes: forty seconds for the slow one
    }
    ann.settled().await;
    let top = ann.transcript().acked.values().map(|(seq, _)| *seq).max().unwrap();

    let beat = find(&mut idle, |frame| match frame {
        hubbub_protocol::ServerFrame::Heartbeat { seq } => Some(seq),
        _ => None,
    });
    let seq = beat.await;
    assert!(welcome.seq < seq && seq >= top, "a client in quiet rooms keeps a young cursor: {seq} of {top}");

    // The slow client gets heartbeats too. If one were ahead of what was sent, messages with a lower `seq` would follow.
    assert!(slow.transcript().messages.len() < 1000, "the proxy is not slow");
    proxy.set(Flow::Free);
    slow.until("complete", |record| record.messages.len() == 1000).await;
    assert_eq!(slow.transcript().violations, hubbub_client::Violations::default());
    assert_eq!(slow.transcript().lives, 1);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_with_4001() {
    let server = Server::start(&[]).await;
    let mute = enter_without_reading(server.address(), &room()).await;
    let (mut idle, _) = enter(server.address(), "Idle", &[&room()]).await;
    let silent = async {
        eventually(Duration::from_secs(90), || async {
            (server.metric("hubbub_closes_total", "code=\"4001\"").await >= 1.0).then_some(())
        })
        .await
    };
    let polled = async { while idle.next().await.is_ok() {} };
    tokio::select! {
        ((), took) = silent => assert!(took > Duration::from_secs(50), "{took:?}"),
        () = polled => unreachable!("a client that answers pings was closed"),
    }
    drop(mute);
}
