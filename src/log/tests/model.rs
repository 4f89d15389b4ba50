//! A model of everything that can happen to the log, driven at random: the real store, walkers, rings and outboxes,
//! with the server's losses, restarts and clock in the hands of the test.
//!
//! After every step each cursor that was ever given out is tried on an instance that has just started.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hubbub_lifecycle::clock::unix_millis;
use hubbub_protocol::{RoomId, Seq};
use proptest::prelude::*;

use crate::{
    backend::{Known, LogEntry, Position, Receipt, Submission},
    memory::{Local, Store},
    relay::{
        Shared,
        outbox::{Bounds, Next},
        walker::Walker,
    },
    ring::{Audience, Entry, Fallen, Marker, Resume, Retention, Ring},
    sequencer::{self, Place, Step},
    wire,
};

/// A set of messages; message `n` is bit `n`.
type Set = u128;
const MESSAGES: u32 = 127;

#[derive(Clone, Debug)]
enum Op {
    Publish(u8),
    Read(usize),
    /// The server restarts without the last `tail` entries (None: without any), the clock moves, `opener` syncs first.
    Lose {
        tail: Option<usize>,
        opener: usize,
        clock: u64,
    },
    Trim(usize),
    Offer(usize, usize),
    Restart(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let tail = prop_oneof![6 => (0..30_usize).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        5 => (1..6_u8).prop_map(Op::Publish),
        4 => (0..3_usize).prop_map(Op::Read),
        2 => (tail, 0..3_usize, 0..100_000_000_u64).prop_map(|(tail, opener, clock)| Op::Lose { tail, opener, clock }),
        1 => (0..6_usize).prop_map(Op::Trim),
        4 => (0..3_usize, 1..6_usize).prop_map(|(instance, count)| Op::Offer(instance, count)),
        1 => (0..3_usize).prop_map(Op::Restart),
    ]
}

fn submission(id: u32) -> Submission {
    let record = format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}},"at":{}}}"#, unix_millis());
    Submission { key: format!("u:{id}").into(), record: record.into(), was: 0 }
}

fn bit(record: &[u8]) -> Set {
    let key = wire::key_of(std::str::from_utf8(record).unwrap()).unwrap();
    1 << key.strip_prefix("u:").unwrap().parse::<u32>().unwrap()
}

fn of(entry: &Entry) -> Set {
    entry.record().map_or(0, |record| bit(record.as_bytes()))
}

fn room() -> RoomId {
    "a".parse().unwrap()
}

/// An instance without its tasks, and a connection that has been on it since its start.
struct Instance {
    walker: Walker,
    /// Where the connection began: what is older is history to it.
    start: Option<Seq>,
    cursor: Seq,
    before: Seq,
    heard: Set,
    reset: bool,
}

impl Instance {
    fn new(messages: usize) -> Self {
        let ring = Arc::new(Ring::new(Retention { messages, bytes: usize::MAX }));
        let bounds = Bounds { messages: 1000, bytes: 1 << 20, jitter: Duration::ZERO };
        let shared = Shared::new("model".into(), Arc::new(Local::new()), ring, bounds, 1);
        Self { walker: Walker::new(Arc::new(shared)), start: None, cursor: 0, before: 0, heard: 0, reset: false }
    }

    fn ring(&self) -> &Ring {
        &self.walker.shared.ring
    }

    fn read(&mut self, store: &Store, seen: &BTreeMap<Seq, Set>) {
        while !self.walker.snapshot(&store.read(self.walker.position())) {}
        if self.start.is_none() {
            let start = self.ring().last();
            (self.start, self.heard) = (Some(start), seen.get(&start).copied().unwrap_or(0) | self.in_ring());
        }
        let start = self.start.unwrap_or(0);
        let Ok(entries) = self.ring().run(self.cursor.max(start), usize::MAX) else {
            // further behind than the ring is long: the connection is closed, and another one comes
            (self.cursor, self.reset) = (self.ring().last(), true);
            return;
        };
        for entry in entries {
            match entry.audience {
                Audience::Room(_) if entry.was != 0 && entry.was <= self.before => {
                    assert!(self.reset || self.heard & of(&entry) != 0, "skipped what was never heard: {entry:?}");
                }
                Audience::Room(_) => self.heard |= of(&entry),
                Audience::Everyone => self.reset = true,
                Audience::Nobody => self.before = entry.crossed_at(self.cursor),
            }
            self.cursor = entry.seq;
        }
    }

