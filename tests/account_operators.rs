//! Who may make an account, administrators, and the commands of whoever runs the server.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]

use std::process::Stdio;

use hubbub_testbed::{
    PATIENCE, Postgres, Redis, Server,
    account::{Person, call, password, refresh, register, sign_in},
    command, eventually,
    frames::{closed, enter_with},
    http, within,
};
use hyper::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

async fn alone(flags: &[&str]) -> (TempDir, Server) {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&[&["--data", folder.path().to_str().unwrap()], flags].concat()).await;
    (folder, server)
}

/// Runs a command on the data of an instance that runs. Returns what it printed, or how it failed.
async fn run(folder: &TempDir, words: &[&str], input: &str) -> Result<String, String> {
    let all = [words, &["--data", folder.path().to_str().unwrap()]].concat();
    let mut child = command(&all).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = within(child.wait_with_output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn new(username: &str, invite: Option<&str>) -> Value {
    json!({"username": username, "name": "X", "password": password(username), "invite": invite, "cookie": false})
}

#[tokio::test]
async fn a_server_beyond_loopback_needs_the_set_up_link_for_its_first_account() {
    let folder = TempDir::new().unwrap();
    let flags = ["--data", folder.path().to_str().unwrap(), "--listen", "0.0.0.0:0"];
    let server = Server::start(&[&flags[..], &["--public-url", "https://chat.example.com"]].concat()).await;
    let at = server.address().replace("0.0.0.0", "127.0.0.1");
    let ask = async |invite| call(&at, "POST", "/v1/auth/register", None, &new("ann", invite)).await;
    ask(None).await.assert_problem(403, "set_up_required");
    ask(Some("sesame")).await.assert_problem(403, "set_up_required");
    let line = server.logged("there is no account yet").await;
    let secret = line["message"].as_str().unwrap().rsplit('=').next().unwrap().to_owned();
    let made = ask(Some(&secret)).await;
    assert_eq!((made.status, &made.json()["user"]["administrator"]), (201, &json!(true)), "{made:?}");
    let other = call(&at, "POST", "/v1/auth/register", None, &new("ben", Some(&secret))).await;
    assert_eq!(other.json()["user"]["administrator"], false, "the link makes one administrator");
}

#[tokio::test]
async fn a_client_behind_a_proxy_is_not_taken_for_the_operator() {
    let (_folder, server) = alone(&[]).await;
    let body = new("ann", None).to_string();
    let request = Request::post("/v1/auth/register").header(header::CONTENT_TYPE, "application/json");
    let reply = http::send(server.address(), request.header("x-forwarded-for", "192.0.2.1").body(body).unwrap()).await;
    reply.assert_problem(403, "set_up_required");
}

#[tokio::test]
async fn an_invitation_admits_as_many_as_it_says() {
    let (folder, server) = alone(&["--registration", "invite"]).await;
    let at = server.address();
    let _first = Person::register(at, "first").await;
    register(at, "ann").await.assert_problem(403, "invitation_required");
    let link = run(&folder, &["invite", "--uses", "2", "--public-url", "https://chat.example.com"], "").await.unwrap();
    let token = link.strip_prefix("https://chat.example.com/#invite=").unwrap();
    let ask = async |username: &str| call(at, "POST", "/v1/auth/register", None, &new(username, Some(token))).await;
    assert_eq!(ask("ann").await.status, 201);
    ask("ann").await.assert_problem(409, "username_taken");
    let (one, two) = tokio::join!(ask("ben"), ask("cat"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403], "a name that was taken has used nothing up");
}

#[tokio::test]
async fn a_closed_server_admits_nobody_but_the_first_and_whom_the_operator_makes() {
    let (folder, server) = alone(&["--registration", "closed"]).await;
    let at = server.address();
    let _first = Person::register(at, "first").await;
    register(at, "ann").await.assert_problem(403, "registration_closed");
    let made = run(&folder, &["user", "add", "ann", "--name", "Ann"], "").await.unwrap();
    let secret = made.rsplit(' ').next().unwrap();
    assert_eq!(sign_in(at, "ann", secret).await.status, 200, "{made}");
}

#[tokio::test]
async fn the_operator_lists_closes_and_opens_accounts_while_the_server_runs() {
    let (folder, server) = alone(&[]).await;
    let at = server.address();
    let words = ["user", "add", "root", "--administrator", "--password-stdin"];
    assert_eq!(run(&folder, &words, "root-password\n").await.unwrap(), "The administrator root is made.");
    assert!(run(&folder, &words, "root-password\n").await.unwrap_err().contains("this username is taken"));
    let ann = Person::register(at, "ann").await;
    assert_eq!(
        run(&folder, &["user", "list"], "").await.unwrap(),
        "ann\tAnn\tactive\nroot\troot\tactive\tadministrator"
    );
    let (mut connection, _) = enter_with(at, &ann.hello()).await;
    assert_eq!(run(&folder, &["user", "disable", "ann"], "").await.unwrap(), "The account ann is closed.");
    assert_eq!(closed(&mut connection).await.code, 4503);
    ann.call(at, "GET", "/v1/me", &Value::Null).await.assert_problem(401, "session_ended");
    sign_in(at, "ann", &password("ann")).await.assert_problem(401, "wrong_credentials");
    let _open = run(&folder, &["user", "enable", "ann"], "").await.unwrap();
    assert_eq!(sign_in(at, "ann", &password("ann")).await.status, 200);
    let _set = run(&folder, &["user", "password", "ann", "--password-stdin"], "another password\n").await.unwrap();
    assert_eq!(sign_in(at, "ann", "another password").await.status, 200);
    assert!(run(&folder, &["user", "disable", "nobody"], "").await.unwrap_err().contains("there is no account nobody"));
}

#[tokio::test]
async fn administrators_close_accounts_and_for_others_these_calls_do_not_exist() {
    let (_folder, server) = alone(&[]).await;
    let at = server.address();
    let (root, ann) = (Person::register(at, "root").await, Person::register(at, "ann").await);
    let path = format!("/v1/admin/users/{}", ann.id);
    ann.call(at, "GET", "/v1/admin/users", &Value::Null).await.assert_problem(404, "not_found");
    ann.call(at, "PATCH", &path, &json!({"administrator": true})).await.assert_problem(404, "not_found");
    let page = root.call(at, "GET", "/v1/admin/users?limit=1", &Value::Null).await.json();
    assert_eq!((&page["items"][0]["username"], &page["next"]), (&json!("ann"), &json!("ann")));
    let next = root.call(at, "GET", "/v1/admin/users?cursor=ann", &Value::Null).await.json();
    assert_eq!((&next["items"][0]["username"], &next["next"]), (&json!("root"), &Value::Null));

    let closed = root.call(at, "PATCH", &path, &json!({"disabled": true})).await.json();
    assert_eq!(closed["state"], "disabled");
    sign_in(at, "ann", &password("ann")).await.assert_problem(401, "wrong_credentials");
    let open = root.call(at, "PATCH", &path, &json!({"disabled": false, "administrator": true})).await.json();
    assert_eq!((&open["state"], &open["administrator"]), (&json!("active"), &json!(true)));
    let ann = Person::sign_in(at, "ann").await;
    assert_eq!(ann.call(at, "GET", "/v1/admin/users", &Value::Null).await.status, 200);
    let unknown = root.call(at, "PATCH", "/v1/admin/users/nobody", &json!({"disabled": true})).await;
    unknown.assert_problem(404, "not_found");
}

/// The name of the key that signed a token.
fn key_of(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_rotated_while_people_are_signed_in() {
    let (redis, postgres) = (Redis::start().await, Postgres::start().await);
    let database = postgres.database().await;
    let flags = ["--database-url", &database];
    let (one, two) = tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags));
    let ann = Person::register(one.address(), "ann").await;
    let all = ["rotate-key", "--redis-url", redis.url(), "--database-url", &database];
    let rotated = within(command(&all).output()).await.unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    let (renewed, _) = eventually(PATIENCE, async || {
        let renewed = Person::of(&refresh(one.address(), &ann.refresh).await);
        (key_of(&renewed.token) != key_of(&ann.token)).then_some(renewed)
    })
    .await;
    for token in [&ann.token, &renewed.token] {
        for server in [&one, &two] {
            let me = call(server.address(), "GET", "/v1/me", Some(token), &Value::Null).await;
            assert_eq!(me.status, 200, "{me:?}");
        }
    }
}
