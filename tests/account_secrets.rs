//! Cookies, personal access tokens and limits; and that no secret is logged, or kept in clear.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use hubbub_protocol::RoomId;
use hubbub_testbed::{
    Postgres, Redis, Server,
    account::{Person, call, password, register, sign_in},
    dial,
    frames::{closed, enter_with, message, open, publish, refusal, send},
    http::{self, Reply},
};
use hyper::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

async fn alone(flags: &[&str]) -> (TempDir, Server) {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&[&["--data", folder.path().to_str().unwrap()], flags].concat()).await;
    (folder, server)
}

/// A call of a browser, with these header fields.
async fn browse(server: &Server, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    if !text.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    http::send(server.address(), request.body(text).unwrap()).await
}

/// The cookies that an answer sets, as a browser sends them back.
fn cookies(reply: &Reply) -> String {
    let set = reply.headers.get_all(header::SET_COOKIE).iter();
    set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn a_browser_keeps_its_session_in_a_cookie_that_only_its_own_page_can_use() {
    let (_folder, server) = alone(&[]).await;
    let own = format!("http://{}", server.address());
    let body = json!({"username": "ann", "name": "Ann", "password": password("ann")});
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(browse(&server, "/v1/auth/register", &foreign, &body).await.status, 403);
    let made = browse(&server, "/v1/auth/register", &[("origin", &own)], &body).await;
    assert_eq!((made.status, made.json().get("refresh_token")), (201, None));
    let set: Vec<_> = made.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
    for cookie in &set {
        assert!(
            cookie.contains("; Path=/v1/auth; HttpOnly; SameSite=Strict") && !cookie.contains("Secure"),
            "{cookie}"
        );
    }
    let jar = cookies(&made);
    let refresh = async |headers: &[(&str, &str)]| browse(&server, "/v1/auth/refresh", headers, &Value::Null).await;
    assert_eq!(refresh(&[("cookie", &jar)]).await.status, 403, "without an origin");
    assert_eq!(refresh(&[("cookie", &jar), ("origin", "null")]).await.status, 403);
    assert_eq!(refresh(&[("cookie", &jar), foreign[0]]).await.status, 403);
    refresh(&[("origin", &own)]).await.assert_problem(401, "session_ended");
    let refreshed = refresh(&[("cookie", &jar), ("origin", &own)]).await;
    assert_eq!((refreshed.status, refreshed.json().get("refresh_token")), (200, None), "{refreshed:?}");

    let out = browse(&server, "/v1/auth/logout", &[("cookie", &jar), ("origin", &own)], &Value::Null).await;
    assert_eq!(out.status, 204);
    assert!(cookies(&out).starts_with("hubbub_refresh="));
    refresh(&[("cookie", &jar), ("origin", &own)]).await.assert_problem(401, "session_ended");
    assert_eq!(browse(&server, "/v1/auth/login", &foreign, &body).await.status, 403);
}

#[tokio::test]
async fn cookies_are_for_the_path_and_the_scheme_of_the_public_url() {
    let (_folder, server) = alone(&["--public-url", "https://example.com/chat", "--public-host", "*"]).await;
    let body = json!({"username": "ann", "name": "Ann", "password": password("ann")});
    let made = browse(&server, "/v1/auth/register", &[], &body).await;
    let cookie = made.headers.get(header::SET_COOKIE).unwrap().to_str().unwrap();
    assert!(cookie.contains("; Path=/chat/v1/auth; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
}

#[tokio::test]
async fn a_program_has_a_token_of_its_own_which_can_be_taken_back() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let (ann, ben) = (Person::register(at, "ann").await, Person::register(at, "ben").await);
    let add =
        async |scopes: Value| ann.call(at, "POST", "/v1/me/tokens", &json!({"name": "bot", "scopes": scopes})).await;
    add(json!([])).await.assert_problem(422, "invalid");
    add(json!(["write"])).await.assert_problem(422, "invalid");
    let made = add(json!(["read", "write"])).await;
    assert_eq!(made.status, 201);
    let (token, id) =
        (made.json()["token"].as_str().unwrap().to_owned(), made.json()["id"].as_str().unwrap().to_owned());
    let reads = add(json!(["read"])).await.json()["token"].as_str().unwrap().to_owned();

    let me = async |token: &str| call(at, "GET", "/v1/me", Some(token), &Value::Null).await;
    assert_eq!(me(&token).await.json()["username"], "ann");
    assert_eq!(me(&reads).await.json()["username"], "ann");
    for (method, path) in [("PATCH", "/v1/me"), ("GET", "/v1/me/tokens"), ("POST", "/v1/auth/logout-all")] {
        call(at, method, path, Some(&token), &json!({})).await.assert_problem(403, "not_allowed");
    }
    let (mut connection, welcome) = enter_with(at, &json!({"type": "hello", "token": token})).await;
    assert_eq!(welcome.user.id.as_str(), ann.id);
    let mut reader = open(at).await;
    send(&mut reader, &json!({"type": "hello", "token": reads})).await;
    assert_eq!(refusal(&mut reader).await.code.name(), "invalid_token");

    let path = format!("/v1/me/tokens/{id}");
    ben.call(at, "DELETE", &path, &Value::Null).await.assert_problem(404, "not_found");
    assert_eq!(ann.call(at, "DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(closed(&mut connection).await.code, 4503);
    assert_eq!(me(&token).await.status, 401);
    assert_eq!(me(&reads).await.status, 200);
    let listed = ann.call(at, "GET", "/v1/me/tokens", &Value::Null).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(listed["items"][0].get("token").is_none());
}

#[tokio::test]
async fn a_flood_of_sign_ins_locks_nobody_out() {
    let (_folder, server) = alone(&["--sign-in-rate-address", "0.1"]).await;
    let at = server.address();
    let body = json!({"username": "ann", "name": "Ann", "password": password("ann")});
    let jar = cookies(&browse(&server, "/v1/auth/register", &[], &body).await);
    let mut statuses = Vec::new();
    for name in 0..8 {
        statuses.push(sign_in(at, &format!("name-{name}"), "wrong password").await.status);
    }
    assert!(statuses.starts_with(&[401; 6]) && statuses.contains(&429), "{statuses:?}");
    let refused = sign_in(at, "ann", &password("ann")).await;
    refused.assert_problem(429, "rate_limited");
    assert_ne!(refused.header("retry-after"), "");
    // the same person, from a browser that it has used before
    let own = browse(&server, "/v1/auth/login", &[("cookie", &jar)], &body).await;
    assert_eq!(own.status, 200, "{own:?}");
    // and from elsewhere
    let elsewhere = from("127.0.0.2", at, &body).await;
    assert!(elsewhere.starts_with("HTTP/1.1 200"), "{elsewhere}");
}

#[tokio::test]
async fn a_flood_of_passwords_delays_no_message() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address().to_owned();
    let ann = Person::register(&at, "ann").await;
    let (mut connection, _) = enter_with(&at, &ann.hello()).await;
    let mut flood = tokio::task::JoinSet::new();
    for name in 0..16 {
        let at = at.clone();
        let _handle = flood.spawn(async move { sign_in(&at, &format!("name-{name}"), "wrong password").await.status });
    }
    assert_eq!(flood.join_next().await.unwrap().unwrap(), 401, "the others wait for their turn");
    publish(&mut connection, &RoomId::lobby(), "m1", "hi").await;
    let _delivered = message(&mut connection).await;
    while flood.try_join_next().is_some() {}
    assert!(!flood.is_empty(), "the message waited for the passwords");
}

/// Signs in from another address of this machine. Returns the answer.
async fn from(address: &str, to: &str, body: &Value) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = dial(address.parse().unwrap(), to).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /v1/auth/login HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    );
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _length = hubbub_testbed::within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn no_secret_is_logged_or_kept_in_clear() {
    let (redis, postgres) = (Redis::start().await, Postgres::start().await);
    let database = postgres.database().await;
    let server = Server::on(&redis, &["--database-url", &database, "--log", "trace"]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    let again = Person::sign_in(at, "ann").await;
    let _wrong = sign_in(at, "ann", "wrong-sesame").await;
    let made = ann.call(at, "POST", "/v1/me/tokens", &json!({"name": "bot", "scopes": ["read", "write"]})).await.json();
    let program = made["token"].as_str().unwrap().to_owned();
    let group = ann.call(at, "POST", "/v1/groups", &json!({"name": "Climbers"})).await.json();
    let invites = format!("/v1/groups/{}/invites", group["id"].as_str().unwrap());
    let invite = ann.call(at, "POST", &invites, &json!({})).await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(http::get(at, &format!("/v1/invites/{invite}")).await.status, 200);
    let _bad = call(at, "POST", "/v1/auth/register", None, &json!({"password": 7, "username": "bad-sesame"})).await;
    let (_connection, _) = enter_with(at, &ann.hello()).await;
    let (_program, _) = enter_with(at, &json!({"type": "hello", "token": program})).await;
    let _refreshed = hubbub_testbed::account::refresh(at, &ann.refresh).await;
    let (_guest, welcome) = hubbub_testbed::frames::enter(at, "Guest", &[]).await;
    let guest = String::from(welcome.session.unwrap());
    assert_eq!(register(at, "ann").await.status, 409);

    let name = database.rsplit('/').next().unwrap();
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let mut dump = String::new();
    for table in postgres.command(name, tables).await {
        dump.push_str(&postgres.command(name, &format!("SELECT t.*::text FROM {table} AS t")).await.join("\n"));
    }
    assert!(dump.contains("ann"), "the dump has the account");
    let log = server.log().join("\n");
    let secrets = [&ann.token, &again.token, &ann.refresh, &again.refresh, &program, &invite, &password("ann"), &guest];
    for secret in secrets.into_iter().chain([&"wrong-sesame".to_owned(), &"bad-sesame".to_owned()]) {
        // also a part of it: a token has parts
        for part in secret.split('.').filter(|part| part.len() > 8) {
            let part = if part.len() > 60 { &part[part.len() - 40..] } else { part };
            assert!(!log.contains(part), "the log has {part}");
            assert!(!dump.contains(part), "the database has {part}");
        }
    }
}
