//! A search over interleavings. Recorders, the one who restores the database, the log and the database take turns at
//! random: calls fail before or after they are done, recorders are dropped at any await, the log loses its tail or its
//! clock or everything, the database is set back to a backup.
//!
//! Services write events into the outbox, and append them at once, late, twice or never.
//!
//! In the end everything works again. Then each message of the log is in the database once, at its first place; or a gap
//! says why not, which only a restored database may cause. The outbox is empty, and no row has left it whose event never
//! reached the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use hubbub_log::{Kind, LogEntry};
use hubbub_protocol::Seq;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::unconstrained, time::advance};
use tokio_util::sync::CancellationToken;

use super::{
    database::{Database, Flaw, POISON, Tables, Writer},
    log::{IN_INBOX, IN_ROOM, Log, Reader, Spout, State, record},
    nap::{Faults, Nap},
};
use crate::{RecorderOptions, RecordingState, report::Report, restored, task::Task};

const STEPS: usize = 2500;
const CASES: u64 = 200;
/// Entries that the log keeps when they are recorded.
const RETENTION: usize = 30;

/// What may happen in a case.
#[expect(clippy::struct_excessive_bools, reason = "each may happen or not")]
#[derive(Clone, Copy, Debug)]
struct Flavor {
    recorders: usize,
    ignores_lease: bool,
    loses: bool,
    clock_goes_back: bool,
    restores: bool,
    empties: bool,
    poison: bool,
    /// Of four events of services that a recorder appends, so many are dropped.
    drops: u32,
    faults: Faults,
}

impl Flavor {
    fn random(rng: &mut StdRng) -> Self {
        let errors = rng.random_range(0..3) * 30;
        Self {
            recorders: rng.random_range(1..=2),
            ignores_lease: rng.random(),
            loses: rng.random(),
            clock_goes_back: rng.random_range(0..4) == 0,
            restores: rng.random_range(0..3) == 0,
            empties: rng.random_range(0..6) == 0,
            poison: rng.random(),
            drops: rng.random_range(0..4),
            faults: Faults { unheard: errors, unanswered: errors, naps: rng.random_range(0..3) },
        }
    }

    /// Whether a recorder may ask for `restored`, which leaves gaps. Without a restored database only two recorders that
    /// ignore the lease may: one has turned back to what the log counted as recorded, and then the other, which does not
    /// know it yet, tells the log how far it was before.
    const fn needs_help(&self) -> bool {
        self.restores || (self.ignores_lease && self.recorders > 1)
    }
}

/// How often something happened, over all cases.
#[derive(Debug, Default)]
struct Tally {
    messages: usize,
    moved: u32,
    skips: u32,
    dead_letters: usize,
    gaps: usize,
    kills: u32,
    losses: u32,
    restores: u32,
    operations: u32,
    /// Events of services, and how often a recorder appended one.
    told: usize,
    repeated: u32,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

struct World {
    rng: StdRng,
    flavor: Flavor,
    nap: Nap,
    log: Arc<Mutex<Log>>,
    database: Arc<Mutex<Database>>,
    recorders: Vec<Option<(Running, watch::Receiver<RecordingState>)>>,
    operator: Option<Running>,
    published: u32,
    poisoned: BTreeSet<u32>,
    /// What the log lost: message, last `seq`, place.
    lost: Vec<(u32, Seq, Seq)>,
    snapshots: Vec<State>,
    backups: Vec<Tables>,
    empties: u32,
    /// Of those that services have told.
    kinds: BTreeMap<u32, Kind>,
    /// Events of services that are on their way into the log.
    told: Vec<u32>,
    /// How many events were appended again.
    repeated: Arc<Mutex<u32>>,
    tally: Tally,
}

/// Message, `seq` and place.
fn said(entry: &LogEntry) -> Option<(u32, Seq, Seq)> {
    Some((Log::message_of(entry)?, entry.seq(), entry.place()))
}

fn poll(running: &mut Running) -> bool {
    running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

impl World {
    fn new(seed: u64, flaw: Flaw) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (flavor, nap) = (Flavor::random(&mut rng), Nap::new(seed));
        nap.set(flavor.faults);
        let mut log = Log::new(if flavor.clock_goes_back { 20 * RETENTION } else { RETENTION });
        log.ignores_lease = flavor.ignores_lease;
        Self {
            rng,
            flavor,
            nap,
            log: Arc::new(Mutex::new(log)),
            database: Arc::new(Mutex::new(Database::new(flaw))),
            recorders: (0..flavor.recorders).map(|_| None).collect(),
            operator: None,
            published: 0,
            poisoned: BTreeSet::new(),
            lost: Vec::new(),
            snapshots: Vec::new(),
            backups: Vec::new(),
            empties: 0,
            kinds: BTreeMap::new(),
            told: Vec::new(),
            repeated: Arc::default(),
            tally: Tally::default(),
        }
    }

    fn reader(&self, who: usize) -> Reader {
        Reader { log: Arc::clone(&self.log), who, nap: self.nap.clone() }
    }

    fn writer(&self) -> Writer {
        Writer { database: Arc::clone(&self.database), nap: self.nap.clone() }
    }

    fn once_in(&mut self, times: u32) -> bool {
        self.rng.random_range(0..times) == 0
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..1000) {
            0..680 => self.poll_one(),
            680..700 => self.change(),
            700..720 => self.tell(),
            720..780 => self.publish(),
            780..880 => advance(Duration::from_millis(self.rng.random_range(1..700))).await,
            880..900 => self.kill(),
            900..915 => self.repeat(),
            915..955 => self.offer_again(),
            955..970 => self.operate(),
            970..980 => self.database.lock().most = self.rng.random_range(1..6),
            980..988 if self.flavor.loses => self.lose_tail(),
            988..991 if self.flavor.restores => self.restore(),
            991 if self.flavor.empties && self.empties < 2 => self.empty(),
            992 => self.database.lock().is_away = true,
            _ => {
                let mut database = self.database.lock();
                (database.is_away, database.most) = (false, usize::MAX);
            }
        }
    }

