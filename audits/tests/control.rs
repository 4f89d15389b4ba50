//! The control of the audits is fair: it works while nothing fails, and it subscribes again after a disconnect.

use std::path::Path;

use hubbub_testbed::{
    PATIENCE, Redis, Server, TestClient, assert_complete, eventually,
    frames::{enter, message, publish},
    room,
};

async fn control(redis: &Redis) -> Server {
    let server =
        Server::spawn_program(Path::new(env!("CARGO_BIN_EXE_audit-control")), &["--redis-url", redis.url()]).await;
    server.ready().await;
    server
}

#[tokio::test]
async fn every_client_of_two_plain_instances_gets_every_message_while_nothing_fails() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(control(&redis), control(&redis));
    let room = room();
    let mut clients = Vec::new();
    for server in [&a, &b, &a, &b] {
        clients.push(TestClient::spawn("Someone", vec![server.address().into()], &[&room]));
        clients.last().unwrap().live().await;
    }
    for n in 0..100 {
        for member in &clients {
            member.publish(&room, &n.to_string()).await;
        }
    }
    assert_eq!(assert_complete(&clients).await, 400);
}

#[tokio::test]
async fn a_plain_instance_subscribes_again_after_redis_cut_it_off() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(control(&redis), control(&redis));
    let room = room();
    let (mut ann, _) = enter(a.address(), "Ann", &[&room]).await;
    let (mut bob, _) = enter(b.address(), "Bob", &[&room]).await;

    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    eventually(PATIENCE, || async {
        let subscribed = redis.command(&["PUBSUB", "NUMSUB", "hubbub:plain"]).await;
        (subscribed.last().unwrap() == "2").then_some(())
    })
    .await;

    publish(&mut ann, &room, "m1", "hello again").await;
    assert_eq!(message(&mut bob).await.record.body, "hello again");
}
