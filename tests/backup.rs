//! Backup and restore, with the commands of `docs/operations.md`, while the server runs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a step that fails should fail the test"
)]

use std::{fs, path::Path};

use hubbub_protocol::{Ack, RoomId, Seq, ServerFrame};
use hubbub_testbed::{
    PATIENCE, Postgres, Redis, Server, command, eventually,
    frames::{enter, find, publish},
    http, room, within,
};
use tempfile::TempDir;
use tokio::process::Command;

/// A log of a few messages, so that most of what was said is in the database only.
const FLAGS: [&str; 6] = ["--log-retention", "16", "--publish-rate", "10000", "--publish-burst", "10000"];

/// Says so many things in a room. Returns their bodies in order.
async fn say(server: &Server, room: &RoomId, what: &str, count: usize) -> Vec<String> {
    let (mut ann, _) = enter(server.address(), "Ann", &[room]).await;
    let mut said = Vec::new();
    for n in 0..count {
        let body = format!("{what} {n}");
        publish(&mut ann, room, &format!("{what}-{n}"), &body).await;
        let _ack: Ack = find(&mut ann, |frame| if let ServerFrame::Ack(ack) = frame { Some(ack) } else { None }).await;
        said.push(body);
    }
    said
}

/// Everything that was said in a room, page by page. None: a part of it cannot be read now.
async fn history(server: &Server, room: &RoomId) -> Option<Vec<String>> {
    let (mut said, mut before) = (Vec::new(), None::<Seq>);
    loop {
        let before_this = before.map_or_else(String::new, |before| format!("&before={before}"));
        let page = http::get(server.address(), &format!("/v1/rooms/{room}/messages?limit=50{before_this}")).await;
        if page.status != 200 {
            return None;
        }
        let page = page.json();
        let bodies = page["messages"].as_array().unwrap().iter();
        said.splice(0..0, bodies.map(|message| message["body"].as_str().unwrap().to_owned()));
        before = page["next"].as_u64();
        if before.is_none() {
            return Some(said);
        }
    }
}

async fn has_history(server: &Server, room: &RoomId, said: &[String]) {
    eventually(PATIENCE, async || (history(server, room).await.as_deref() == Some(said)).then_some(())).await;
}

/// Waits until the database has everything.
async fn is_recorded(server: &Server) {
    eventually(PATIENCE, async || {
        let behind = server.metric("hubbub_recorder_lag_events", "").await;
        let state = http::get(server.address(), "/health/ready").await.json();
        (behind <= 0.0 && state["recording"] == "recording").then_some(())
    })
    .await;
}

async fn went_back(server: &Server) {
    let metric = "hubbub_recorder_database_went_back";
    eventually(PATIENCE, async || (server.metric(metric, "").await > 0.0).then_some(())).await;
}

