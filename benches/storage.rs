//! What people notice of the storage, with real processes: how soon an instance that was killed serves again, what a
//! database that is away for a minute costs, and what pages of history leave behind in memory.
//!
//! `cargo bench --bench storage -- start|away|memory`, several of them for several; all of them without a name.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that cannot go on has failed"
)]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::{
    collections::HashMap,
    env,
    time::{Duration, Instant},
};

use hubbub_client::{Connection, Upgrade};
use hubbub_protocol::{ClientFrame, Hello, Publish, RoomId, ServerFrame};
use hubbub_testbed::{Postgres, Server, eventually, http, scratch};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Events of the log with which an instance starts.
const EVENTS: u64 = 100_000;
/// How often the instance is killed and started.
const STARTS: usize = 10;
/// Messages a second while the database is away.
const RATE: u32 = 500;
/// How long the database is away. As long, it was measured before.
const AWAY: Duration = Duration::from_mins(1);
/// Publishes of a client that wait for their ack.
const UNACKED: u64 = 200;
/// Messages behind the pages, the pages, and the messages of one.
const SPOKEN: u64 = 20_000;
const PAGES: usize = 10_000;
const PAGE: usize = 50;
/// Nothing may hold out longer.
const LIMIT: Duration = Duration::from_mins(2);
/// So that the limits of the server do not bound the measurement.
const FREE: [&str; 6] = ["--publish-rate", "100000", "--publish-burst", "100000", "--publish-rate-address", "100000"];

/// A client that publishes what it is told, and measures when it gets it back.
struct Speaker {
    connection: Connection,
    said: HashMap<String, Instant>,
    acked: u64,
    next: u64,
    took: Vec<Duration>,
}

impl Speaker {
    async fn connect(server: &Server) -> Self {
        let mut connection = Connection::open(server.address(), &Upgrade::default()).await.unwrap();
        let hello = Hello { name: "Ann".parse().unwrap(), session: None, rooms: vec![RoomId::lobby()], resume: None };
        connection.send(&ClientFrame::Hello(hello)).await.unwrap();
        while !matches!(connection.next().await.unwrap(), ServerFrame::Live { .. }) {}
        Self { connection, said: HashMap::new(), acked: 0, next: 0, took: Vec::new() }
    }

    async fn say(&mut self) {
        self.next += 1;
        let id = format!("{:010}", self.next);
        let publish = Publish { id: id.parse().unwrap(), room: RoomId::lobby(), body: "What was said. ".repeat(13) };
        self.said.insert(id, Instant::now());
        self.connection.send(&ClientFrame::Publish(publish)).await.unwrap();
    }

    /// Takes one frame.
    async fn hear(&mut self) {
        match timeout(LIMIT, self.connection.next()).await.unwrap().unwrap() {
            ServerFrame::Ack(_) => self.acked += 1,
            ServerFrame::Message(message) => {
                let said = self.said.remove(message.record.id.as_str());
                self.took.extend(said.map(|said| said.elapsed()));
            }
            ServerFrame::Error(refusal) => panic!("refused: {refusal:?}"),
            _ => {}
        }
    }

    /// So many messages, as fast as they are acked, and all of them heard.
    async fn say_many(&mut self, messages: u64) {
        let end = self.next + messages;
        while self.acked < end || !self.said.is_empty() {
            if self.next < end && self.next < self.acked + UNACKED {
                self.say().await;
            } else {
                self.hear().await;
            }
        }
    }