    fn in_ring(&self) -> Set {
        let entries = self.ring().history(&room(), None, None, usize::MAX).entries;
        entries.iter().fold(0, |set, entry| set | of(entry))
    }

    /// What its ring and its outbox hold.
    fn holds(&self) -> Set {
        self.in_ring() | self.offers()
    }

    fn offers(&self) -> Set {
        self.walker.shared.outbox.lock().missing().fold(0, |set, submission| set | bit(&submission.record))
    }
}

struct World {
    store: Store,
    instances: Vec<Instance>,
    ring: usize,
    clock: u64,
    next: u32,
    highest: Seq,
    /// The log as a client has seen it that was there all the time.
    chain: BTreeMap<Seq, Set>,
    /// What a client with this cursor has certainly seen, or is not owed any more.
    seen: BTreeMap<Seq, Set>,
    /// Lost before the opener of an epoch had read it: nobody can tell.
    exempt: Set,
    /// Lost, and nobody who opened an epoch held it: whoever is carried over the marker has seen it.
    gone: Set,
    /// Messages of the last lost tail.
    undead: Vec<LogEntry>,
}

impl World {
    fn new(ring: usize) -> Self {
        let instances = (0..3).map(|_| Instance::new(ring)).collect();
        let store = Store::default();
        let (chain, seen) = (BTreeMap::new(), BTreeMap::new());
        let (clock, next, highest) = (1_000_000_000, 0, 0);
        let mut world =
            Self { store, instances, ring, clock, next, highest, chain, seen, exempt: 0, gone: 0, undead: Vec::new() };
        world.open(0);
        for instance in &mut world.instances {
            instance.read(&world.store, &world.seen);
        }
        world
    }

    /// Notes what the log has gained.
    fn note(&mut self) {
        let entries: Vec<_> = self.store.log().iter().filter(|e| e.seq() > self.highest).cloned().collect();
        for entry in entries {
            self.highest = entry.seq();
            if let LogEntry::Message { seq, record, .. } = &entry {
                self.chain.insert(*seq, bit(record));
            }
            let seen = self.chain.values().fold(self.gone, |set, id| set | id);
            self.seen.insert(self.highest, seen);
        }
    }

    fn publish(&mut self) {
        if self.next < MESSAGES {
            let epoch = self.store.read(Position { last: 0, low: None, count: 0 }).base;
            let (receipt, _) = self.store.append(Known { epoch, last: epoch }, usize::MAX, &[submission(self.next)]);
            assert!(matches!(receipt, Receipt::Placed(_)));
            self.next += 1;
            self.note();
        }
    }

    fn open(&mut self, opener: usize) {
        let base = self.store.open(self.instances[opener].walker.position(), self.clock).unwrap().unwrap();
        assert!(base > self.highest, "{base} after {}", self.highest);
        self.note();
    }

