//! How many messages a second two instances bring through Redis to each other, beside the same script with one message a
//! call and one call in flight.
//!
//! The two ways take turns. A round ends when both instances have every message: either nothing is lost, or no figure is
//! given.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join;
use hubbub_lifecycle::{SecretSource, Shutdown};
use hubbub_log::{
    AppendOutcome, Backend, Fence, LogBounds, Redis, RedisConfig, Relay, RelayOptions, Share, Submission, SyncRequest,
    TlsFiles,
    ring::{Audience, Retention, Ring},
};
use hubbub_protocol::{GuestSecret, Record, RelayState, RoomId, User};
use hubbub_testbed::{Redis as Server, unique, within};
use tokio::sync::Semaphore;

const ROUNDS: usize = 5;
/// Length of the bodies, in bytes.
const BODY: usize = 200;
/// Publishes of an instance that wait for their place at a time.
const IN_FLIGHT: usize = 4096;
/// Messages that the log keeps.
const BOUNDS: LogBounds = LogBounds { entries: 100_000, unrecorded: None };
/// Entries that one look at the ring takes.
const LOOK: usize = 1024;

/// How messages get into the log.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One a call, one call in flight.
    Singly,
    /// As the relay does it.
    Gathered,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Singly => "one message a call",
            Self::Gathered => "as they gather",
        }
    }

    /// Messages in a round.
    const fn messages(self) -> u32 {
        match self {
            Self::Singly => 10_000,
            Self::Gathered => 400_000,
        }
    }

    async fn send(self, [left, right]: [&Instance; 2]) {
        match self {
            Self::Singly => left.append(self.messages()).await,
            Self::Gathered => {
                let half = self.messages() / 2;
                join(left.publish(half), right.publish(half)).await;
            }
        }
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// Of both instances together.
    messages_a_second: f64,
    /// CPU time of Redis, in µs.
    redis_a_message: f64,
    /// CPU time of Redis, in per cent of a processor.
    redis_percent: f64,
}

#[tokio::main]
async fn main() {
    let redis = Server::start().await;
    let mut outcomes = Vec::new();
    println!("{:<20}{:>12}{:>18}{:>12}", "", "messages/s", "Redis: µs each", "% of a CPU");
    for _ in 0..ROUNDS {
        outcomes.push([round(&redis, Way::Singly).await, round(&redis, Way::Gathered).await]);
    }
    let median = |figure: fn(&[Outcome; 2]) -> f64| {
        let mut figures: Vec<_> = outcomes.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(ROUNDS / 2).copied().unwrap_or(f64::NAN)
    };
    let ratio = median(|[singly, gathered]| gathered.messages_a_second / singly.messages_a_second);
    println!("{:.0} a second, {ratio:.1} times as many (medians)", median(|[_, gathered]| gathered.messages_a_second));
}

/// Both instances receive every message.
async fn round(redis: &Server, way: Way) -> Outcome {
    let url = SecretSource::Value(redis.url().parse().unwrap());
    let config = RedisConfig { url, prefix: unique("relay"), tls: TlsFiles::default() };
    let (left, right) = (Instance::start(&config).await, Instance::start(&config).await);
    let (cpu, began) = (cpu_seconds(redis).await, Instant::now());
    let receive = join(left.receive(way.messages()), right.receive(way.messages()));
    join(way.send([&left, &right]), receive).await;
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(redis).await - cpu);
    left.end().await;
    right.end().await;
    let messages = f64::from(way.messages());
    let outcome = Outcome {
        messages_a_second: messages / took,
        redis_a_message: cpu * 1e6 / messages,
        redis_percent: cpu / took * 100.0,
    };
    let Outcome { messages_a_second, redis_a_message, redis_percent } = outcome;
    println!("{:<20}{messages_a_second:>12.0}{redis_a_message:>18.2}{redis_percent:>12.0}", way.name());
    outcome
}

/// CPU time that Redis has used.
async fn cpu_seconds(redis: &Server) -> f64 {
    let lines = redis.command(&["INFO", "cpu"]).await;
    let of = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap();
    of("used_cpu_user:") + of("used_cpu_sys:")
}

/// An instance without clients.
struct Instance {
    log: Redis,
    relay: Relay,
    ring: Arc<Ring>,
    shutdown: Shutdown,
    room: RoomId,
    user: User,
}

impl Instance {
    async fn start(config: &RedisConfig) -> Self {
        let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
        let log = Redis::connect(config).unwrap();
        let relay =
            Relay::start(Redis::connect(config).unwrap(), Arc::clone(&ring), RelayOptions::default(), &shutdown);
        within(relay.state().wait_for(|state| *state == RelayState::Live)).await.unwrap();
        let user = User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() };
        Self { log, relay, ring, shutdown, room: RoomId::lobby(), user }
    }

    fn record(&self, n: u32) -> Record {
        let (room, from) = (self.room.clone(), self.user.clone());
        Record { room, id: n.to_string().parse().unwrap(), from, body: "x".repeat(BODY), at: 0 }
    }

    async fn append(&self, messages: u32) {
        let position = SyncRequest { after: self.ring.last(), low: None, floor: 0, limit: 0 };
        let snapshot = self.log.sync(position).await.unwrap();
        let known = Fence { epoch: snapshot.base, last: snapshot.base };
        for n in 0..messages {
            let submission = Submission::new(serde_json::to_vec(&self.record(n)).unwrap(), 0, 0).unwrap();
            let receipt = self.log.append(known, BOUNDS, &[submission]).await.unwrap();
            assert!(matches!(receipt, AppendOutcome::Placed(places) if places.len() == 1), "fenced");
        }
    }

    async fn publish(&self, messages: u32) {
        let turns = Arc::new(Semaphore::new(IN_FLIGHT));
        for n in 0..messages {
            let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
            self.relay.publish(self.record(n), Share::of(&self.user.id), |_| drop(turn)).unwrap();
        }
    }

    /// Walks the ring until so many messages were received.
    async fn receive(&self, messages: u32) {
        let (mut received, mut cursor, mut tip) = (0, 0, self.ring.watch());
        while received < messages {
            let entries = self.ring.run(cursor, LOOK).unwrap();
            for entry in &entries {
                cursor = entry.seq;
                received += u32::from(matches!(entry.audience, Audience::Room(_)));
            }
            if entries.is_empty() {
                within(tip.changed()).await.unwrap();
            }
        }
    }

    async fn end(self) {
        assert_eq!(self.relay.close(Duration::from_secs(5)).await, 0);
        assert_eq!(self.shutdown.finish(Duration::from_secs(5)).await, Ok(()));
    }
}
