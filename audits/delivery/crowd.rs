//! The senders and the receivers of a trial.

mod receiver;
mod sender;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hubbub_client::Config;
use hubbub_protocol::{DEDUPE_WINDOW, RoomId};
use hubbub_testbed::{
    TestClient,
    ledger::{Kept, Reading, Sent, Verdict},
};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use self::{
    receiver::{Receiver, Visits},
    sender::{Publishes, Sender},
};
use crate::world::World;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of a body, unless a fault needs more.
const BODY_BYTES: usize = 100;

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
    pub(crate) rooms: usize,
    /// Messages a second, of all senders together.
    pub(crate) rate: u32,
    /// How long a receiver stays connected, on average; for ever if this is 0.
    pub(crate) stay: Duration,
}

/// What the clients do now, beside what the protocol asks of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// They only connect.
    Gathering,
    /// Senders send, receivers come and go.
    Publishing,
    /// They receive what is still on its way.
    Silent,
    /// They end.
    Over,
}

/// What the clients share.
struct Ledger {
    started: Instant,
    rooms: Vec<RoomId>,
    /// Messages that a client remembers: those that may come again.
    memory: usize,
    sent: Mutex<Sent>,
    readings: Vec<Mutex<Reading>>,
    phase: watch::Sender<Phase>,
    body_bytes: AtomicUsize,
    /// Clients that have been live.
    live: AtomicUsize,
}

/// All clients, each in a task of its own.
pub(crate) struct Crowd {
    ledger: Arc<Ledger>,
    tasks: Vec<AbortOnDropHandle<Result<()>>>,
}

impl Crowd {
    /// Connects all of them; returns when everyone has been live.
    pub(crate) async fn gather(size: Size, world: &World, rng: &mut StdRng) -> Result<Self> {
        let seats: Vec<BTreeSet<usize>> = (0..size.receivers).map(|_| some(size.rooms, rng)).collect();
        let ledger = Arc::new(Ledger {
            started: Instant::now() - world.now(),
            rooms: (0..size.rooms).map(|_| hubbub_testbed::room()).collect(),
            memory: usize::try_from(DEDUPE_WINDOW.as_secs() * u64::from(size.rate))?,
            sent: Mutex::new(Sent::by(size.senders)),
            readings: (0..)
                .zip(&seats)
                .map(|(n, rooms)| Mutex::new(Reading::of(n, rooms.clone(), size.senders)))
                .collect(),
            phase: watch::Sender::new(Phase::Gathering),
            body_bytes: AtomicUsize::new(BODY_BYTES),
            live: AtomicUsize::new(0),
        });
        let tracker = TaskTracker::new();
        let mut tasks = Vec::new();
        for (number, rooms) in seats.iter().enumerate() {
            let addresses = addresses(world, number, number % 3 == 0);
            let config = ledger.config(&format!("receiver {number}"), addresses, rooms)?;
            let client = TestClient::observed(config, Receiver::new(number, Arc::clone(&ledger)));
            let visits = Visits { number, client, ledger: Arc::clone(&ledger), stay: size.stay };
            tasks.push(AbortOnDropHandle::new(tracker.spawn(visits.run(StdRng::from_rng(rng)))));
        }
        for number in 0..size.senders {
            let rooms = BTreeSet::from([number % size.rooms, rng.random_range(0..size.rooms)]);
            let config = ledger.config(&format!("sender {number}"), addresses(world, number, false), &rooms)?;
            let client = TestClient::observed(config, Sender { ledger: Arc::clone(&ledger), was_live: false });
            let pace = Duration::from_secs_f64(f64::from(u32::try_from(size.senders)?) / f64::from(size.rate));
            let publishes =
                Publishes { number, client, ledger: Arc::clone(&ledger), rooms: rooms.into_iter().collect(), pace };
            tasks.push(AbortOnDropHandle::new(tracker.spawn(publishes.run(StdRng::from_rng(rng)))));
        }
        let crowd = Self { ledger, tasks };
        let everyone = size.senders + size.receivers;
        ensure!(
            crowd.until(Duration::from_secs(30), |ledger| ledger.live.load(Ordering::Relaxed) >= everyone).await,
            "not everyone could connect",
        );
        crowd.ledger.phase.send_replace(Phase::Publishing);
        Ok(crowd)
    }

