//! The control of the audits is fair: it works when nothing fails, and it comes back after Redis did.

mod common;

use common::{
    crowd::{Member, assert_complete},
    frames::{enter, message, publish},
};
use hubbub_testbed::{PATIENCE, Redis, Server, eventually, example, room};

async fn control(redis: &Redis) -> Server {
    let server = Server::spawn_program(&example("plain_publish"), &["--redis-url", redis.url()]).await;
    server.ready().await;
    server
}

#[tokio::test]
async fn everyone_hears_everything_on_two_plain_instances_while_nothing_fails() {
    let redis = Redis::start().await;
    let (a, b) = tokio::join!(control(&redis), control(&redis));
    let room = room();
    let mut members = Vec::new();
    for server in [&a, &b, &a, &b] {
        members.push(Member::spawn("Someone", vec![server.address().into()], &[&room]));
        members.last().unwrap().live().await;
    }
    for n in 0..100 {
        for member in &members {
            member.publish(&room, &n.to_string()).await;
        }
    }
    assert_eq!(assert_complete(&members).await, 400);
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