    fn poll_one(&mut self) {
        let who = self.rng.random_range(0..=self.recorders.len());
        if who < self.recorders.len() { self.poll_recorder(who) } else { self.poll_operator() }
    }

    fn poll_recorder(&mut self, who: usize) {
        match &mut self.recorders[who] {
            Some((running, _)) => {
                if poll(running) {
                    self.recorders[who] = None;
                }
            }
            None => self.start(who),
        }
    }

    fn poll_operator(&mut self) {
        if self.operator.as_mut().is_some_and(poll) {
            self.operator = None;
            self.tally.operations += 1;
        }
    }

    fn start(&mut self, who: usize) {
        let (report, token) = (Report::new(), CancellationToken::new());
        let state = report.state();
        let (journal, source) = (Arc::new(self.writer()), Arc::new(self.reader(who)));
        let outlet = Spout { log: Arc::clone(&self.log), drops: self.flavor.drops, taken: Arc::clone(&self.repeated) };
        let seed = self.rng.random();
        let task = Task::new(journal, source, Some(Arc::new(outlet)), RecorderOptions::default(), report, seed);
        self.recorders[who] = Some((Box::pin(unconstrained(async move { task.run(&token).await })), state));
    }

    fn kill(&mut self) {
        let who = self.rng.random_range(0..=self.recorders.len());
        match self.recorders.get_mut(who) {
            Some(recorder) => *recorder = None,
            None => self.operator = None,
        }
        self.tally.kills += 1;
    }

    /// Whoever restored the database runs the command when a recorder asks for it.
    fn operate(&mut self) {
        let mut states = self.recorders.iter().flatten().map(|(_, state)| *state.borrow());
        let is_asked = states.any(|state| state == RecordingState::WentBack);
        if is_asked && self.operator.is_none() && self.flavor.needs_help() {
            let (journal, source) = (self.writer(), self.reader(usize::MAX));
            self.operator = Some(Box::pin(unconstrained(async move { drop(restored(&journal, &source).await) })));
        }
    }

    fn publish(&mut self) {
        self.remember();
        for _ in 0..self.rng.random_range(1..5) {
            self.published += 1;
            let message = self.published;
            if self.flavor.poison && self.once_in(25) {
                self.poisoned.insert(message);
            }
            self.append(message, 0, None);
        }
    }

    /// A service commits a change with the event that tells of it. Then it is killed, or it appends the event, at once or
    /// late.
    fn change(&mut self) {
        if self.database.lock().is_away {
            return;
        }
        self.published += 1;
        let (message, name) = (self.published, if self.rng.random() { IN_ROOM } else { IN_INBOX });
        self.database.lock().tell(&format!("m{message}"), name, record(message, "hi", None));
        let kind = Kind::named(name).unwrap();
        self.kinds.insert(message, kind);
        match self.rng.random_range(0..3) {
            0 => (),
            1 => self.told.push(message),
            _ => self.append(message, 0, None),
        }
    }