    /// So many a second. Returns how long each took from `publish` to `message`.
    async fn say_paced(&mut self, length: Duration) -> Vec<Duration> {
        let mut pace = interval(Duration::from_secs(1) / RATE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + length;
        while Instant::now() < until {
            tokio::select! {
                _ = pace.tick() => self.say().await,
                () = self.hear() => {}
            }
        }
        while self.acked < self.next || !self.said.is_empty() {
            self.hear().await;
        }
        std::mem::take(&mut self.took)
    }
}

/// Median, lowest and highest.
fn show(mut values: Vec<f64>, unit: &str) -> String {
    values.sort_by(f64::total_cmp);
    let at = |n: usize| values.get(n).copied().unwrap_or_default();
    format!("{:.1} {unit} ({:.1} to {:.1})", at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn quantiles(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |part: usize| took[(took.len() * part / 1000).min(took.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(500), at(990), at(1000))
}

/// From the start of the process to the first page with the last message in it, after a kill.
async fn start() {
    let folder = scratch("storage").display().to_string();
    let flags = [&["--data", &folder], &FREE[..]].concat();
    let mut server = Server::start(&flags).await;
    Speaker::connect(&server).await.say_many(EVENTS).await;
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let page = http::get(server.address(), "/v1/rooms/lobby/messages?limit=1").await.json();
        server.kill().await;
        let began = Instant::now();
        server = Server::spawn(&flags).await;
        let ask = async || {
            let reply = http::get(server.address(), "/v1/rooms/lobby/messages?limit=1").await;
            (reply.status == 200 && reply.json()["messages"] == page["messages"]).then_some(())
        };
        eventually(LIMIT, ask).await;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!("killed and started with {EVENTS} events: first message served after {}", show(took, "ms"));
}

/// Delivery with the database there, and away; and how soon everything is recorded when it is back.
async fn away() {
    let mut database = Postgres::durable().await;
    let url = database.database().await;
    let folder = scratch("storage").display().to_string();
    let server = Server::start(&[&["--data", &folder, "--database-url", &url], &FREE[..]].concat()).await;
    let mut speaker = Speaker::connect(&server).await;
    println!("database there: {}", quantiles(speaker.say_paced(AWAY).await));
    database.stop().await;
    println!("database away for {AWAY:?}: {}", quantiles(speaker.say_paced(AWAY).await));
    database.resume().await;
    let all = f64::from(u32::try_from(speaker.next).unwrap());
    let is_recorded = async || (server.metric("hubbub_recorded_messages_total", "").await >= all).then_some(());
    let (_recorded, took) = eventually(LIMIT, is_recorded).await;
    println!("all {all} messages recorded {:.1} s after it was back", took.as_secs_f64());
}

/// Resident memory before and after many pages.
async fn memory() {
    let folder = scratch("storage").display().to_string();
    let server = Server::start(&[&["--data", &folder, "--log-retention", "1000"], &FREE[..]].concat()).await;
    Speaker::connect(&server).await.say_many(SPOKEN).await;
    let first = http::get(server.address(), "/v1/rooms/lobby/messages?limit=1").await.json();
    let pages = async |count: usize| {
        let mut next = first["next"].as_u64();
        for _ in 0..count {
            let before = next.or_else(|| first["next"].as_u64()).unwrap();
            let path = format!("/v1/rooms/lobby/messages?limit={PAGE}&before={before}");
            let reply = http::get(server.address(), &path).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            next = reply.json()["next"].as_u64();
        }
    };
    pages(200).await;
    let before = server.resident_bytes();
    pages(PAGES).await;
    let mebibytes = |bytes: u64| f64::from(u32::try_from(bytes >> 10).unwrap()) / 1024.0;
    let (before, after) = (mebibytes(before), mebibytes(server.resident_bytes()));
    println!("{PAGES} pages of {PAGE}: {before:.1} MiB before, {after:.1} MiB after");
}

#[tokio::main]
async fn main() {
    let names: Vec<String> = env::args().skip(1).filter(|name| name != "--bench").collect();
    let all = ["start", "away", "memory"];
    for name in &names {
        assert!(all.contains(&name.as_str()), "{name}: there are {all:?}");
    }
    for name in all.iter().filter(|name| names.is_empty() || names.iter().any(|named| named == *name)) {
        match *name {
            "start" => start().await,
            "away" => away().await,
            _ => memory().await,
        }
    }
}
