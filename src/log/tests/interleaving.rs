//! Two instances, one log, and everything between them in the hands of the test: which push arrives, when, how often and
//! whether at all; when a sync is asked and when it is answered; whether the reply to an append comes; what the server
//! has lost when it restarts. The store, the walkers, the rings and the outboxes are the real ones.
//!
//! Whatever happens, a connection that is there from the start hears the log: every message once, in order, at the place
//! that the log gave it. Nothing is exempt but what was trimmed before the instance had read it, and of that it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hubbub_lifecycle::clock::unix_millis;
use hubbub_protocol::Seq;
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::{
    backend::{Appended, Known, LogEntry, Receipt, Snapshot, Submission},
    memory::{Local, Store},
    relay::{
        Shared,
        outbox::{Batch, Bounds, Next},
        walker::Walker,
    },
    ring::{Audience, Retention, Ring},
    wire::{self, Push},
};

/// Two instances; both hear what either says.
const INSTANCES: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The instance takes so many messages from its clients.
    Publish(usize, usize),
    Append(usize),
    /// The reply to the append comes, or is lost.
    Reply(usize, bool),
    /// Any payload that the channel has ever carried arrives, once more or for the first time, counted from the newest.
    Push(usize, usize),
    /// The next payload arrives that has not.
    Next(usize),
    Ask(usize),
    Answer(usize),
    /// The server restarts without the last `tail` entries.
    Lose {
        tail: usize,
        opener: usize,
        clock: Clock,
    },
    Trim(usize),
}

/// The clock of the server that took over.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Ahead(u64),
    /// It says so and so many microseconds since 1970.
    Behind(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let instance = || 0..INSTANCES;
    let clock = prop_oneof![
        3 => (0..1_000_000_u64).prop_map(Clock::Ahead),
        1 => (0..1000_u64).prop_map(Clock::Behind),
    ];
    prop_oneof![
        8 => (instance(), 1..5_usize).prop_map(|(instance, count)| Op::Publish(instance, count)),
        8 => instance().prop_map(Op::Append),
        8 => (instance(), prop::bool::weighted(0.8)).prop_map(|(instance, comes)| Op::Reply(instance, comes)),
        4 => (instance(), 0..12_usize).prop_map(|(instance, age)| Op::Push(instance, age)),
        12 => instance().prop_map(Op::Next),
        4 => instance().prop_map(Op::Ask),
        4 => instance().prop_map(Op::Answer),
        2 => (0..12_usize, instance(), clock).prop_map(|(tail, opener, clock)| Op::Lose { tail, opener, clock }),
        1 => (0..6_usize).prop_map(Op::Trim),
    ]
}

/// One connection of an instance, served as the fan-out serves it, and what it keeps as a client keeps it.
#[derive(Default)]
struct Reader {
    cursor: Seq,
    before: Seq,
    heard: BTreeMap<Seq, u32>,
    /// What it was not sent, because it had it at a former place.
    skipped: BTreeSet<Seq>,
    /// Where it was told last that something is missing.
    reset: Seq,
}

impl Reader {
    fn read(&mut self, ring: &Ring) {
        let Ok(entries) = ring.run(self.cursor, usize::MAX) else {
            (self.cursor, self.reset) = (ring.last(), ring.last());
            return;
        };
        for entry in entries {
            assert!(entry.seq > self.cursor);
            match entry.audience {
                Audience::Room(_) if entry.was != 0 && entry.was <= self.before => {
                    self.skipped.insert(entry.seq);
                }
                Audience::Room(_) => drop(self.heard.insert(entry.seq, id(entry.record().unwrap().as_bytes()))),
                Audience::Everyone => self.reset = entry.seq,
                Audience::Nobody => self.before = entry.crossed_at(self.cursor),
            }
            self.cursor = entry.seq;
        }
    }
}

fn id(record: &[u8]) -> u32 {
    let key = wire::key_of(std::str::from_utf8(record).unwrap()).unwrap();
    key.strip_prefix("u:").unwrap().parse().unwrap()
}

/// An instance whose tasks are run by hand.
struct Instance {
    walker: Walker,
    reader: Reader,
    /// An append of which the reply is on its way.
    appending: Option<(Batch, Receipt)>,
    /// A sync of which the reply is on its way.
    syncing: Option<Snapshot>,
    /// The first payload that has not arrived.
    next: usize,
}

impl Instance {
    fn new() -> Self {
        let retention = Retention { messages: usize::MAX, bytes: usize::MAX };
        let bounds = Bounds { messages: 1000, bytes: 1 << 20, jitter: Duration::ZERO };
        let ring = Arc::new(Ring::new(retention));
        let shared = Shared::new("one".into(), Arc::new(Local::new()), ring, bounds, 1);
        let walker = Walker::new(Arc::new(shared));
        Self { walker, reader: Reader::default(), appending: None, syncing: None, next: 0 }
    }

