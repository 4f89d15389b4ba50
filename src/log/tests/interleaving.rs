//! Two instances and one log. The test controls everything between them: which payload arrives, when and how often; when
//! a sync is sent and when its reply arrives; whether the reply to an append arrives; what the server has lost when it
//! restarts. The store, the ring writers, the rings and the publish queues are the real ones.
//!
//! Whatever happens, a connection that is there from the start receives the log: every message once, in order, at the `seq`
//! that the log gave it. The only exception is a message that was trimmed before the instance had read it; then the
//! connection gets a reset. And a message in the log has the lowest `seq` at which any instance has known it as its first
//! place. The only exception is one that an instance has appended as new again, because the reply to the first append was
//! lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hubbub_lifecycle::clock::{steady_millis, unix_millis};
use hubbub_protocol::Seq;
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::{
    backend::{AppendOutcome, Fence, LogBounds, LogEntry, Placement, Snapshot, Submission},
    identity::Identity,
    memory::Store,
    relay::{
        publish_queue::{AppendBatch, Bounds, Next, PublishQueue, Share},
        ring_writer::RingWriter,
    },
    ring::{Audience, Retention, Ring},
    wire::{self, Payload},
};

const KEEP_ALL: LogBounds = LogBounds { entries: usize::MAX, unrecorded: None };

/// Both receive what either publishes.
const INSTANCES: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The instance accepts this many messages from its clients.
    Publish(usize, usize),
    Append(usize),
    /// The reply to the append arrives, or is lost.
    Reply(usize, bool),
    /// Any payload that was ever published arrives, again or for the first time, counted from the newest.
    Payload(usize, usize),
    /// The next payload that has not arrived arrives.
    Next(usize),
    Sync(usize),
    Snapshot(usize),
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
    /// Microseconds since 1970.
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
        8 => (instance(), prop::bool::weighted(0.8)).prop_map(|(instance, arrives)| Op::Reply(instance, arrives)),
        4 => (instance(), 0..12_usize).prop_map(|(instance, age)| Op::Payload(instance, age)),
        12 => instance().prop_map(Op::Next),
        4 => instance().prop_map(Op::Sync),
        4 => instance().prop_map(Op::Snapshot),
        2 => (0..12_usize, instance(), clock).prop_map(|(tail, opener, clock)| Op::Lose { tail, opener, clock }),
        1 => (0..6_usize).prop_map(Op::Trim),
    ]
}

/// One connection of an instance. It reads as the fan-out does, and keeps what a client keeps.
#[derive(Default)]
struct Reader {
    cursor: Seq,
    crossed_at: Seq,
    received: BTreeMap<Seq, u32>,
    /// Messages that it was not sent, because it had each at a former `seq`.
    skipped: BTreeSet<Seq>,
    /// The `seq` of its last reset.
    reset: Seq,
    /// The messages of the ring since it was asked last, whether it was sent them or not.
    shown: Vec<(Seq, u32)>,
}

impl Reader {
    fn read(&mut self, ring: &Ring) {
        let Ok(entries) = ring.run(self.cursor, usize::MAX) else {
            (self.cursor, self.reset) = (ring.last(), ring.last());
            let history = ring.history(&"a".parse().unwrap(), None, None, usize::MAX).entries;
            self.shown.extend(history.iter().map(|entry| (entry.seq, id(entry.record().unwrap().as_bytes()))));
            return;
        };
        for entry in entries {
            assert!(entry.seq > self.cursor);
            if let Audience::Room(_) = entry.audience {
                self.shown.push((entry.seq, id(entry.record().unwrap().as_bytes())));
            }
            match entry.audience {
                Audience::Room(_) if entry.was != 0 && entry.was <= self.crossed_at => {
                    self.skipped.insert(entry.seq);
                }
                Audience::Room(_) => drop(self.received.insert(entry.seq, id(entry.record().unwrap().as_bytes()))),
                Audience::Everyone => self.reset = entry.seq,
                Audience::Nobody => self.crossed_at = entry.crossed_at(self.cursor),
                Audience::Hidden => (),
            }
            self.cursor = entry.seq;
        }
    }
}

