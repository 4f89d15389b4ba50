//! What was said is kept: over restarts, beyond the ring, and while the database is away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]

use hubbub_protocol::{Ack, RoomId, Seq, ServerFrame};
use hubbub_testbed::{
    PATIENCE, Postgres, Redis, Server, eventually,
    frames::{enter, enter_with, find, publish},
    http, room, within,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A ring of a few messages, so that most of the history is in the database only.
const SMALL_RING: [&str; 2] = ["--log-retention", "16"];
/// What a test needs to publish quickly.
const ROOMY: [&str; 4] = ["--publish-rate", "10000", "--publish-burst", "10000"];

fn folder() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data").to_str().unwrap().to_owned();
    (folder, path)
}

/// Says so many things in a room and returns the bodies with their places.
async fn say(server: &Server, room: &RoomId, count: usize) -> Vec<(Seq, String)> {
    let (mut ann, _) = enter(server.address(), "Ann", &[room]).await;
    let mut said = Vec::new();
    for n in 0..count {
        let (id, body) = (format!("m{n}"), format!("number {n}"));
        publish(&mut ann, room, &id, &body).await;
        let ack: Ack = find(&mut ann, |frame| match frame {
            ServerFrame::Ack(ack) if ack.id.as_str() == id => Some(ack),
            _ => None,
        })
        .await;
        said.push((ack.seq, body));
    }
    said
}

/// All that was ever said in a room, page by page.
async fn everything(server: &Server, room: &RoomId, limit: usize) -> Vec<(Seq, String)> {
    read(server, room, limit).await.unwrap()
}

/// The same. None: a part of it cannot be read now.
async fn read(server: &Server, room: &RoomId, limit: usize) -> Option<Vec<(Seq, String)>> {
    let mut said = Vec::new();
    let mut before = String::new();
    loop {
        let page = http::get(server.address(), &format!("/v1/rooms/{room}/messages?limit={limit}{before}")).await;
        if page.status == 503 {
            return None;
        }
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        let messages = page["messages"].as_array().unwrap();
        let read = |message: &Value| (message["seq"].as_u64().unwrap(), message["body"].as_str().unwrap().to_owned());
        said.splice(0..0, messages.iter().map(read));
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => return Some(said),
        }
    }
}

async fn has_recorded(server: &Server, room: &RoomId, said: &[(Seq, String)]) {
    eventually(PATIENCE, async || {
        let found = read(server, room, 200).await;
        (found.as_deref() == Some(said)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_is_killed_shows_everything_again_and_its_clients_resume() {
    let (_folder, data) = folder();
    let room = room();
    let mut server = Server::start(&[&["--data", &data], &ROOMY[..]].concat()).await;
    let said = say(&server, &room, 50).await;
    server.kill().await;
    let server = Server::start(&[&["--data", &data], &ROOMY[..]].concat()).await;
    assert_eq!(everything(&server, &room, 7).await, said);
    let cursor = said[20].0;
    let (_bob, welcome) = enter_with(
        server.address(),
        &json!({"type": "hello", "name": "Bob", "rooms": [room], "resume": {"seq": cursor}}),
    )
    .await;
    assert!(welcome.resumed, "{welcome:?}");
}

#[tokio::test]
async fn history_reaches_back_to_the_first_message_whatever_the_ring_has() {
    let (_folder, data) = folder();
    let room = room();
    let server = Server::start(&[&["--data", &data], &SMALL_RING[..], &ROOMY[..]].concat()).await;
    let said = say(&server, &room, 200).await;
    for limit in [1, 7, 200] {
        has_recorded(&server, &room, &said).await;
        assert_eq!(everything(&server, &room, limit).await, said, "{limit}");
    }
}

#[tokio::test]
async fn two_instances_on_redis_and_postgres_have_one_history() {
    let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
    let url = postgres.database().await;
    let flags = [&["--database-url", url.as_str()], &SMALL_RING[..], &ROOMY[..]].concat();
    let (a, b) = tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags));
    let room = room();
    let mut said = say(&a, &room, 100).await;
    said.extend(say(&b, &room, 100).await);
    has_recorded(&a, &room, &said).await;
    assert_eq!(everything(&b, &room, 50).await, said);
}

#[tokio::test]
async fn while_the_database_is_away_people_talk_and_later_all_of_it_is_recorded() {
    let (redis, mut postgres) = tokio::join!(Redis::start(), Postgres::start());
    let url = postgres.database().await;
    let flags = [&["--database-url", url.as_str()], &SMALL_RING[..], &ROOMY[..]].concat();
    let server = Server::on(&redis, &flags).await;
    let room = room();
    let mut said = say(&server, &room, 30).await;
    has_recorded(&server, &room, &said).await;
    postgres.kill().await;
    said.extend(say(&server, &room, 100).await);
    let newest = http::get(server.address(), &format!("/v1/rooms/{room}/messages?limit=10")).await;
    assert_eq!(newest.json()["messages"].as_array().unwrap().len(), 10, "the ring has these");
    let health = http::get(server.address(), "/health/ready").await;
    assert_eq!((health.status, &health.json()["database"]), (200, &json!("away")), "{health:?}");
    let older = http::get(server.address(), &format!("/v1/rooms/{room}/messages?before={}", said[2].0)).await;
    assert_eq!((older.status, older.header("retry-after").is_empty()), (503, false), "{older:?}");
    postgres.resume().await;
    has_recorded(&server, &room, &said).await;
    let health = eventually(PATIENCE, async || {
        let health = http::get(server.address(), "/health/ready").await.json();
        (health["recording"] == "recording").then_some(health)
    });
    assert_eq!(health.await.0["database"], "ready");
}

#[tokio::test]
async fn without_a_database_an_instance_on_redis_says_so() {
    let redis = Redis::start().await;
    let server = Server::on(&redis, &[]).await;
    server.logged("no history is kept").await;
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_ends_with_2_and_says_why() {
    let (_folder, data) = folder();
    let _first = Server::start(&["--data", &data]).await;
    let output = hubbub_testbed::command(&[
        "--data",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "off",
        "--drain-timeout",
        "1s",
    ])
    .output();
    let output = within(output).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&data) && said.contains("another"), "{said}");
}