    /// How many messages are acked, and how many are not settled.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let sent = self.ledger.sent.lock();
        (sent.acked(), sent.unsettled())
    }

    /// Bytes of the bodies from now on; the usual number if none is given.
    pub(crate) fn set_body_bytes(&self, bytes: Option<usize>) {
        self.ledger.body_bytes.store(bytes.unwrap_or(BODY_BYTES), Ordering::Relaxed);
    }

    /// How long it takes until everyone has a message that is sent from now on.
    pub(crate) async fn recovery(&self, limit: Duration) -> Option<Duration> {
        let asked = Instant::now();
        let next = self.ledger.sent.lock().next();
        let recovered =
            self.until(limit, |ledger| ledger.readings.iter().all(|reading| reading.lock().has_news(&next)));
        recovered.await.then(|| asked.elapsed())
    }

    /// Stops the senders, waits until everything is settled and delivered, but not for ever, and stops the receivers.
    /// Returns what else went wrong, too.
    pub(crate) async fn verdict(&mut self, settling: Duration, completing: Duration) -> (Verdict, Vec<String>) {
        self.ledger.phase.send_replace(Phase::Silent);
        self.until(settling, |ledger| ledger.sent.lock().unsettled() == 0).await;
        let complete = |ledger: &Ledger| {
            let sent = ledger.sent.lock();
            ledger.readings.iter().all(|reading| reading.lock().missing(&sent) == 0)
        };
        self.until(completing, complete).await;
        // What comes once too often may come after what was awaited.
        sleep(Duration::from_millis(500)).await;
        self.ledger.phase.send_replace(Phase::Over);
        let mut troubles = Vec::new();
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await.context("a client").flatten() {
                troubles.push(format!("{error:#}"));
            }
        }
        let sent = self.ledger.sent.lock();
        let readings: Vec<_> = self.ledger.readings.iter().map(Mutex::lock).collect();
        (Verdict::on(&sent, readings.iter().map(|reading| &**reading)), troubles)
    }

    /// The rooms, by number, and what a history must have of them.
    pub(crate) fn kept(&self) -> (Vec<RoomId>, Kept) {
        (self.ledger.rooms.clone(), self.ledger.sent.lock().kept())
    }

    async fn until(&self, limit: Duration, holds: impl Fn(&Ledger) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !holds(&self.ledger) {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }
}

/// The way to each instance, beginning with another one for each client.
fn addresses(world: &World, number: usize, slow: bool) -> Vec<String> {
    let fronts = world.instances.iter().map(|instance| if slow { &instance.slow_front } else { &instance.front });
    let mut addresses: Vec<String> = fronts.map(|front| front.address().to_owned()).collect();
    let first = number % addresses.len().max(1);
    addresses.rotate_left(first);
    addresses
}

/// Half of the rooms.
fn some(rooms: usize, rng: &mut StdRng) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < rooms.div_ceil(2) {
        chosen.insert(rng.random_range(0..rooms));
    }
    chosen
}

impl Ledger {
    fn config(&self, name: &str, addresses: Vec<String>, rooms: &BTreeSet<usize>) -> Result<Config> {
        let rooms = rooms.iter().filter_map(|room| self.rooms.get(*room).cloned()).collect();
        let mut config = Config::new(addresses, name.parse().context("the name of a client")?, rooms);
        config.remembered_messages = self.memory;
        config.backoff.cap = Duration::from_millis(500);
        Ok(config)
    }

    fn room(&self, room: &RoomId) -> usize {
        self.rooms.iter().position(|known| known == room).unwrap_or(usize::MAX)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts a client when it is live for the first time.
    fn count_live(&self, was_live: &mut bool) {
        self.live.fetch_add(usize::from(!*was_live), Ordering::Relaxed);
        *was_live = true;
    }

    fn reading(&self, number: usize, act: impl FnOnce(&mut Reading, Duration)) {
        if let Some(reading) = self.readings.get(number) {
            act(&mut reading.lock(), self.now());
        }
    }
}