    /// An event reaches the log late, and sometimes comes again.
    fn tell(&mut self) {
        if self.told.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.told.len());
        let message = if self.rng.random() { self.told.remove(at) } else { self.told[at] };
        self.append(message, 0, None);
    }

    fn append(&mut self, message: u32, was: Seq, first: Option<Seq>) {
        let body = if self.poisoned.contains(&message) { POISON } else { "hi" };
        let kind = self.kinds.get(&message).cloned().unwrap_or(Kind::Message);
        self.log.lock().append(kind, record(message, body, first), was);
    }

    /// A message is published again after the dedupe window.
    fn repeat(&mut self) {
        if self.published > 0 {
            let message = self.rng.random_range(1..=self.published);
            self.append(message, 0, None);
        }
    }

    /// An instance appends again what the log has lost.
    fn offer_again(&mut self) {
        if !self.lost.is_empty() {
            let (message, was, first) = self.lost.remove(0);
            let is_written = was != first || self.rng.random();
            self.append(message, was, is_written.then_some(first));
        }
    }

    /// Keeps a state of the log to which it may fall back, and a backup of the database.
    fn remember(&mut self) {
        if self.once_in(3) {
            self.snapshots.push(self.log.lock().state.clone());
            let excess = self.snapshots.len().saturating_sub(6);
            self.snapshots.drain(..excess);
        }
        if self.once_in(8) {
            self.backups.push(self.database.lock().tables.clone());
            let excess = self.backups.len().saturating_sub(4);
            self.backups.drain(..excess);
        }
    }

    fn lose_tail(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.snapshots.len());
        let state = self.snapshots[at].clone();
        self.snapshots.truncate(at + 1);
        self.losses_of(&state);
        let highest = self.log.lock().clock;
        let clock = if self.flavor.clock_goes_back && self.rng.random() {
            self.rng.random_range(state.seq..highest + 10)
        } else {
            highest + 10
        };
        let mut log = self.log.lock();
        log.restart(state);
        log.clock = clock;
        self.tally.losses += 1;
    }

    fn losses_of(&mut self, kept: &State) {
        let log = self.log.lock();
        let lost =
            log.state.entries.iter().filter(|entry| !kept.entries.iter().any(|other| other.seq() == entry.seq()));
        let lost = lost.filter_map(said);
        self.lost.extend(lost);
    }

    fn empty(&mut self) {
        self.empties += 1;
        let state = State::new(&format!("log-{}", self.empties + 1));
        self.losses_of(&state);
        self.snapshots.clear();
        self.log.lock().restart(state);
    }

    fn restore(&mut self) {
        if let Some(at) = self.backups.len().checked_sub(1) {
            let at = self.rng.random_range(0..=at);
            self.backups.truncate(at + 1);
            self.database.lock().tables = self.backups[at].clone();
            self.tally.restores += 1;
        }
    }

    /// Everything works again, and time passes.
    async fn settle(&mut self) {
        self.nap.set(Faults::default());
        {
            let mut database = self.database.lock();
            (database.is_away, database.most) = (false, usize::MAX);
        }
        let mut quiet = 0;
        for _ in 0..600 {
            for who in 0..self.recorders.len() {
                for _ in 0..60 {
                    self.poll_recorder(who);
                }
            }
            self.operate();
            self.poll_operator();
            advance(Duration::from_millis(500)).await;
            quiet = if self.is_recorded() && self.operator.is_none() { quiet + 1 } else { 0 };
            if quiet == 5 {
                return;
            }
        }
    }

    fn is_recorded(&self) -> bool {
        let (log, database) = (self.log.lock(), self.database.lock());
        let is_same = database.log_id() == Some(&log.state.log_id);
        is_same
            && database.tables.outbox.is_empty()
            && database.cursor().is_some_and(|cursor| cursor.seq == log.state.seq)
    }

    fn check(&self) -> Result<(), String> {
        let states: Vec<_> = self.recorders.iter().flatten().map(|(_, state)| *state.borrow()).collect();
        if !self.is_recorded() {
            return Err(format!("not recorded: {states:?}"));
        }
        let (log, database) = (self.log.lock(), self.database.lock());
        let present =
            log.state.entries.iter().filter_map(said).map(|(message, seq, place)| (message, seq, Some(place)));
        let trimmed = log.state.trimmed.iter().map(|(seq, message)| (*message, *seq, None));
        for said in present.chain(trimmed) {
            self.check_message(&database, &log, said)?;
        }
        if let Some(id) = database.tables.met.difference(&log.told).next() {
            return Err(format!("{id} is gone from the outbox and was never in the log"));
        }
        self.check_rest(&database)
    }

    fn check_message(&self, database: &Database, log: &Log, said: (u32, Seq, Option<Seq>)) -> Result<(), String> {
        let ((message, seq, place), tables) = (said, &database.tables);
        let id = format!("m{message}");
        let has_gap = tables.gaps.iter().any(|(first, last)| (*first..=*last).contains(&seq));
        let is_dead = tables
            .dead_letters
            .iter()
            .any(|dead| dead.record.starts_with(format!(r#"{{"room":"a","id":"{id}""#).as_bytes()));
        match tables.messages.get(&id) {
            _ if is_dead != self.poisoned.contains(&message) && !has_gap => {
                Err(format!("{id} at {seq}: dead is {is_dead}"))
            }
            None if is_dead || has_gap => Ok(()),
            None => Err(format!("{id} at {seq} is missing")),
            Some(known) if place.is_some_and(|place| known.place > place) => {
                Err(format!("{id} stands at {} and not at {place:?}", known.place))
            }
            Some(known) if !log.places[&message].contains(&known.place) => {
                Err(format!("{id} stands at {}, where it never was", known.place))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_rest(&self, database: &Database) -> Result<(), String> {
        if !database.tables.gaps.is_empty() && !self.flavor.needs_help() {
            return Err(format!("gaps: {:?}", database.tables.gaps));
        }
        let was_set_back = database.skips > 0 || self.tally.restores > 0 || self.empties > 0;
        let follows = |pair: &[(Seq, Seq)]| pair[0].1 == pair[1].0;
        if was_set_back || database.commits.windows(2).all(follows) {
            return Ok(());
        }
        Err(format!("out of order: {:?}", database.commits))
    }
}

fn run(seed: u64, flaw: Flaw, tally: &mut Tally) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(unconstrained(async {
        let mut world = World::new(seed, flaw);
        for _ in 0..STEPS {
            world.step().await;
        }
        world.settle().await;
        let (log, database) = (Arc::clone(&world.log), Arc::clone(&world.database));
        world
            .check()
            .map_err(|error| format!("case {seed}: {error}\n{:?}\n{:?}", world.flavor, log.lock().state.markers))?;
        let database = database.lock();
        tally.messages += database.tables.messages.len();
        tally.dead_letters += database.tables.dead_letters.len();
        tally.gaps += database.tables.gaps.len();
        tally.moved += database.moved;
        tally.skips += database.skips;
        tally.kills += world.tally.kills;
        tally.losses += world.tally.losses;
        tally.restores += world.tally.restores;
        tally.operations += world.tally.operations;
        tally.told += world.kinds.len();
        tally.repeated += *world.repeated.lock();
        Ok(())
    }))
}

#[test]
fn whatever_happens_the_log_is_in_the_database_once_and_in_its_first_places() {
    let mut tally = Tally::default();
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let (first, cases) = (number("RECORDER_FIRST").unwrap_or(0), number("RECORDER_CASES").unwrap_or(CASES));
    let failed: Vec<_> = (first..first + cases).filter_map(|seed| run(seed, Flaw::None, &mut tally).err()).collect();
    assert!(failed.is_empty(), "{} of {cases}: {}", failed.len(), failed.join("\n"));
    if cases < CASES {
        return;
    }
    let Tally { messages, moved, skips, dead_letters, gaps, kills, losses, restores, operations, told, repeated } =
        tally;
    assert!(messages > 10_000 && kills > 1000 && dead_letters > 100, "{messages} {kills} {dead_letters}");
    assert!(told > 2000 && repeated > 1000, "{told} {repeated}");
    assert!(moved > 100 && skips > 20 && losses > 100, "{moved} {skips} {losses}");
    assert!(restores > 50 && operations > 20 && gaps > 20, "{restores} {operations} {gaps}");
}

#[test]
fn a_store_that_is_built_wrongly_is_found_out() {
    for flaw in [Flaw::CursorApart, Flaw::NoCompare] {
        let failed = (0..CASES).filter(|seed| run(*seed, flaw, &mut Tally::default()).is_err());
        assert_eq!(failed.take(3).count(), 3, "{flaw:?}");
    }
}
