//! Secrets and certificates that change while an instance runs: files are read again on SIGHUP, and those of Redis also
//! when the connection fails.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::{fs, path::PathBuf, process::Stdio};

use hubbub_testbed::{Certificate, PATIENCE, Redis, Server, eventually, http, program, room, scratch, signal};
use hyper::Request;
use serde_json::{Value, json};
use tokio::process::Command;

/// A file for this test.
fn file(content: &str) -> PathBuf {
    let path = scratch("secret").join("file");
    fs::write(&path, content).unwrap();
    path
}

/// Waits until a line of the log has these words, for the n-th time.
async fn says(server: &Server, words: &str, times: usize) {
    let count = || server.log().iter().filter(|line| line.contains(words)).count();
    eventually(PATIENCE, || async { (count() >= times).then_some(()) }).await;
}

async fn hang_up(server: &Server) {
    signal(server.pid(), "HUP").await;
}

fn draft(id: &str) -> Value {
    json!({"id": id, "body": "x", "name": "Back end"})
}

/// The status of a publish with this key.
async fn publish(server: &Server, key: &str, id: &str) -> u16 {
    http::post(server.address(), &format!("/v1/rooms/{}/messages", room()), Some(key), &draft(id)).await.status
}

/// The status of a publish with this header.
async fn authorize(server: &Server, authorization: &str) -> u16 {
    let request = Request::post(format!("/v1/rooms/{}/messages", room()))
        .header("content-type", "application/json")
        .header("authorization", authorization);
    http::send(server.address(), request.body(draft("m").to_string()).unwrap()).await.status
}

