//! What an idle connection costs.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement is printed")]

use hubbub_client::{Connection, Upgrade};
use hubbub_testbed::{
    PATIENCE, Server, eventually,
    frames::{enter, send, welcome},
    room, within,
};
use serde_json::json;

/// Connections, if the limit of open files lets this process have so many.
const WANTED: usize = 5_000;
/// The promise, for a release build; futures of a debug build are larger.
const LIMIT_BYTES: usize = if cfg!(debug_assertions) { 24 * 1024 } else { 8 * 1024 };

fn open_files_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

#[tokio::test]
async fn an_idle_connection_costs_a_few_kilobytes() {
    let connections = WANTED.min(open_files_limit().saturating_sub(200));
    if connections < WANTED {
        println!("only {connections} connections: the limit of open files is {}", open_files_limit());
    }
    let server = Server::start(&["--max-connections", "10000"]).await;
    // The first connections warm up what is allocated once.
    for _ in 0..50 {
        drop(enter(server.address(), "Warm", &[&room()]).await);
    }
    eventually(PATIENCE, || async { (server.metric("hubbub_connections", "").await < 0.5).then_some(()) }).await;
    let empty = server.resident_bytes();

    let mut open = Vec::with_capacity(connections);
    for n in 0..connections {
        let mut connection = within(Connection::open(server.address(), &Upgrade::default())).await.unwrap();
        send(&mut connection, &json!({"type": "hello", "name": format!("Idle {n}")})).await;
        open.push(connection);
    }
    for connection in &mut open {
        welcome(connection).await;
    }
    let wanted = f64::from(u32::try_from(connections).unwrap());
    eventually(PATIENCE, || async { (server.metric("hubbub_connections", "").await >= wanted).then_some(()) }).await;

    let grown = usize::try_from(server.resident_bytes().saturating_sub(empty)).unwrap();
    let each = grown / connections;
    println!("{each} bytes a connection: {grown} for {connections}, over {empty} of the empty server");
    assert!(each <= LIMIT_BYTES, "{each} bytes a connection");
}