    fn read(&mut self) {
        self.reader.read(&self.walker.shared.ring);
    }

    fn push(&mut self, payload: &[u8]) {
        if let Some(Push::Messages(batch)) = wire::parse(payload) {
            // the sync that follows a gap is one of the test's, in its own time
            let _missing = !self.walker.push(batch);
            self.read();
        }
    }

    fn answer(&mut self) -> bool {
        let Some(snapshot) = self.syncing.take() else { return false };
        let at_end = self.walker.snapshot(&snapshot);
        self.read();
        at_end
    }

    fn reply(&mut self, comes: bool) {
        let Some((batch, receipt)) = self.appending.take() else { return };
        let mut outbox = self.walker.shared.outbox.lock();
        match receipt {
            Receipt::Placed(places) if comes => {
                outbox.placed(batch, &places).into_iter().flatten().for_each(|(done, appended)| done(appended));
            }
            _ => outbox.failed(),
        }
    }
}

struct World {
    store: Store,
    instances: [Instance; INSTANCES],
    channel: Vec<Bytes>,
    clock: u64,
    /// The highest place ever given out.
    highest: Seq,
    published: u32,
    /// Every place ever given out, and to whom.
    places: BTreeMap<Seq, u32>,
    acks: Arc<Mutex<Vec<(u32, Seq)>>>,
    losses: usize,
    trimmed: bool,
}

