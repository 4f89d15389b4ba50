//! Lines that die without FIN leave connections behind. Those of the same person make way for the next one.

use std::time::Duration;

use hubbub_client::{Closed, Config};
use hubbub_protocol::{GuestSecret, MAX_CONNECTIONS_PER_SESSION, ServerFrame};
use hubbub_testbed::{
    PATIENCE, Proxy, Server, TestClient, Transcript, eventually,
    frames::{closed, enter_with, find, open, send, welcome},
    room,
};
use serde_json::{Value, json};
use tokio::time::Instant;

fn hello(session: GuestSecret) -> Value {
    json!({"type": "hello", "name": "Ann", "session": session, "rooms": [room()]})
}

async fn ghosts_closed(server: &Server) -> f64 {
    server.metric("hubbub_closes_total", r#"code="4001",reason="heartbeat_lost""#).await
}

#[tokio::test]
async fn a_ghost_makes_way_for_its_successor_when_the_address_is_full() {
    let server = Server::start(&["--max-per-address", "1"]).await;
    let proxy = Proxy::wide(server.address()).await;
    let session = GuestSecret::random();
    let (_ghost, first) = enter_with(proxy.address(), &hello(session)).await;
    proxy.freeze();

    let started = Instant::now();
    let mut successor = open(server.address()).await;
    send(&mut successor, &hello(session)).await;
    let second = welcome(&mut successor).await;

    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(second.user.id, first.user.id);
    let gone = || async { (ghosts_closed(&server).await >= 1.0).then_some(()) };
    eventually(PATIENCE, gone).await;
    find(&mut successor, |frame| match frame {
        ServerFrame::Count(count) => (count.connections == 1).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_hundred_ghosts_of_a_session_make_way_for_it() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::wide(server.address()).await;
    let hello = hello(GuestSecret::random());
    let mut ghosts = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_SESSION {
        ghosts.push(enter_with(proxy.address(), &hello).await);
    }
    proxy.freeze();

    enter_with(server.address(), &hello).await;
    let all = || async { (ghosts_closed(&server).await >= 100.0).then_some(()) };
    eventually(PATIENCE, all).await;
}

#[tokio::test]
async fn a_living_connection_and_the_ghost_of_another_session_keep_their_places() {
    let server = Server::start(&["--max-per-address", "2"]).await;
    let proxy = Proxy::wide(server.address()).await;
    let (_ghost, _) = enter_with(proxy.address(), &hello(GuestSecret::random())).await;
    proxy.freeze();
    let config = Config::new(vec![server.address().into()], "Bob".parse().unwrap(), vec![room()]);
    let session = config.session;
    let living = TestClient::observed(config, Transcript::default());
    eventually(PATIENCE, || async { living.account().is_live().then_some(()) }).await;

    for session in [session, GuestSecret::random()] {
        let mut another = open(server.address()).await;
        send(&mut another, &hello(session)).await;
        assert_eq!(closed(&mut another).await, Closed { code: 4004, reason: "address_full".to_owned() });
    }
    assert!(living.account().is_live() && living.account().closes.is_empty());
    assert!(ghosts_closed(&server).await < 0.5);
}