    /// What these instances hold and will offer again when they have read the log, if they have not done so.
    fn coming_back<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) -> Set {
        let markers: Vec<_> = self.store.log().iter().filter_map(|entry| marker(place(entry))).collect();
        let lost = |instance: &Instance| {
            let ahead = || markers.iter().filter(|marker| marker.base > instance.ring().last());
            let entries = instance.ring().history(&room(), None, None, usize::MAX).entries;
            let taken = entries.iter().filter(|entry| !sequencer::survives(entry.seq, ahead()));
            taken.fold(instance.offers(), |set, entry| set | of(entry))
        };
        instances.into_iter().map(lost).fold(0, |set, ids| set | ids)
    }

    fn lose(&mut self, tail: Option<usize>, opener: usize) {
        let mut log = self.store.log().clone();
        let lost = log.split_off(tail.map_or(0, |tail| log.len().saturating_sub(tail)));
        let read = self.instances[opener].ring().last();
        for entry in &lost {
            if let LogEntry::Message { seq, record, .. } = entry
                && *seq > read
            {
                self.exempt |= bit(record);
            }
        }
        let messages = lost.iter().filter(|entry| matches!(entry, LogEntry::Message { .. })).cloned().collect();
        let undead = std::mem::replace(&mut self.undead, messages);
        if self.clock.is_multiple_of(3) {
            reappear(&mut log, &undead);
        }
        let cut = log.back().map_or(0, LogEntry::seq);
        let held = self.instances[opener].holds();
        let (chain, gone) = std::mem::take(&mut self.chain).into_iter().partition(|(seq, _)| *seq <= cut);
        self.chain = chain;
        let gone: BTreeMap<Seq, Set> = gone;
        self.gone |= gone.into_values().filter(|id| id & held == 0).fold(0, |set, id| set | id);
        self.exempt_the_risen(&log);
        self.store.restart(log);
    }

    /// What reappeared, and then lost the marker that had cut it, stands in the log as if nothing had happened. Who came
    /// in between is not given it: two losses, one of them half undone, without a return in between.
    fn exempt_the_risen(&mut self, log: &VecDeque<LogEntry>) {
        let markers: Vec<_> = log.iter().filter_map(|entry| marker(place(entry))).collect();
        for entry in log {
            if let LogEntry::Message { seq, record, .. } = entry
                && sequencer::survives(*seq, &markers)
                && !self.chain.contains_key(seq)
            {
                self.exempt |= bit(record);
            }
        }
    }

    fn step(&mut self, op: &Op, jumping: bool) {
        match *op {
            Op::Publish(count) => (0..count).for_each(|_| self.publish()),
            Op::Read(instance) => self.instances[instance].read(&self.store, &self.seen),
            Op::Lose { tail, opener, clock } => {
                self.clock = if jumping { clock * 30 } else { self.clock + 1000 + clock };
                if jumping {
                    // without a clock the opener must have seen the epoch, though not all of it
                    self.instances[opener].read(&self.store, &self.seen);
                    (0..clock % 8).for_each(|_| self.publish());
                }
                self.lose(tail, opener);
                self.open(opener);
            }
            Op::Trim(count) => {
                // no instance is further behind than the log is long
                self.instances.iter_mut().for_each(|instance| instance.read(&self.store, &self.seen));
                let mut log = self.store.log().clone();
                let count = count.min(log.len().saturating_sub(1));
                drop(log.drain(..count));
                self.store.replace(log);
            }
            Op::Offer(instance, count) => self.offer(instance, count),
            Op::Restart(instance) => {
                self.instances[instance].read(&self.store, &self.seen);
                let offers = self.instances[instance].offers();
                self.instances[instance] = Instance::new(self.ring);
                self.exempt |= offers & !self.coming_back(&self.instances);
                self.instances[instance].read(&self.store, &self.seen);
            }
        }
    }

    fn offer(&mut self, instance: usize, count: usize) {
        self.instances[instance].read(&self.store, &self.seen);
        let shared = Arc::clone(&self.instances[instance].walker.shared);
        let next = shared.outbox.lock().next(unix_millis());
        if let Next::Append(batch) = next {
            let count = count.min(batch.submissions.len());
            let (last, epoch) = shared.ring.walked();
            let (receipt, _) = self.store.append(Known { epoch, last }, usize::MAX, &batch.submissions[..count]);
            let Receipt::Placed(places) = receipt else { panic!("fenced right after a sync") };
            shared.outbox.lock().placed(batch, &places);
            self.note();
        }
        self.instances[instance].read(&self.store, &self.seen);
    }

    /// Every cursor ever given out, on an instance that has just started.
    fn check(&self) -> Result<(), TestCaseError> {
        let mut fresh = Instance::new(usize::MAX);
        fresh.read(&self.store, &self.seen);
        let held = self.coming_back(&self.instances);
        for (&cursor, &seen) in &self.seen {
            match fresh.ring().resume(cursor) {
                Resume::Replay => {
                    let heard = replay(fresh.ring(), cursor, seen)?;
                    let missed = ((1 << self.next) - 1) & !(seen | heard | held | self.exempt);
                    prop_assert_eq!(missed, 0, "cursor {} misses; log {:?}", cursor, self.store.log());
                }
                Resume::Ahead => prop_assert!(cursor > fresh.ring().last()),
                Resume::Reset(_) => (),
            }
        }
        let entries: Vec<_> = self.store.log().iter().map(place).collect();
        let holes = entries.iter().any(|place| marker(*place).is_some_and(|marker| marker.has_hole()));
        for pair in entries.windows(2) {
            prop_assert_eq!(sequencer::step(seq(pair[0]), pair[1]), Step::Next, "{:?}", self.store.log());
            let resumes = fresh.ring().resume(seq(pair[1])) == Resume::Replay;
            prop_assert!(holes || resumes, "{:?} in {:?}", pair[1], self.store.log());
        }
        Ok(())
    }

    /// The connections that have been there all the time have heard all that their instance has.
    fn check_live(&self) -> Result<(), TestCaseError> {
        for instance in self.instances.iter().filter(|instance| !instance.reset) {
            prop_assert_eq!(instance.in_ring() & !instance.heard, 0);
        }
        Ok(())
    }
}