impl World {
    fn new() -> Self {
        let store = Store::default();
        let instances = std::array::from_fn(|_| Instance::new());
        let (channel, places, acks) = (Vec::new(), BTreeMap::new(), Arc::default());
        let mut world = Self {
            store,
            instances,
            channel,
            clock: 1 << 40,
            highest: 0,
            published: 0,
            places,
            acks,
            losses: 0,
            trimmed: false,
        };
        world.sync(0);
        world.publish(0);
        world.append(0);
        world.instances[0].reply(true);
        for instance in 0..INSTANCES {
            world.sync(instance);
            // as a client that comes now and knows the history
            let Instance { walker, reader, .. } = &mut world.instances[instance];
            let cursor = walker.shared.ring.last();
            *reader = Reader { cursor, heard: [(cursor, 0)].into(), ..Reader::default() };
        }
        world
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish(instance, count) => (0..count).for_each(|_| self.publish(instance)),
            Op::Append(instance) => self.append(instance),
            Op::Reply(instance, comes) => self.instances[instance].reply(comes),
            Op::Push(instance, age) => {
                if let Some(payload) = self.channel.len().checked_sub(age + 1).map(|at| self.channel[at].clone()) {
                    self.instances[instance].push(&payload);
                }
            }
            Op::Next(instance) => self.next(instance),
            Op::Ask(instance) => self.ask(instance),
            Op::Answer(instance) => drop(self.instances[instance].answer()),
            Op::Lose { tail, opener, clock } => self.lose(tail, opener, clock),
            Op::Trim(count) => self.trim(count),
        }
    }

    fn publish(&mut self, instance: usize) {
        let number = self.published;
        self.published += 1;
        let record = format!(r#"{{"room":"a","id":"{number}","from":{{"id":"u"}},"at":{}}}"#, unix_millis());
        let submission = Submission { key: format!("u:{number}").into(), record: record.into(), was: 0 };
        let acks = Arc::clone(&self.acks);
        let done = Box::new(move |appended: Appended| acks.lock().push((number, appended.seq)));
        self.instances[instance].walker.shared.outbox.lock().queue(submission, unix_millis(), done).unwrap();
    }

    /// As the publisher does it: first the epoch, then the batch.
    fn append(&mut self, instance: usize) {
        let Instance { walker, appending, .. } = &mut self.instances[instance];
        if appending.is_some() {
            return;
        }
        let (epoch, last) = (*walker.shared.epoch.borrow(), walker.shared.ring.walked().0);
        let next = walker.shared.outbox.lock().next(unix_millis());
        if let Next::Append(batch) = next {
            let (receipt, payload) = self.store.append(Known { epoch, last }, usize::MAX, &batch.submissions);
            self.channel.extend(payload);
            if let Receipt::Placed(places) = &receipt {
                for (submission, appended) in batch.submissions.iter().zip(places) {
                    self.highest = self.highest.max(appended.seq);
                    let before = self.places.insert(appended.seq, id(&submission.record));
                    let same = before.is_none_or(|before| appended.duplicate && before == id(&submission.record));
                    assert!(same, "place {} is given out twice", appended.seq);
                }
            }
            *appending = Some((batch, receipt));
        }
    }

    fn next(&mut self, instance: usize) {
        let instance = &mut self.instances[instance];
        if let Some(payload) = self.channel.get(instance.next) {
            instance.next += 1;
            instance.push(payload);
        }
    }

    fn ask(&mut self, instance: usize) {
        self.clock += 1000;
        let instance = &mut self.instances[instance];
        if instance.syncing.is_none() {
            let position = instance.walker.position();
            let opened = self.store.open(position, self.clock).unwrap();
            self.highest = self.highest.max(opened.unwrap_or(0));
            self.channel.extend(opened.map(wire::epoch));
            instance.syncing = Some(self.store.read(position));
        }
    }

    fn sync(&mut self, instance: usize) {
        // a picture from before is none of now
        self.instances[instance].answer();
        for _ in 0..100 {
            self.ask(instance);
            if self.instances[instance].answer() {
                return;
            }
        }
        panic!("{instance} never comes to the end of the log {:?}", self.store.log());
    }

    fn lose(&mut self, tail: usize, opener: usize, clock: Clock) {
        match clock {
            Clock::Ahead(step) => self.clock = self.highest + 1000 + step,
            Clock::Behind(now) => {
                // without a clock the opener must have seen the epoch, though not all of it
                self.sync(opener);
                let other = (opener + 1) % INSTANCES;
                self.sync(other);
                self.publish(other);
                self.append(other);
                (0..self.channel.len()).for_each(|_| self.next(other));
                self.clock = now;
            }
        }
        self.losses += 1;
        let mut log = self.store.log().clone();
        // a ring in which nothing is young promises nothing: the first message stays
        log.truncate(log.len().saturating_sub(tail).max(log.len().min(2)));
        self.store.restart(log);
        self.ask(opener);
    }

    /// An instance may fall so far behind that it misses messages, and says so, or a marker.
    fn trim(&mut self, count: usize) {
        let mut log = self.store.log().clone();
        drop(log.drain(..count.min(log.len().saturating_sub(1))));
        self.trimmed = true;
        self.store.replace(log);
    }

    /// Faults are over, and everything that is under way arrives.
    fn settle(&mut self) {
        for _ in 0..2 * INSTANCES {
            for instance in 0..INSTANCES {
                self.instances[instance].answer();
                self.instances[instance].reply(true);
                self.sync(instance);
                for _ in 0..100 {
                    self.append(instance);
                    self.instances[instance].reply(true);
                    self.sync(instance);
                }
                let outbox = self.instances[instance].walker.shared.outbox.lock();
                assert!(outbox.waiting() == 0, "{outbox:?} never empties, log {:?}", self.store.log());
            }
        }
    }

    /// What holds at any time.
    fn check(&self) {
        for Instance { reader, .. } in &self.instances {
            for (seq, id) in &reader.heard {
                assert_eq!(self.places.get(seq), Some(id), "{seq} is not what the log has there");
            }
            assert!(self.trimmed || reader.reset == 0, "a reset, although nothing was trimmed: {:?}", self.store.log());
        }
        for (id, seq) in &*self.acks.lock() {
            assert_eq!(self.places.get(seq), Some(id), "acked with a place that it has not");
        }
    }

    /// What holds when nothing is under way.
    fn check_all_heard(&self) {
        let log: BTreeMap<Seq, u32> = self
            .store
            .log()
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Message { seq, record, .. } => Some((*seq, id(record))),
                LogEntry::Marker(_) => None,
            })
            .collect();
        assert_eq!(
            self.acks.lock().len(),
            usize::try_from(self.published).unwrap(),
            "not every message was acked once"
        );
        for Instance { reader, .. } in &self.instances {
            let heard: BTreeSet<_> = reader.heard.values().copied().collect();
            // what the log has lost may come again without its `was`: clients recognise it by its id
            assert!(self.losses > 0 || heard.len() == reader.heard.len(), "something is heard twice");
            for (seq, id) in &log {
                let had = reader.heard.range(..seq).any(|(_, other)| other == id);
                let exactly = if reader.skipped.contains(seq) { had } else { reader.heard.contains_key(seq) };
                assert!(exactly || *seq <= reader.reset, "{id} at {seq}, heard before: {had}");
            }
            let forgiven = |number| self.places.iter().any(|(seq, id)| *id == number && *seq <= reader.reset);
            let missed: Vec<_> = (0..self.published).filter(|id| !heard.contains(id) && !forgiven(*id)).collect();
            assert!(
                missed.is_empty(),
                "{missed:?} were never heard; reset {}, heard {:?}, places {:?}, log {:?}",
                reader.reset,
                reader.heard,
                self.places,
                self.store.log()
            );
        }
    }
}

proptest! {
    #[test]
    fn every_message_is_heard_once_and_in_order_whatever_the_channel_and_the_log_lose(
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
            world.check();
        }
        world.settle();
        world.check();
        world.check_all_heard();
    }
}
