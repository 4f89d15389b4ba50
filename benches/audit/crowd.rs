//! The senders and the receivers of a trial.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hubbub_client::{Client, Config, Event, Violations};
use hubbub_protocol::{DEDUPE_WINDOW, Message, MessageId, Publish, RoomId, Seq};
use hubbub_testbed::ledger::{Breach, Delivery, Fate, Mark, Reading, Sent, Verdict};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{Instant, interval_at, sleep, sleep_until},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::world::World;

/// How long a receiver that leaves stays away, at most.
const LONGEST_ABSENCE: Duration = Duration::from_millis(1500);
/// How long a client that says goodbye waits for the answer.
const GOODBYE: Duration = Duration::from_millis(200);
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
    Talking,
    /// They hear what is still on its way.
    Silent,
    /// They say what they have not said yet, and end.
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
            let client =
                ledger.client(&format!("receiver {number}"), addresses(world, number, number % 3 == 0), rooms)?;
            let receiver =
                Receiver { number, client, ledger: Arc::clone(&ledger), instance: String::new(), stay: size.stay };
            tasks.push(AbortOnDropHandle::new(tracker.spawn(receiver.run(StdRng::from_rng(rng)))));
        }
        for number in 0..size.senders {
            let rooms = BTreeSet::from([number % size.rooms, rng.random_range(0..size.rooms)]);
            let client = ledger.client(&format!("sender {number}"), addresses(world, number, false), &rooms)?;
            let pace = Duration::from_secs_f64(f64::from(u32::try_from(size.senders)?) / f64::from(size.rate));
            let sender =
                Sender { number, client, ledger: Arc::clone(&ledger), rooms: rooms.into_iter().collect(), pace };
            tasks.push(AbortOnDropHandle::new(tracker.spawn(sender.run(StdRng::from_rng(rng)))));
        }
        let crowd = Self { ledger, tasks };
        let everyone = size.senders + size.receivers;
        ensure!(
            crowd.until(Duration::from_secs(30), |ledger| ledger.live.load(Ordering::Relaxed) >= everyone).await,
            "not everyone could connect",
        );
        crowd.ledger.phase.send_replace(Phase::Talking);
        Ok(crowd)
    }

    /// How many messages are acked, and how many are not settled.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let sent = self.ledger.sent.lock();
        (sent.acked(), sent.unsettled())
    }

    /// Bytes of the bodies from now on; the usual number if none is given.
    pub(crate) fn speak(&self, bytes: Option<usize>) {
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
    pub(crate) async fn verdict(mut self, settling: Duration, completing: Duration) -> (Verdict, Vec<String>) {
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
    fn client(&self, name: &str, addresses: Vec<String>, rooms: &BTreeSet<usize>) -> Result<Client> {
        let rooms = rooms.iter().filter_map(|room| self.rooms.get(*room).cloned()).collect();
        let mut config = Config::new(addresses, name.parse().context("the name of a client")?, rooms);
        config.remembered_messages = self.memory;
        config.backoff.cap = Duration::from_millis(500);
        Ok(Client::new(config))
    }

    fn room(&self, room: &RoomId) -> usize {
        self.rooms.iter().position(|known| known == room).unwrap_or(usize::MAX)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A client that publishes.
struct Sender {
    number: usize,
    client: Client,
    ledger: Arc<Ledger>,
    rooms: Vec<usize>,
    pace: Duration,
}

impl Sender {
    /// # Errors
    ///
    /// The server forbade it to come back.
    async fn run(mut self, mut rng: StdRng) -> Result<()> {
        let mut phases = self.ledger.phase.subscribe();
        let mut ticks = interval_at(Instant::now() + self.pace.mul_f64(rng.random()), self.pace);
        let mut lives = 0;
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Over {
                return Ok(());
            }
            tokio::select! {
                event = self.client.next_event() => match event {
                    Some(Event::Live) => {
                        lives += 1;
                        self.ledger.live.fetch_add(usize::from(lives == 1), Ordering::Relaxed);
                    }
                    Some(event) => self.note(event),
                    None => bail!("sender {}: the server forbade to come back", self.number),
                },
                _ = ticks.tick(), if phase == Phase::Talking => self.publish(&mut rng),
                Ok(()) = phases.changed() => ticks.reset(),
            }
        }
    }

    fn publish(&mut self, rng: &mut StdRng) {
        let Some(room) = self.rooms.get(rng.random_range(0..self.rooms.len())) else { return };
        let mark = self.ledger.sent.lock().send(self.number, *room).to_string();
        let body = format!("{mark} {}", "x".repeat(self.ledger.body_bytes.load(Ordering::Relaxed)));
        let name = self.ledger.rooms.get(*room).map(RoomId::as_str).unwrap_or_default();
        // A message that is no message stays unsettled, and is seen in the verdict.
        if let Ok(publish) = Publish::parse(&mark, name, &body) {
            self.client.send(publish);
        }
    }

    fn note(&self, event: Event) {
        match event {
            Event::Acked { id, seq, .. } => self.settle(&id, Fate::Acked(seq, self.ledger.now())),
            Event::Failed { id, .. } => self.settle(&id, Fate::Failed),
            _ => {}
        }
    }

    fn settle(&self, id: &MessageId, fate: Fate) {
        if let Ok(mark) = id.as_str().parse::<Mark>() {
            self.ledger.sent.lock().settle(mark, fate);
        }
    }
}

/// A client that listens, and leaves now and then.
struct Receiver {
    number: usize,
    client: Client,
    ledger: Arc<Ledger>,
    instance: String,
    stay: Duration,
}

impl Receiver {
    async fn run(mut self, mut rng: StdRng) -> Result<()> {
        let mut phases = self.ledger.phase.subscribe();
        let mut leaves_at = Instant::now() + self.stay(&mut rng);
        let mut lives = 0;
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Over {
                // What it found out of order makes no event.
                self.account();
                return Ok(());
            }
            tokio::select! {
                event = self.client.next_event() => match event {
                    Some(Event::Live) => {
                        lives += 1;
                        self.ledger.live.fetch_add(usize::from(lives == 1), Ordering::Relaxed);
                    }
                    Some(event) => self.note(event),
                    None => {
                        self.account();
                        self.reading(|reading, at| reading.ended(at, "the server forbade to come back".to_owned()));
                        return Ok(());
                    }
                },
                () = sleep_until(leaves_at), if phase == Phase::Talking && !self.stay.is_zero() => {
                    self.leave(&mut rng).await;
                    leaves_at = Instant::now() + self.stay(&mut rng);
                }
                Ok(()) = phases.changed() => leaves_at = Instant::now() + self.stay(&mut rng),
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected { instance, .. } => self.instance = instance,
            Event::Message(message) => self.hear(&message, |reading, delivery, elsewhere| {
                reading.deliver(delivery);
                if let Some(elsewhere) = elsewhere {
                    reading.displaced(delivery, elsewhere);
                }
            }),
            Event::Repeated(message) => self.hear(&message, Reading::repeat),
            Event::Reset { seq, reason } => {
                let circumstances = format!("{reason:?} on {}", self.instance);
                self.reading(|reading, at| reading.reset(seq, at, circumstances));
            }
            _ => {}
        }
    }

    /// Takes a message down, with another place where somebody has seen it.
    fn hear(&self, message: &Message, act: impl FnOnce(&mut Reading, Delivery<'_>, Option<Seq>)) {
        let Message { seq, was, record } = message;
        let room = self.ledger.room(&record.room);
        let Ok(mark) = record.id.as_str().parse::<Mark>() else { return };
        let elsewhere = was.is_none().then(|| self.ledger.sent.lock().saw(mark, *seq)).flatten();
        self.reading(|reading, at| {
            act(reading, Delivery { mark, room, seq: *seq, was: *was, at, instance: &self.instance }, elsewhere);
        });
    }

    /// What the client found on its own, once it is over.
    fn account(&self) {
        let Violations { reordered, .. } = self.client.violations();
        self.reading(|reading, _| reading.found(Breach::Reordered, reordered));
    }

    /// Half of the time without a goodbye. Some are away at any moment: they have to be told of what they miss.
    async fn leave(&mut self, rng: &mut StdRng) {
        self.reading(|reading, _| reading.leave());
        if rng.random() {
            self.client.cut();
        } else if let Some(connection) = self.client.detach() {
            let _how_it_ended = connection.close(GOODBYE).await;
        }
        sleep(LONGEST_ABSENCE.mul_f64(rng.random())).await;
        self.reading(Reading::come_back);
    }

    /// How long it stays: exponentially distributed.
    fn stay(&self, rng: &mut StdRng) -> Duration {
        self.stay.mul_f64(-rng.random_range(f64::MIN_POSITIVE..1.0).ln())
    }

    fn reading(&self, act: impl FnOnce(&mut Reading, Duration)) {
        if let Some(reading) = self.ledger.readings.get(self.number) {
            act(&mut reading.lock(), self.ledger.now());
        }
    }
}
