//! How fast the database takes the batches of a recorder, and gives pages.
//!
//! `cargo bench -p hubbub-store --bench history -- ENGINE MESSAGES`: `sqlite` or `postgres`, and how many messages there
//! are when pages are read. The Postgres is one of its own, on this machine, with `fsync` on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::{
    env, fs,
    time::{Duration, Instant},
};

use hubbub_messenger::{
    journal::{Batch, Cursor, Journal, Recorded},
    message::{Archive, Message, PageRange},
};
use hubbub_protocol::{RoomId, Seq, User};
use hubbub_store::{Database, DatabaseOptions, DatabaseUrl};
use hubbub_testbed::{Postgres, scratch};
use rand::random_range;

/// The log that is recorded.
const LOG: &str = "log";
const ROOMS: u64 = 20_000;
const PEOPLE: u64 = 5_000;
/// Batches of one measurement.
const ROUND: u64 = 20;
const ROUNDS: usize = 5;
const PAGES: usize = 5_000;
const PAGE: usize = 50;

/// One tick of the processor's time in `/proc`.
const TICK: Duration = Duration::from_millis(10);

/// A database, and the process that does its work beside this one.
struct World {
    database: Database,
    url: DatabaseUrl,
    server: Option<Postgres>,
    cursor: Cursor,
}

impl World {
    async fn new(engine: &str) -> Self {
        let server = if engine == "postgres" { Some(Postgres::durable().await) } else { None };
        let url: DatabaseUrl = match &server {
            Some(server) => server.database().await.parse().unwrap(),
            None => DatabaseUrl::file(scratch("bench").join("hubbub.db")),
        };
        let options = DatabaseOptions { statement_timeout: Duration::from_mins(1), ..DatabaseOptions::default() };
        let database = Database::open(&url, options).await.unwrap();
        assert!(database.begin(LOG).await.unwrap());
        Self { database, url, server, cursor: Cursor { seq: 0, base: 0 } }
    }

    /// The processor's time that was used so far, here and by the server.
    fn used(&self) -> Duration {
        let mut ticks = ticks("self");
        if let Some(server) = &self.server {
            let pid = server.pid();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            ticks += children.split_whitespace().map(self::ticks).sum::<u32>();
        }
        TICK * ticks
    }

    /// Batches that follow each other.
    fn batches(&mut self, size: u64) -> Vec<Batch> {
        let batch = |_| {
            let messages = (1..=size).map(|n| message(self.cursor.seq + n)).collect();
            let from = self.cursor.clone();
            self.cursor.seq += size;
            Batch {
                from,
                to: self.cursor.clone(),
                messages,
                dead_letters: Vec::new(),
                gaps: Vec::new(),
                met: Vec::new(),
            }
        };
        (0..ROUND).map(batch).collect()
    }

    async fn record(&self, batches: &[Batch]) {
        for batch in batches {
            let recorded = self.database.record(LOG, batch).await.unwrap();
            assert!(matches!(recorded, Recorded::Committed { repeated: 0, .. }));
        }
    }

    /// Messages a second, and the processor's time of one, in several rounds.
    async fn measure_batches(&mut self, size: u64) {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let batches = self.batches(size);
            let count = f64::from(u32::try_from(ROUND * size).unwrap());
            let (started, used) = (Instant::now(), self.used());
            self.record(&batches).await;
            // The first one fills caches and the table of rooms.
            if round > 0 {
                rates.push(count / started.elapsed().as_secs_f64());
                costs.push(self.used().saturating_sub(used).as_secs_f64() / count * 1e6);
            }
        }
        let ([least, rate, most], [_, cost, dearest]) = (spread(rates), spread(costs));
        println!(
            "batches of {size}: {rate:.0} messages/s ({least:.0} to {most:.0}), {cost:.1} us each (at most {dearest:.1})"
        );
    }

    async fn measure_pages(&self, what: &str) {
        let mut times = Vec::with_capacity(PAGES);
        for _ in 0..PAGES {
            let before = if random_range(0..2) == 0 { None } else { Some(random_range(1..=self.cursor.seq)) };
            let (room, range) = (room(random_range(0..ROOMS)), PageRange { before, after: None, limit: PAGE });
            let started = Instant::now();
            assert!(self.database.page(&room, range).await.unwrap().messages.len() <= PAGE);
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |per_mille: usize| times.get(times.len() * per_mille / 1000).copied().unwrap_or_default();
        println!("{what}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", at(500), at(990), at(999));
    }
}

fn ticks(process: &str) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u32>().unwrap()).sum()
}

/// The lowest, the middle and the highest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0, values.len() / 2, values.len() - 1].map(|n| values.get(n).copied().unwrap_or_default())
}

fn room(number: u64) -> RoomId {
    format!("room-{number:05}").parse().unwrap()
}

fn message(place: Seq) -> Message {
    let person = format!("AAAAAAAAAAAAAAA{:07}", random_range(0..PEOPLE));
    Message {
        place,
        room: room(random_range(0..ROOMS)),
        id: format!("{:032x}", rand::random::<u128>()).parse().unwrap(),
        from: User { id: serde_json::from_value(person.into()).unwrap(), name: "Someone".parse().unwrap() },
        at: 1_700_000_000_000 + place,
        body: "What was said, in two hundred bytes. ".repeat(6).get(..200).unwrap().to_owned(),
        told: None,
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [engine, messages] = &*arguments else { panic!("`-- sqlite 1000000` or `-- postgres 1000000`") };
    let messages: u64 = messages.parse().unwrap();
    let mut world = World::new(engine).await;
    println!("{engine}, {ROOMS} rooms");
    for size in [500, 1000] {
        world.measure_batches(size).await;
    }
    while world.cursor.seq < messages {
        let batches = world.batches(2000);
        world.record(&batches).await;
    }
    println!("with {} messages:", world.cursor.seq);
    for size in [500, 1000] {
        world.measure_batches(size).await;
    }
    world.measure_pages("pages of 50, at first").await;
    world.measure_pages("pages of 50").await;
    let url = world.url.clone();
    world.database.close().await;
    let started = Instant::now();
    let again = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    assert_eq!(again.recording().await.unwrap().unwrap().cursor.seq, world.cursor.seq);
    println!("opened again: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    again.close().await;
}