const fn seq(place: Place) -> Seq {
    match place {
        Place::Message(seq) | Place::Marker(Marker { base: seq, .. }) => seq,
    }
}

const fn marker(place: Place) -> Option<Marker> {
    match place {
        Place::Marker(marker) => Some(marker),
        Place::Message(_) => None,
    }
}

fn place(entry: &LogEntry) -> Place {
    match entry {
        LogEntry::Message { seq, .. } => Place::Message(*seq),
        LogEntry::Marker(marker) => Place::Marker(*marker),
    }
}

/// A cut AOF can bring a few lost entries back, in front of the marker that cut them.
fn reappear(log: &mut VecDeque<LogEntry>, undead: &[LogEntry]) {
    let Some(at) = log.iter().rposition(|entry| matches!(entry, LogEntry::Marker(_))) else { return };
    let (Place::Marker(marker), before) = (place(&log[at]), at.checked_sub(1).map_or(0, |n| log[n].seq())) else {
        return;
    };
    if before != marker.cut {
        return;
    }
    let follows = |(n, entry): &(usize, &LogEntry)| (1..).nth(*n).is_some_and(|n: Seq| entry.seq() == before + n);
    let lost = undead.iter().filter(|entry| (before + 1..marker.base).contains(&entry.seq()));
    for (n, entry) in lost.take(2).enumerate().take_while(follows) {
        log.insert(at + n, entry.clone());
    }
}

/// What a client with this cursor is sent, as its connection decides it.
fn replay(ring: &Ring, cursor: Seq, seen: Set) -> Result<Set, TestCaseError> {
    let entries = ring.run(cursor, usize::MAX).map_err(|Fallen| TestCaseError::fail(format!("{cursor} fell")))?;
    let (mut heard, mut before, mut at) = (0, 0, cursor);
    for entry in entries {
        let id = of(&entry);
        match entry.audience {
            Audience::Room(_) if entry.was != 0 && entry.was <= before => {
                prop_assert!((seen | heard) & id != 0, "{} is not sent {:?}", cursor, entry);
            }
            Audience::Room(_) => heard |= id,
            Audience::Everyone => return Err(TestCaseError::fail(format!("{cursor} meets a hole"))),
            Audience::Nobody => before = entry.crossed_at(at),
        }
        at = entry.seq;
    }
    Ok(heard)
}

fn run(ops: &[Op], ring: usize, jumping: bool) -> Result<(), TestCaseError> {
    let mut world = World::new(ring);
    for op in ops {
        world.step(op, jumping);
        world.check()?;
        world.check_live()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_is_complete(ops in prop::collection::vec(op(), 1..40)) {
        run(&ops, 1000, false)?;
    }

    #[test]
    fn a_replay_is_complete_with_a_jumping_clock(ops in prop::collection::vec(op(), 1..40)) {
        run(&ops, 1000, true)?;
    }

    #[test]
    fn a_replay_is_complete_with_short_rings(ops in prop::collection::vec(op(), 1..40)) {
        run(&ops, 12, true)?;
    }
}
