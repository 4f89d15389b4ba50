//! Accounts: made, signed in, refreshed and signed out, over HTTP and at the `hello` of a WebSocket.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::time::Duration;

use hubbub_protocol::{ErrorCode, RoomId};
use hubbub_testbed::{
    Postgres, Redis, Server,
    account::{Person, call, password, refresh, register, sign_in},
    frames::{self, closed, enter, enter_with, message, open, publish, send},
    http, within,
};
use hyper::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An instance on its own, with its folder.
async fn alone(flags: &[&str]) -> (TempDir, Server) {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&[&["--data", folder.path().to_str().unwrap()], flags].concat()).await;
    (folder, server)
}

/// Two instances on a Redis and a Postgres of their own.
struct Pair {
    one: Server,
    two: Server,
    redis: Redis,
    postgres: Postgres,
    database: String,
}

async fn pair() -> Pair {
    let (redis, postgres) = (Redis::start().await, Postgres::start().await);
    let database = postgres.database().await;
    let flags = ["--database-url", &database];
    let (one, two) = tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags));
    Pair { one, two, redis, postgres, database }
}

/// Waits until the database has done that.
async fn run(pair: &Pair, sql: &str) {
    let name = pair.database.rsplit('/').next().unwrap();
    pair.postgres.command(name, sql).await;
}

#[tokio::test]
async fn a_person_registers_signs_in_and_talks() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let reply = register(at, "ann").await;
    assert_eq!((reply.status, reply.header("cache-control")), (201, "no-store"), "{reply:?}");
    let user = &reply.json()["user"];
    assert_eq!(
        (&user["username"], &user["name"], &user["administrator"]),
        (&json!("ann"), &json!("Ann"), &json!(true))
    );
    let ann = Person::sign_in(at, "ann").await;
    let me = ann.call(at, "GET", "/v1/me", &Value::Null).await;
    assert_eq!((me.status, me.json()["id"].as_str()), (200, Some(&*ann.id)));

    let (mut connection, welcome) = enter_with(at, &ann.hello()).await;
    assert!(welcome.account && welcome.session.is_none());
    assert_eq!((welcome.user.id.as_str(), welcome.user.name.as_str()), (&*ann.id, "Ann"));
    let lobby = RoomId::lobby();
    publish(&mut connection, &lobby, "m1", "hi").await;
    assert_eq!(message(&mut connection).await.record.from, welcome.user);

    let (_guest, welcome) = enter(at, "Guest", &[&lobby]).await;
    assert!(!welcome.account);
    let ben = Person::register(at, "ben").await;
    let me = ben.call(at, "GET", "/v1/me", &Value::Null).await.json();
    assert_eq!(me["administrator"], false);
}

#[tokio::test]
async fn a_server_without_a_database_has_no_accounts() {
    let server = Server::start(&[]).await;
    let at = server.address();
    for path in ["/v1/auth/methods", "/v1/me", "/v1/me/sessions"] {
        assert_eq!(http::get(at, path).await.status, 404, "{path}");
    }
    assert_eq!(register(at, "ann").await.status, 405);
    let mut connection = open(at).await;
    send(&mut connection, &json!({"type": "hello", "token": "a.b.c"})).await;
    assert_eq!(frames::refusal(&mut connection).await.code, ErrorCode::InvalidToken);
    send(&mut connection, &json!({"type": "hello", "name": "Ann"})).await;
    assert!(!frames::welcome(&mut connection).await.account);
}