/// What `hubbub restored` says.
async fn restored(place: &[&str]) -> String {
    let output = within(command(&[&["restored"], place].concat()).output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn run(program: &str, arguments: &[&str]) {
    let output = within(Command::new(program).args(arguments).output()).await;
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started, see `make setup`: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The documented command for one file of a data folder.
async fn vacuum(data: &Path, backup: &Path, file: &str) {
    let into = format!("VACUUM INTO '{}'", backup.join(file).display());
    run("sqlite3", &[data.join(file).to_str().unwrap(), &into]).await;
}

#[tokio::test]
async fn a_data_folder_that_was_backed_up_under_load_has_everything_said_before_the_backup() {
    let folder = TempDir::new().unwrap();
    let [data, backup] = ["data", "backup"].map(|name| folder.path().join(name));
    fs::create_dir(&backup).unwrap();
    let flags = [&["--data", data.to_str().unwrap()], &FLAGS[..]].concat();
    let mut server = Server::start(&flags).await;
    let room = room();
    let mut said = say(&server, &room, "early", 100).await;
    is_recorded(&server).await;
    vacuum(&data, &backup, "hubbub.db").await;
    // the database lacks these, and the log has them
    said.extend(say(&server, &room, "between", 10).await);
    vacuum(&data, &backup, "log.db").await;
    say(&server, &room, "late", 100).await;
    server.kill().await;

    for file in ["hubbub.db", "log.db"] {
        for rest in ["-wal", "-shm"] {
            let _there_or_not = fs::remove_file(data.join(format!("{file}{rest}")));
        }
        fs::copy(backup.join(file), data.join(file)).unwrap();
    }
    restored(&["--data", data.to_str().unwrap()]).await;
    let server = Server::start(&flags).await;
    has_history(&server, &room, &said).await;
    said.extend(say(&server, &room, "again", 40).await);
    has_history(&server, &room, &said).await;
}

#[tokio::test]
async fn a_database_alone_that_was_put_back_says_what_is_lost() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let place = ["--data", data.to_str().unwrap()];
    let flags = [&place, &FLAGS[..]].concat();
    let mut server = Server::start(&flags).await;
    let room = room();
    let mut said = say(&server, &room, "early", 100).await;
    is_recorded(&server).await;
    vacuum(&data, folder.path(), "hubbub.db").await;
    let late = say(&server, &room, "late", 100).await;
    is_recorded(&server).await;
    server.terminate().await;
    assert!(server.ended().await.success());

    fs::copy(folder.path().join("hubbub.db"), data.join("hubbub.db")).unwrap();
    let mut server = Server::start(&flags).await;
    went_back(&server).await;
    server.terminate().await;
    assert!(server.ended().await.success());
    let told = restored(&place).await;
    assert!(told.contains("Lost, and noted in the database"), "{told}");
    let server = Server::start(&flags).await;
    eventually(PATIENCE, async || {
        let found = history(&server, &room).await?;
        let kept = found.strip_prefix(&said[..])?;
        (kept.len() >= 16 && late.ends_with(kept)).then_some(())
    })
    .await;
    said.extend(history(&server, &room).await.unwrap().split_off(said.len()));
    said.extend(say(&server, &room, "again", 40).await);
    has_history(&server, &room, &said).await;
}

#[tokio::test]
async fn postgres_is_put_back_while_the_instances_run() {
    let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
    let url = postgres.database().await;
    let flags = [&["--database-url", url.as_str()], &FLAGS[..]].concat();
    let (a, b) = tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags));
    let folder = TempDir::new().unwrap();
    let dump = folder.path().join("hubbub.dump");
    let room = room();
    let mut said = say(&a, &room, "early", 100).await;
    has_history(&b, &room, &said).await;
    postgres.tool("pg_dump", &url, &["--format=custom", &format!("--file={}", dump.display())]).await;
    said.extend(say(&b, &room, "between", 10).await);

    let put_back = ["--clean", "--if-exists", "--single-transaction", dump.to_str().unwrap()];
    postgres.tool("pg_restore", &url, &put_back).await;
    said.extend(say(&a, &room, "meanwhile", 5).await);
    went_back(&a).await;
    let told = restored(&["--redis-url", redis.url(), "--database-url", &url]).await;
    assert!(told.contains("goes on from"), "{told}");
    said.extend(say(&b, &room, "again", 100).await);
    for server in [&a, &b] {
        has_history(server, &room, &said).await;
    }
}

#[tokio::test]
async fn a_log_of_redis_that_was_put_back_with_its_database_has_what_the_database_lacks() {
    let (mut redis, postgres) = tokio::join!(Redis::persistent(), Postgres::start());
    let url = postgres.database().await;
    let flags = [&["--database-url", url.as_str()], &FLAGS[..]].concat();
    let mut server = Server::on(&redis, &flags).await;
    let folder = TempDir::new().unwrap();
    let [dump, rdb] = ["hubbub.dump", "hubbub.rdb"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let room = room();
    let mut said = say(&server, &room, "early", 100).await;
    has_history(&server, &room, &said).await;
    postgres.tool("pg_dump", &url, &["--format=custom", &format!("--file={dump}")]).await;
    said.extend(say(&server, &room, "between", 10).await);
    run("redis-cli", &["-p", &redis.port().to_string(), "--rdb", &rdb]).await;
    say(&server, &room, "late", 100).await;
    server.kill().await;

    redis.kill().await;
    redis.resume_from(Path::new(&rdb)).await;
    postgres.tool("pg_restore", &url, &["--clean", "--if-exists", "--single-transaction", &dump]).await;
    restored(&["--redis-url", redis.url(), "--database-url", &url]).await;
    let server = Server::on(&redis, &flags).await;
    has_history(&server, &room, &said).await;
    let rows = "SELECT body FROM messages ORDER BY seq";
    let database = url.rsplit('/').next().unwrap();
    eventually(PATIENCE, async || (postgres.command(database, rows).await == said).then_some(())).await;
}
