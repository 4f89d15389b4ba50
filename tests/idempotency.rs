//! An id names one message of its sender and its room: said once, however often it is published.
#![expect(clippy::panic, reason = "a step that fails should fail the test")]

use hubbub_client::Connection;
use hubbub_protocol::{Ack, Refusal, RoomId, ServerFrame};
use hubbub_testbed::{
    Server,
    frames::{enter, find, message, publish},
    http::{self, Reply},
    room,
};
use serde_json::{Value, json};

const KEY: &str = "correct-horse-battery-staple";

/// Publishes from a back end.
async fn post(server: &Server, room: &RoomId, draft: &Value) -> Reply {
    http::post(server.address(), &format!("/v1/rooms/{room}/messages"), Some(KEY), draft).await
}

/// The answer to the publish with this id.
async fn answer(connection: &mut Connection, id: &str) -> Result<Ack, Refusal> {
    find(connection, |frame| match frame {
        ServerFrame::Ack(ack) if ack.id.as_str() == id => Some(Ok(ack)),
        ServerFrame::Error(refusal) if refusal.id.as_deref() == Some(id) => Some(Err(refusal)),
        ServerFrame::Error(refusal) => panic!("{refusal:?}"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_same_id_in_two_rooms_is_said_in_both() {
    let server = Server::start(&["--api-key", KEY]).await;
    let (lobby, kitchen) = (room(), room());
    let (mut ann, _) = enter(server.address(), "Ann", &[&lobby, &kitchen]).await;
    let order = json!({"id": "order-17", "body": "Order 17 is paid.", "name": "Shop"});
    for room in [&lobby, &kitchen] {
        let posted = post(&server, room, &order).await;
        assert_eq!((posted.status, &posted.json()["duplicate"]), (201, &Value::Null), "{posted:?}");
        let said = message(&mut ann).await;
        assert_eq!((&said.record.room, said.record.id.as_str()), (room, "order-17"));
        assert_eq!(posted.json()["seq"], said.seq);
    }
    let again = post(&server, &kitchen, &order).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (201, &Value::Bool(true)), "{again:?}");
}

#[tokio::test]
async fn a_back_end_that_uses_an_id_for_another_body_gets_409() {
    let server = Server::start(&["--api-key", KEY]).await;
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    let draft = |body: &str, name: &str| json!({"id": "order-17", "body": body, "name": name});
    assert_eq!(post(&server, &room, &draft("Order 17 is paid.", "Shop")).await.status, 201);
    post(&server, &room, &draft("Order 17 is sent.", "Shop")).await.assert_problem(409, "id_reused");
    let renamed = post(&server, &room, &draft("Order 17 is paid.", "The shop")).await;
    assert_eq!(renamed.json()["duplicate"], true, "the name is not part of what is said: {renamed:?}");
    publish(&mut ann, &room, "next", "x").await;
    assert_eq!(message(&mut ann).await.record.body, "Order 17 is paid.");
    assert_eq!(message(&mut ann).await.record.id.as_str(), "next", "nothing else was said");
}

#[tokio::test]
async fn a_client_that_uses_an_id_for_another_body_gets_an_error_with_the_id_and_stays() {
    let server = Server::start(&[]).await;
    let (lobby, kitchen) = (room(), room());
    let (mut ann, _) = enter(server.address(), "Ann", &[&lobby, &kitchen]).await;
    publish(&mut ann, &lobby, "m1", "once").await;
    let first = answer(&mut ann, "m1").await.unwrap();
    publish(&mut ann, &lobby, "m1", "twice").await;
    let refusal = answer(&mut ann, "m1").await.unwrap_err();
    assert_eq!((refusal.code.name(), refusal.retry_after_ms), ("id_reused", None));
    publish(&mut ann, &lobby, "m1", "once").await;
    let again = answer(&mut ann, "m1").await.unwrap();
    assert_eq!((again.seq, again.duplicate), (first.seq, true), "the refusal has not changed what the id names");
    publish(&mut ann, &kitchen, "m1", "twice").await;
    assert!(!answer(&mut ann, "m1").await.unwrap().duplicate, "the room is part of what the id names");
}