#[tokio::test]
async fn a_username_goes_to_one_of_two_who_ask_at_once() {
    let pair = pair().await;
    let _first = Person::register(pair.one.address(), "first").await;
    for username in ["ann", "ben", "cat", "dan", "eve"] {
        let (here, there) =
            tokio::join!(register(pair.one.address(), username), register(pair.two.address(), username));
        let mut statuses = [here.status, there.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{here:?} {there:?}");
        let refused = if here.status == 409 { here } else { there };
        refused.assert_problem(409, "username_taken");
    }
}

#[tokio::test]
async fn there_is_one_first_account_however_many_ask_at_once() {
    let pair = pair().await;
    let names = ["a1", "a2", "a3", "a4"];
    let asked = names.iter().zip([&pair.one, &pair.two].into_iter().cycle());
    let replies = futures_util::future::join_all(asked.map(|(name, server)| register(server.address(), name))).await;
    let administrators = replies.iter().filter(|reply| reply.json()["user"]["administrator"] == true).count();
    assert_eq!(administrators, 1, "{replies:?}");
}

#[tokio::test]
async fn names_that_look_alike_are_no_usernames() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let _ann = Person::register(at, "ann").await;
    for username in ["Ann", " aNN "] {
        register(at, username).await.assert_problem(409, "username_taken");
    }
    let body = |username: &str, name: &str| json!({"username": username, "name": name, "password": "long enough"});
    for (username, name, field) in [
        ("\u{430}nn", "Ann", "username"),
        ("\u{ff41}nn", "Ann", "username"),
        ("ann\u{200b}", "Ann", "username"),
        ("", "Ann", "username"),
        ("ben", "@ann", "name"),
        ("ben", "\u{ff20}ann", "name"),
        ("ben", "", "name"),
    ] {
        let reply = call(at, "POST", "/v1/auth/register", None, &body(username, name)).await;
        reply.assert_problem(422, "invalid");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{username:?} {name:?}");
    }
    let short = json!({"username": "ben", "name": "Ben", "password": "short"});
    let reply = call(at, "POST", "/v1/auth/register", None, &short).await;
    assert_eq!(reply.json()["errors"][0]["field"], "password");
    assert!(!reply.body.contains("short\""));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_answered_alike_and_cost_the_same() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let _ann = Person::register(at, "ann").await;
    let hashes = async || server.metric("hubbub_password_hashes_total", "").await;
    let mut answers = Vec::new();
    for (username, password) in
        [("ann", "wrong password"), ("nobody", "wrong password"), ("not a name!", "x"), ("a@b", "x")]
    {
        let before = hashes().await;
        let reply = sign_in(at, username, password).await;
        assert!((hashes().await - before - 1.0).abs() < f64::EPSILON, "{username} takes another amount of work");
        reply.assert_problem(401, "wrong_credentials");
        answers.push(reply.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn bad_input_has_an_answer() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    for path in ["/v1/auth/register", "/v1/auth/login"] {
        for body in ["", "[]", "{", "\"x\"", r#"{"username":5,"password":"sesame-sesame"}"#] {
            let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
            let reply = http::send(at, request.body(body.to_owned()).unwrap()).await;
            assert_eq!(reply.status, 422, "{path} {body} {reply:?}");
            assert!(!reply.body.contains("sesame"));
        }
        let reply = http::send(at, Request::post(path).body("{}".to_owned()).unwrap()).await;
        assert_eq!(reply.status, 415, "{reply:?}");
        let long = format!(r#"{{"username":"{}"}}"#, "x".repeat(70_000));
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        assert_eq!(http::send(at, request.body(long).unwrap()).await.status, 413);
        assert_eq!(http::get(at, path).await.status, 405);
    }
    http::get(at, "/v1/me").await.assert_problem(401, "token_required");
    call(at, "GET", "/v1/me", Some("sesame"), &Value::Null).await.assert_problem(401, "invalid_token");
}

#[tokio::test]
async fn tabs_that_refresh_at_once_and_a_lost_answer_stay_signed_in() {
    let pair = pair().await;
    let [one, two] = [pair.one.address(), pair.two.address()];
    let ann = Person::register(one, "ann").await;
    // a young token is repeated
    assert_eq!(Person::of(&refresh(two, &ann.refresh).await).refresh, ann.refresh);
    // an older one is rotated, once, however many ask
    run(&pair, "UPDATE sessions SET rotated_at = rotated_at - 61000").await;
    let asked = [one, two, one, two].map(|at| refresh(at, &ann.refresh));
    let replies = futures_util::future::join_all(asked).await;
    let mut next: Vec<String> = replies.iter().map(|reply| Person::of(reply).refresh).collect();
    next.dedup();
    assert_eq!(next.len(), 1);
    assert_ne!(next[0], ann.refresh);
    // the answer was lost: the former one still gets it
    assert_eq!(Person::of(&refresh(two, &ann.refresh).await).refresh, next[0]);
    assert_eq!(Person::of(&refresh(two, &next[0]).await).refresh, next[0]);
}

#[tokio::test]
async fn a_refresh_token_that_was_replaced_long_ago_ends_the_session() {
    let pair = pair().await;
    let [one, two] = [pair.one.address(), pair.two.address()];
    let ann = Person::register(one, "ann").await;
    let (mut connection, _) = enter_with(two, &ann.hello()).await;
    run(&pair, "UPDATE sessions SET rotated_at = rotated_at - 61000").await;
    let thief = Person::of(&refresh(one, &ann.refresh).await);
    run(&pair, "UPDATE sessions SET rotated_at = rotated_at - 61000").await;
    refresh(two, &ann.refresh).await.assert_problem(401, "session_ended");
    refresh(one, &thief.refresh).await.assert_problem(401, "session_ended");
    assert_eq!(closed(&mut connection).await.code, 4503);
    let _warned = pair.two.logged("a session is ended: a refresh token of it was used").await;
}

#[tokio::test]
async fn signing_out_ends_the_session_on_every_instance_within_a_second() {
    let pair = pair().await;
    let [one, two] = [pair.one.address(), pair.two.address()];
    let ann = Person::register(one, "ann").await;
    let other = Person::sign_in(one, "ann").await;
    let (mut here, _) = enter_with(one, &ann.hello()).await;
    let (mut there, _) = enter_with(two, &ann.hello()).await;
    let (mut stays, _) = enter_with(two, &other.hello()).await;
    let out = ann.call(one, "POST", "/v1/auth/logout", &Value::Null).await;
    assert_eq!(out.status, 204, "{out:?}");
    let both = async { (closed(&mut here).await, closed(&mut there).await) };
    let (here, there) = tokio::time::timeout(Duration::from_millis(1500), both).await.unwrap();
    assert_eq!((here.code, there.code), (4503, 4503));
    for at in [one, two] {
        ann.call(at, "GET", "/v1/me", &Value::Null).await.assert_problem(401, "session_ended");
        refresh(at, &ann.refresh).await.assert_problem(401, "session_ended");
        let mut late = open(at).await;
        send(&mut late, &ann.hello()).await;
        assert_eq!(closed(&mut late).await.code, 4503);
    }
    frames::assert_pongs(&mut stays).await;
    assert_eq!(other.call(two, "GET", "/v1/me", &Value::Null).await.status, 200);

    assert_eq!(other.call(two, "POST", "/v1/auth/logout-all", &Value::Null).await.status, 204);
    assert_eq!(closed(&mut stays).await.code, 4503);
}

#[tokio::test]
async fn an_instance_that_starts_later_knows_which_sessions_have_ended() {
    let pair = pair().await;
    let ann = Person::register(pair.one.address(), "ann").await;
    let _out = ann.call(pair.one.address(), "POST", "/v1/auth/logout", &Value::Null).await;
    let late = Server::on(&pair.redis, &["--database-url", &pair.database]).await;
    let refused = hubbub_testbed::eventually(hubbub_testbed::PATIENCE, async || {
        let reply = ann.call(late.address(), "GET", "/v1/me", &Value::Null).await;
        (reply.status != 503).then_some(reply)
    })
    .await;
    refused.0.assert_problem(401, "session_ended");
}

#[tokio::test]
async fn while_the_database_is_away_who_is_connected_talks_and_newcomers_come_back_later() {
    let mut pair = pair().await;
    let at = pair.one.address().to_owned();
    let ann = Person::register(&at, "ann").await;
    let (mut connection, _) = enter_with(&at, &ann.hello()).await;
    pair.postgres.stop().await;
    publish(&mut connection, &RoomId::lobby(), "m1", "hi").await;
    assert_eq!(message(&mut connection).await.record.body, "hi");
    let mut late = open(&at).await;
    send(&mut late, &ann.hello()).await;
    assert_eq!(within(closed(&mut late)).await.code, 1013);
    let reply = sign_in(&at, "ann", &password("ann")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "2"), "{reply:?}");
    pair.postgres.resume().await;
    hubbub_testbed::eventually(hubbub_testbed::PATIENCE, async || {
        (sign_in(&at, "ann", &password("ann")).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_profile_is_changed_by_its_person() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    let changed = ann.call(at, "PATCH", "/v1/me", &json!({"name": "Ann B.", "about": "hello"})).await;
    assert_eq!((&changed.json()["name"], &changed.json()["about"]), (&json!("Ann B."), &json!("hello")));
    let kept = ann.call(at, "PATCH", "/v1/me", &json!({})).await.json();
    assert_eq!((&kept["name"], &kept["about"]), (&json!("Ann B."), &json!("hello")));
    ann.call(at, "PATCH", "/v1/me", &json!({"name": "@ben"})).await.assert_problem(422, "invalid");
    let (_connection, welcome) = enter_with(at, &ann.hello()).await;
    assert_eq!(welcome.user.name.as_str(), "Ann B.", "hello asks the row, not the token");
}

#[tokio::test]
async fn a_person_sees_where_it_is_signed_in_and_ends_that() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    let other = Person::sign_in(at, "ann").await;
    let ben = Person::register(at, "ben").await;
    let listed = ann.call(at, "GET", "/v1/me/sessions", &Value::Null).await.json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!((items.len(), items.iter().filter(|item| item["current"] == true).count()), (2, 1));
    let theirs = items.iter().find(|item| item["current"] == false).unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/me/sessions/{theirs}");
    ben.call(at, "DELETE", &path, &Value::Null).await.assert_problem(404, "not_found");
    assert_eq!(ann.call(at, "DELETE", &path, &Value::Null).await.status, 204);
    other.call(at, "GET", "/v1/me", &Value::Null).await.assert_problem(401, "session_ended");
    ann.call(at, "DELETE", &path, &Value::Null).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_hello_with_a_bad_token_is_refused_and_may_be_sent_again() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    let mut connection = open(at).await;
    for token in ["sesame", "a.b.c", &format!("{}x", ann.token)] {
        send(&mut connection, &json!({"type": "hello", "token": token})).await;
        assert_eq!(frames::refusal(&mut connection).await.code, ErrorCode::InvalidToken);
    }
    send(&mut connection, &ann.hello()).await;
    assert!(frames::welcome(&mut connection).await.account);
}
