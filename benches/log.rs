//! How long a message takes into a log in a file, and how many fit into a second, beside a bare loop that appends to a file
//! and waits for the disk. Then how long an instance needs that starts with 100 000 events.
//!
//! All take turns, in the folder for temporary files (`TMPDIR`): the speed of a disk changes from minute to minute.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hubbub_lifecycle::Shutdown;
use hubbub_log::{
    Durability, File, Relay, RelayOptions, Share,
    ring::{Retention, Ring},
};
use hubbub_protocol::{GuestSecret, Record, RelayState, RoomId, User};
use hubbub_testbed::within;
use parking_lot::Mutex;
use tempfile::tempdir;
use tokio::{
    sync::oneshot,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};

const ROUNDS: usize = 5;
/// Length of the bodies, in bytes.
const BODY: usize = 200;
/// Length of one measurement.
const LENGTH: Duration = Duration::from_secs(3);
/// Publishers that each have one message under way.
const PUBLISHERS: usize = 256;
/// Events of the log with which an instance starts.
const EVENTS: u64 = 100_000;

/// A figure of each round.
#[derive(Debug, Default)]
struct Figures(Vec<f64>);

impl Figures {
    /// Median, lowest and highest.
    fn show(&mut self) -> String {
        self.0.sort_by(f64::total_cmp);
        let (median, lowest, highest) = (self.0[self.0.len() / 2], self.0[0], self.0[self.0.len() - 1]);
        format!("{median:.0} ({lowest:.0}..{highest:.0})")
    }
}

#[tokio::main]
async fn main() {
    let mut lines: Vec<(String, Figures)> = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = bare().await;
        for durability in [Durability::Full, Durability::Normal] {
            round.extend(log(durability).await);
        }
        for (n, (name, figure)) in round.into_iter().enumerate() {
            if lines.len() <= n {
                lines.push((name, Figures::default()));
            }
            lines[n].1.0.push(figure);
        }
    }
    lines.push((format!("start with {EVENTS} events, ms"), Figures(starts().await)));
    for (name, mut figures) in lines {
        println!("{name:<44}{}", figures.show());
    }
}

/// A record, appended to a file and brought to the disk, 20 times a second.
async fn bare() -> Vec<(String, f64)> {
    let folder = tempdir().unwrap();
    let mut file = fs::File::create(folder.path().join("bare")).unwrap();
    let (mut took, mut pace) = (Vec::new(), interval(Duration::from_millis(50)));
    let until = Instant::now() + LENGTH;
    while Instant::now() < until {
        pace.tick().await;
        let began = Instant::now();
        file = spawn_blocking(move || {
            file.write_all(&[b'x'; BODY]).and_then(|()| file.sync_data()).unwrap();
            file
        })
        .await
        .unwrap();
        took.push(began.elapsed());
    }
    quantiles("append and fdatasync, 20/s", took)
}

/// The log in a file, at two rates and with as much as it takes.
async fn log(durability: Durability) -> Vec<(String, f64)> {
    let folder = tempdir().unwrap();
    let instance = Instance::start(&folder.path().join("log.db"), durability).await;
    let mut figures = Vec::new();
    for rate in [20, 2000] {
        figures.extend(quantiles(&format!("{durability:?}, {rate}/s"), instance.paced(rate).await));
    }
    figures.push((format!("{durability:?}, {PUBLISHERS} publishers, messages/s"), instance.saturated().await));
    let wal = fs::metadata(folder.path().join("log.db-wal")).map_or(0, |wal| wal.len() >> 20);
    figures.push((format!("{durability:?}, write-ahead log, MiB"), f64::from(u32::try_from(wal).unwrap())));
    instance.end().await;
    figures
}

/// Milliseconds from opening the file to the state live.
async fn starts() -> Vec<f64> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log.db");
    let instance = Instance::start(&path, Durability::Normal).await;
    instance.publish_all(EVENTS).await;
    instance.end().await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let instance = Instance::start(&path, Durability::Full).await;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        instance.end().await;
    }
    took
}

fn quantiles(name: &str, mut took: Vec<Duration>) -> Vec<(String, f64)> {
    took.sort();
    let quantile = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_secs_f64() * 1e6;
    [50, 99].map(|part| (format!("{name}, p{part} in µs"), quantile(part))).to_vec()
}

/// An instance without clients.
struct Instance {
    relay: Relay,
    shutdown: Shutdown,
    user: User,
    next: AtomicU64,
}

impl Instance {
    async fn start(path: &Path, durability: Durability) -> Self {
        let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
        let file = File::open(path, durability).await.unwrap();
        let relay = Relay::start(file, ring, RelayOptions::default(), &shutdown);
        within(relay.state().wait_for(|state| *state == RelayState::Live)).await.unwrap();
        let user = User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() };
        Self { relay, shutdown, user, next: AtomicU64::new(0) }
    }

    /// Publishes one message. `placed` runs when it is in the log.
    fn publish(&self, share: usize, placed: impl FnOnce() + Send + 'static) {
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string().parse().unwrap();
        let record = Record { room: RoomId::lobby(), id, from: self.user.clone(), body: "x".repeat(BODY), at: 0 };
        self.relay.publish(record, Share::of(&share), |_| placed()).unwrap();
    }

    /// How long each message took.
    async fn paced(&self, rate: u32) -> Vec<Duration> {
        let took = Arc::new(Mutex::new(Vec::new()));
        let mut pace = interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + LENGTH;
        while Instant::now() < until {
            pace.tick().await;
            let (began, took) = (Instant::now(), Arc::clone(&took));
            self.publish(0, move || took.lock().push(began.elapsed()));
        }
        self.settle().await;
        std::mem::take(&mut *took.lock())
    }

    async fn settle(&self) {
        while self.relay.backlog() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Messages a second.
    async fn saturated(&self) -> f64 {
        let (began, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let until = began + LENGTH;
        let publisher = async |share: usize| {
            while Instant::now() < until {
                let (placed, wait) = oneshot::channel();
                self.publish(share, move || placed.send(()).unwrap());
                wait.await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        futures_util::future::join_all((0..PUBLISHERS).map(publisher)).await;
        f64::from(u32::try_from(count.load(Ordering::Relaxed)).unwrap()) / began.elapsed().as_secs_f64()
    }

    async fn publish_all(&self, messages: u64) {
        for n in 0..messages {
            if n.is_multiple_of(2000) {
                self.settle().await;
            }
            self.publish(0, || ());
        }
        self.settle().await;
    }

    async fn end(self) {
        assert_eq!(self.relay.close(Duration::from_secs(5)).await, 0);
        assert_eq!(self.shutdown.finish(Duration::from_secs(5)).await, Ok(()));
    }
}