/// Closes what is connected to this Redis, but not who says so.
async fn disconnect(redis: &Redis) {
    for kind in ["pubsub", "normal"] {
        redis.command(&["CLIENT", "KILL", "TYPE", kind]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sighup_the_former_api_key_is_refused_at_once() {
    let path = file("old\n");
    let server = Server::start(&["--api-key-file", path.to_str().unwrap()]).await;
    assert_eq!(publish(&server, "old", "a").await, 201);

    fs::write(&path, "\u{feff}new\r\n").unwrap();
    hang_up(&server).await;
    server.logged("SIGHUP: the API key is another one").await;
    assert_eq!(publish(&server, "old", "b").await, 401);
    assert_eq!(publish(&server, "new", "c").await, 201);
    server.logged("a publish over HTTP is refused").await;
    assert!(server.metric("hubbub_unauthorized_total", "").await > 0.0);

    hang_up(&server).await;
    server.logged("SIGHUP: the API key is the same").await;
    fs::write(&path, "\n").unwrap();
    hang_up(&server).await;
    says(&server, "the API key cannot be read again (--api-key-file)", 1).await;
    fs::remove_file(&path).unwrap();
    hang_up(&server).await;
    says(&server, "the API key cannot be read again (--api-key-file)", 2).await;
    assert_eq!(publish(&server, "new", "d").await, 201);
    assert!((server.metric("hubbub_reload_failures_total", "").await - 2.0).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_ends_nothing_where_there_is_no_file_to_read() {
    let mut server = Server::start(&["--api-key", "key"]).await;
    hang_up(&server).await;
    server.logged("SIGHUP: there is no file to read again").await;
    assert!(server.status().is_none());
    assert_eq!(publish(&server, "key", "a").await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_taken_without_what_is_around_it_and_its_scheme_in_any_case() {
    let server = Server::spawn_in(&[("HUBBUB_API_KEY", " key\r\n")], &[]).await;
    server.ready().await;
    for authorization in ["Bearer key", "bearer key", "BEARER key", "Bearer   key"] {
        assert_eq!(authorize(&server, authorization).await, 201, "{authorization}");
    }
    for authorization in ["Bearer", "Basic key", "Bearerkey", "Bearer kex"] {
        assert_eq!(authorize(&server, authorization).await, 401, "{authorization}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_redis_password_is_read_again_when_the_connection_fails() {
    let redis = Redis::start().await;
    let user = |password: &str| {
        ["ACL", "SETUSER", "u", "on", "resetpass", &format!(">{password}"), "~*", "&*", "+@all"].map(str::to_owned)
    };
    let set = async |password: &str| {
        let words = user(password);
        assert_eq!(redis.command(&words.each_ref().map(String::as_str)).await, ["OK"]);
    };
    set("old one").await;
    let path = file(&redis.url_as("u", "old one"));
    let server = Server::start(&["--redis-url-file", path.to_str().unwrap(), "--api-key", "key"]).await;

    // the file first
    fs::write(&path, format!("\u{feff}{}\n", redis.url_as("u", "second"))).unwrap();
    set("second").await;
    disconnect(&redis).await;
    says(&server, "Redis accepts the URL and the files as they are now", 1).await;
    assert_eq!(publish(&server, "key", "a").await, 201);

    // the server first
    set("third").await;
    disconnect(&redis).await;
    says(&server, "the server rejects the user or the password", 1).await;
    fs::write(&path, redis.url_as("u", "third")).unwrap();
    says(&server, "Redis accepts the URL and the files as they are now", 2).await;
    assert_eq!(publish(&server, "key", "b").await, 201);
    let log = server.log().concat();
    assert!(["old one", "second", "third"].iter().all(|password| !log.contains(password)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_tries_a_rotated_redis_password_and_keeps_the_connection_if_it_fails() {
    let redis = Redis::start().await;
    let rules = ["ACL", "SETUSER", "u", "on", ">one", ">two", "~*", "&*", "+@all"];
    assert_eq!(redis.command(&rules).await, ["OK"]);
    let path = file(&redis.url_as("u", "one"));
    let server = Server::start(&["--redis-url-file", path.to_str().unwrap(), "--api-key", "key"]).await;

    for (content, words) in [
        (redis.url_as("u", "mistyped"), "rejects the user or the password"),
        ("http://nonsense".to_owned(), "must begin with redis://"),
        (String::new(), "the file is empty"),
    ] {
        fs::write(&path, content).unwrap();
        hang_up(&server).await;
        says(&server, words, 1).await;
        assert_eq!(publish(&server, "key", words.split(' ').next().unwrap()).await, 201);
    }
    assert!(server.log().iter().any(|line| line.contains("SIGHUP: the Redis URL or its files cannot be used")));
    assert!((server.metric("hubbub_reload_failures_total", "").await - 3.0).abs() < 0.1);
    assert!(server.log().iter().all(|line| !line.contains("relay.degraded")));

    fs::write(&path, redis.url_as("u", "two")).unwrap();
    hang_up(&server).await;
    server.logged("SIGHUP: Redis accepts the URL and the files").await;
    hang_up(&server).await;
    server.logged("SIGHUP: the Redis URL and its files are the same").await;
    assert_eq!(publish(&server, "key", "a").await, 201);
    assert_eq!(server.readiness().await, 200);
    // the former connections are closed, both of them
    let user = |line: &String| line.contains(" user=u ");
    eventually(PATIENCE, || async {
        (redis.command(&["CLIENT", "LIST"]).await.iter().filter(|line| user(line)).count() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificates_are_read_again_when_the_connection_fails() {
    let redis = Redis::certified(Certificate::Signed, &[]).await;
    let other = Redis::certified(Certificate::Signed, &[]).await;
    let copies = scratch("certificates");
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| copies.join(name));
    let copy = |redis: &Redis| {
        let [from_cert, from_key] = redis.client_certificate();
        for (from, to) in [(redis.authority(), &ca), (from_cert, &cert), (from_key, &key)] {
            fs::copy(from, to).unwrap();
        }
    };
    copy(&other);
    let [ca_flag, cert_flag, key_flag] = [&ca, &cert, &key].map(|path| path.to_str().unwrap());
    let flags = ["--redis-ca", ca_flag, "--redis-cert", cert_flag, "--redis-key", key_flag];
    let server = Server::spawn(&[&["--redis-url", redis.url()], &flags[..]].concat()).await;
    says(&server, "signed by another authority of the same name", 1).await;
    copy(&redis);
    server.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_terminal_stops_it_in_order() {
    let directory = scratch("terminal");
    let flags = "--listen 127.0.0.1:0 --admin-listen off --drain-window 100ms --log-format json";
    let run = format!("exec {} {flags} 2>log", program().display());
    let mut terminal = Command::new("script")
        .args(["--quiet", "--command", &run, "/dev/null"])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let logged = async |words: &str| {
        let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
        eventually(PATIENCE, || async { log().contains(words).then_some(()) }).await;
    };
    logged("relay.live").await;
    terminal.kill().await.unwrap();
    logged("SIGHUP").await;
    // or while a part of it still starts: "stopped before the start was complete"
    logged(r#""message":"stopped"#).await;
}