fn id(record: &[u8]) -> u32 {
    let key = Identity::of("message", std::str::from_utf8(record).unwrap()).unwrap().key;
    key.strip_prefix("u:a:").unwrap().parse().unwrap()
}

/// What an instance learns of an append.
#[derive(Default)]
struct Reply {
    /// The `seq` of each message, if the reply arrives.
    known: Vec<(Seq, u32)>,
    /// The messages that were placed as new, if it is lost.
    lost: Vec<u32>,
}

/// An instance whose tasks are run by hand.
struct Instance {
    ring: Arc<Ring>,
    queue: Arc<PublishQueue>,
    writer: RingWriter,
    reader: Reader,
    /// An append of which the reply is under way.
    appending: Option<(AppendBatch, AppendOutcome)>,
    /// A sync of which the reply is under way.
    syncing: Option<Snapshot>,
    /// The first payload that has not arrived.
    next: usize,
}

impl Instance {
    fn new() -> Self {
        let retention = Retention { messages: usize::MAX, bytes: usize::MAX };
        let bounds = Bounds { messages: 1000, bytes: 1 << 20, jitter: Duration::ZERO };
        let (ring, queue) = (Arc::new(Ring::new(retention)), Arc::new(PublishQueue::new(bounds)));
        let writer = RingWriter::new(Arc::clone(&ring), Arc::clone(&queue), 0);
        Self { ring, queue, writer, reader: Reader::default(), appending: None, syncing: None, next: 0 }
    }

    fn receive(&mut self, payload: &[u8]) {
        if let Some(Payload::Events(events)) = wire::parse(payload) {
            // the test runs the sync that follows a gap when it likes
            let _missing = !self.writer.apply_events(events);
            self.reader.read(&self.ring);
        }
    }

    /// True: the reply to the sync has arrived, and the instance has the whole log.
    fn receive_snapshot(&mut self) -> bool {
        let Some(snapshot) = self.syncing.take() else { return false };
        let at_end = self.writer.apply_snapshot(&snapshot);
        self.reader.read(&self.ring);
        at_end
    }

    fn reply(&mut self, arrives: bool) -> Reply {
        let Some((batch, outcome)) = self.appending.take() else { return Reply::default() };
        let AppendOutcome::Placed(placements) = outcome else {
            self.queue.append_failed();
            return Reply::default();
        };
        let events = || batch.submissions.iter();
        if !arrives {
            self.queue.append_failed();
            let lost = events().filter(|event| event.was == 0).map(|event| id(&event.record)).collect();
            return Reply { lost, ..Reply::default() };
        }
        let seqs = placements.iter().map(|placement| placement.seq());
        let known = seqs.zip(events().map(|event| id(&event.record))).collect();
        let _any_valid = self.queue.settle(batch, &placements);
        Reply { known, ..Reply::default() }
    }
}

