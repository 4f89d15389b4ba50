//! Private rooms and inboxes do not exist for whoever is not in them.

use hubbub_protocol::{ErrorCode, RoomId, UserId};
use hubbub_testbed::{
    Server,
    frames::{assert_pongs, enter, refusal, send},
    http, room,
};
use serde_json::json;

const KEY: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn a_guest_is_told_of_every_private_room_that_there_is_none() {
    let server = Server::start(&["--api-key", KEY]).await;
    let (mut eve, welcome) = enter(server.address(), "Eve", &[&room()]).await;
    for room in [RoomId::private(7), RoomId::inbox(&UserId::of(7)), RoomId::inbox(&welcome.user.id)] {
        for frame in [
            json!({"type": "join", "room": room.as_str()}),
            json!({"type": "leave", "room": room.as_str()}),
            json!({"type": "typing", "room": room.as_str()}),
            json!({"type": "publish", "id": "m", "room": room.as_str(), "body": "x"}),
        ] {
            send(&mut eve, &frame).await;
            let refusal = refusal(&mut eve).await;
            assert_eq!(refusal.code, ErrorCode::NoSuchRoom, "{frame}");
            assert_eq!(refusal.detail, "there is no such room, or you are not in it");
        }
        let path = format!("/v1/rooms/{room}/messages");
        http::get(server.address(), &path).await.assert_problem(404, "no_such_room");
        let message = json!({"id": "m1", "body": "x", "name": "Bot"});
        http::post(server.address(), &path, Some(KEY), &message).await.assert_problem(404, "no_such_room");
    }
    assert_pongs(&mut eve).await;
}

#[tokio::test]
async fn a_hello_that_names_a_private_room_is_refused_and_another_one_is_not() {
    let server = Server::start(&[]).await;
    let mut eve = hubbub_testbed::frames::open(server.address()).await;
    send(&mut eve, &json!({"type": "hello", "name": "Eve", "rooms": ["lobby", RoomId::private(7).as_str()]})).await;
    assert_eq!(refusal(&mut eve).await.code, ErrorCode::NoSuchRoom);
    send(&mut eve, &json!({"type": "hello", "name": "Eve"})).await;
    assert_pongs(&mut eve).await;
}