struct World {
    store: Store,
    instances: [Instance; INSTANCES],
    channel: Vec<Bytes>,
    clock: u64,
    /// The highest `seq` ever given out.
    highest: Seq,
    published: u32,
    /// The message of each `seq` that was ever given out.
    places: BTreeMap<Seq, u32>,
    /// The lowest `seq` at which an instance has known each message.
    first: BTreeMap<u32, Seq>,
    /// Messages that an instance may append as new although the log had them.
    unknown: BTreeSet<u32>,
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
            first: BTreeMap::new(),
            unknown: BTreeSet::new(),
            acks,
            losses: 0,
            trimmed: false,
        };
        world.sync(0);
        world.publish(0);
        world.append(0);
        world.reply(0, true);
        for instance in 0..INSTANCES {
            world.sync(instance);
            // a client that connects now and knows the history
            let Instance { ring, reader, .. } = &mut world.instances[instance];
            let cursor = ring.last();
            *reader = Reader { cursor, received: [(cursor, 0)].into(), ..Reader::default() };
        }
        world
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish(instance, count) => (0..count).for_each(|_| self.publish(instance)),
            Op::Append(instance) => self.append(instance),
            Op::Reply(instance, arrives) => self.reply(instance, arrives),
            Op::Payload(instance, age) => {
                if let Some(payload) = self.channel.len().checked_sub(age + 1).map(|at| self.channel[at].clone()) {
                    self.instances[instance].receive(&payload);
                }
            }
            Op::Next(instance) => self.next(instance),
            Op::Sync(instance) => self.begin_sync(instance),
            Op::Snapshot(instance) => drop(self.instances[instance].receive_snapshot()),
            Op::Lose { tail, opener, clock } => self.lose(tail, opener, clock),
            Op::Trim(count) => self.trim(count),
        }
    }

    fn publish(&mut self, instance: usize) {
        let number = self.published;
        self.published += 1;
        let at = unix_millis();
        let record = format!(r#"{{"room":"a","id":"{number}","from":{{"id":"u"}},"at":{at}}}"#);
        let submission = Submission::new(record, 0, at).unwrap();
        let acks = Arc::clone(&self.acks);
        let on_placed = Box::new(move |placement: Placement| acks.lock().push((number, placement.seq())));
        self.instances[instance].queue.push(submission, Share::of(&number), on_placed).unwrap();
    }

    /// As the publisher does it: first the epoch, then the batch.
    fn append(&mut self, instance: usize) {
        let Instance { ring, queue, writer, appending, .. } = &mut self.instances[instance];
        if appending.is_some() {
            return;
        }
        let (epoch, (last, _)) = (*writer.epoch().borrow(), ring.applied());
        if let Next::Append(batch) = queue.next(steady_millis()) {
            let (outcome, payload) = self.store.append(Fence { epoch, last }, KEEP_ALL, &batch.submissions);
            self.channel.extend(payload);
            if let AppendOutcome::Placed(placements) = &outcome {
                for (submission, placement) in batch.submissions.iter().zip(placements) {
                    self.highest = self.highest.max(placement.seq());
                    let is_duplicate = matches!(placement, Placement::Duplicate(_));
                    let before = self.places.insert(placement.seq(), id(&submission.record));
                    let same = before.is_none_or(|before| is_duplicate && before == id(&submission.record));
                    assert!(same, "seq {} is given out twice", placement.seq());
                }
            }
            *appending = Some((batch, outcome));
        }
    }

    fn reply(&mut self, instance: usize, arrives: bool) {
        let Reply { known, lost } = self.instances[instance].reply(arrives);
        self.unknown.extend(lost);
        self.know(known);
    }

    fn know(&mut self, known: Vec<(Seq, u32)>) {
        for (seq, id) in known {
            let first = self.first.entry(id).or_insert(seq);
            *first = seq.min(*first);
        }
    }

    /// Takes note of what the instances show.
    fn watch(&mut self) {
        for instance in 0..INSTANCES {
            let shown = std::mem::take(&mut self.instances[instance].reader.shown);
            self.know(shown);
        }
    }

    fn next(&mut self, instance: usize) {
        let instance = &mut self.instances[instance];
        if let Some(payload) = self.channel.get(instance.next) {
            instance.next += 1;
            instance.receive(payload);
        }
    }

    fn begin_sync(&mut self, instance: usize) {
        self.clock += 1000;
        let instance = &mut self.instances[instance];
        if instance.syncing.is_none() {
            let request = instance.writer.sync_request();
            let opened = self.store.open(request, self.clock).unwrap();
            self.highest = self.highest.max(opened.unwrap_or(0));
            self.channel.extend(opened.map(wire::epoch));
            instance.syncing = Some(self.store.read(request));
        }
    }

    fn sync(&mut self, instance: usize) {
        // a snapshot from before is not one of now
        self.instances[instance].receive_snapshot();
        for _ in 0..100 {
            self.begin_sync(instance);
            if self.instances[instance].receive_snapshot() {
                return;
            }
        }
        panic!("instance {instance} never has the whole log {:?}", self.store.log());
    }

    fn lose(&mut self, tail: usize, opener: usize, clock: Clock) {
        match clock {
            Clock::Ahead(step) => self.clock = self.highest + 1000 + step,
            Clock::Behind(now) => {
                // without a clock the opener must have read the epoch, though not all of it
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
        // a ring without young messages can recover nothing, so the first message stays
        log.truncate(log.len().saturating_sub(tail).max(log.len().min(2)));
        self.store.restart(log);
        self.begin_sync(opener);
    }

    /// An instance may fall so far behind that it misses messages, and resets its clients, or a marker.
    fn trim(&mut self, count: usize) {
        let mut log = self.store.log().clone();
        drop(log.drain(..count.min(log.len().saturating_sub(1))));
        self.trimmed = true;
        self.store.replace(log);
    }

    /// No more faults: everything that is under way arrives.
    fn settle(&mut self) {
        for _ in 0..2 * INSTANCES {
            for instance in 0..INSTANCES {
                self.instances[instance].receive_snapshot();
                self.reply(instance, true);
                self.sync(instance);
                for _ in 0..100 {
                    self.append(instance);
                    self.reply(instance, true);
                    self.sync(instance);
                }
                let queue = &self.instances[instance].queue;
                assert!(queue.total_count() == 0, "{queue:?} never empties, log {:?}", self.store.log());
            }
        }
    }

    /// What holds at any time.
    fn check(&mut self) {
        self.watch();
        self.check_first_places();
        for Instance { reader, .. } in &self.instances {
            for (seq, id) in &reader.received {
                assert_eq!(self.places.get(seq), Some(id), "{seq} is another message in the log");
            }
            assert!(self.trimmed || reader.reset == 0, "a reset, although nothing was trimmed: {:?}", self.store.log());
        }
        for (id, seq) in &*self.acks.lock() {
            assert_eq!(self.places.get(seq), Some(id), "acked with a seq that it does not have");
        }
    }

    fn check_first_places(&self) {
        for entry in self.store.log() {
            let (seq, place) = (entry.seq(), entry.place());
            let Some(id) = self.places.get(&seq).filter(|_| entry.record().is_some()) else { continue };
            assert_eq!(self.places.get(&place), Some(id), "{id} at {seq} has never been at {place}");
            let first = self.first.get(id).map_or(seq, |first| seq.min(*first));
            assert!(
                place == first || self.unknown.contains(id),
                "{id} at {seq} is at {place} and not at {first} first"
            );
        }
    }

    /// What holds when nothing is under way.
    fn check_all_received(&self) {
        let log: BTreeMap<Seq, u32> = self
            .store
            .log()
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Message { seq, record, .. } => Some((*seq, id(record))),
                LogEntry::Event { .. } | LogEntry::Marker(_) => None,
            })
            .collect();
        assert_eq!(
            self.acks.lock().len(),
            usize::try_from(self.published).unwrap(),
            "not every message was acked once"
        );
        for Instance { reader, .. } in &self.instances {
            let received: BTreeSet<_> = reader.received.values().copied().collect();
            // a lost message may come again without its `was`: clients recognise its id
            assert!(self.losses > 0 || received.len() == reader.received.len(), "a message is received twice");
            for (seq, id) in &log {
                let had = reader.received.range(..seq).any(|(_, other)| other == id);
                let exactly = if reader.skipped.contains(seq) { had } else { reader.received.contains_key(seq) };
                assert!(exactly || *seq <= reader.reset, "{id} at {seq}, received before: {had}");
            }
            let covered_by_reset = |number| self.places.iter().any(|(seq, id)| *id == number && *seq <= reader.reset);
            let missed: Vec<_> =
                (0..self.published).filter(|id| !received.contains(id) && !covered_by_reset(*id)).collect();
            assert!(
                missed.is_empty(),
                "{missed:?} were never received; reset {}, received {:?}, places {:?}, log {:?}",
                reader.reset,
                reader.received,
                self.places,
                self.store.log()
            );
        }
    }
}

proptest! {
    #[test]
    fn every_message_is_received_once_and_in_order_whatever_the_channel_and_the_log_lose(
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
            world.check();
        }
        world.settle();
        world.check();
        world.check_all_received();
    }
}
