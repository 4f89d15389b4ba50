//! A model of everything that can happen to the log, driven at random. The store, the ring writers, the rings and the
//! publish queues are the real ones; the test controls the server's losses, restarts and clock.
//!
//! A message in the log has a first place at which it once was, and no instance has shown it at a lower one. After every step
//! each cursor that was ever given out is tried on an instance that has just started.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hubbub_lifecycle::clock::{steady_millis, unix_millis};
use hubbub_protocol::{RoomId, Seq};
use proptest::prelude::*;

use crate::{
    backend::{AppendOutcome, Fence, LogBounds, LogEntry, Submission, SyncRequest},
    identity::Identity,
    marker::Marker,
    memory::Store,
    relay::{
        publish_queue::{Bounds, Next, PublishQueue},
        ring_writer::RingWriter,
    },
    ring::{Audience, CursorCheck, Entry, Fallen, Retention, Ring},
    sequencer::{self, Place, Step},
};

const KEEP_ALL: LogBounds = LogBounds { entries: usize::MAX, unrecorded: None };

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
    let at = unix_millis();
    let record = format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}},"at":{at}}}"#);
    Submission::new(record, 0, at).unwrap()
}

fn bit(record: &[u8]) -> Set {
    let key = Identity::of("message", std::str::from_utf8(record).unwrap()).unwrap().key;
    1 << key.strip_prefix("u:a:").unwrap().parse::<u32>().unwrap()
}

fn of(entry: &Entry) -> Set {
    entry.record().map_or(0, |record| bit(record.as_bytes()))
}

fn room() -> RoomId {
    "a".parse().unwrap()
}

/// An instance without its tasks, and a connection that has been on it since its start.
struct Instance {
    ring: Arc<Ring>,
    queue: Arc<PublishQueue>,
    writer: RingWriter,
    /// Where the connection began. Older messages are history to it.
    start: Option<Seq>,
    cursor: Seq,
    crossed_at: Seq,
    received: Set,
    reset: bool,
    /// The messages of the ring since this was asked last.
    shown: Vec<(Seq, Set)>,
}

impl Instance {
    fn new(messages: usize) -> Self {
        let ring = Arc::new(Ring::new(Retention { messages, bytes: usize::MAX }));
        let bounds = Bounds { messages: 1000, bytes: 1 << 20, jitter: Duration::ZERO };
        let queue = Arc::new(PublishQueue::new(bounds));
        let writer = RingWriter::new(Arc::clone(&ring), Arc::clone(&queue), 0);
        Self {
            ring,
            queue,
            writer,
            start: None,
            cursor: 0,
            crossed_at: 0,
            received: 0,
            reset: false,
            shown: Vec::new(),
        }
    }

    fn read(&mut self, store: &Store, seen: &BTreeMap<Seq, Set>) {
        while !self.writer.apply_snapshot(&store.read(self.writer.sync_request())) {}
        if self.start.is_none() {
            let start = self.ring.last();
            (self.start, self.received) = (Some(start), seen.get(&start).copied().unwrap_or(0) | self.in_ring());
            self.show_all();
        }
        let start = self.start.unwrap_or(0);
        let Ok(entries) = self.ring.run(self.cursor.max(start), usize::MAX) else {
            // further behind than the ring is long: the connection is closed, and another one opens
            (self.cursor, self.reset) = (self.ring.last(), true);
            self.show_all();
            return;
        };
        for entry in entries {
            self.shown.extend(entry.room().map(|_| (entry.seq, of(&entry))));
            match entry.audience {
                Audience::Room(_) if entry.was != 0 && entry.was <= self.crossed_at => {
                    assert!(self.reset || self.received & of(&entry) != 0, "skipped, but never received: {entry:?}");
                }
                Audience::Room(_) => self.received |= of(&entry),
                Audience::Everyone => self.reset = true,
                Audience::Nobody => self.crossed_at = entry.crossed_at(self.cursor),
                Audience::Hidden => (),
            }
            self.cursor = entry.seq;
        }
    }

    fn show_all(&mut self) {
        let entries = self.ring.history(&room(), None, None, usize::MAX).entries;
        self.shown.extend(entries.iter().map(|entry| (entry.seq, of(entry))));
    }

    fn in_ring(&self) -> Set {
        let entries = self.ring.history(&room(), None, None, usize::MAX).entries;
        entries.iter().fold(0, |set, entry| set | of(entry))
    }

    /// The messages in its ring and its queue.
    fn holds(&self) -> Set {
        self.in_ring() | self.offers()
    }

    fn offers(&self) -> Set {
        self.queue.offers().iter().fold(0, |set, submission| set | bit(&submission.record))
    }
}

struct World {
    store: Store,
    instances: Vec<Instance>,
    ring: usize,
    clock: u64,
    next: u32,
    highest: Seq,
    /// The log as a client has received it that was connected all the time.
    chain: BTreeMap<Seq, Set>,
    /// The message of each `seq` that was ever given out.
    places: BTreeMap<Seq, Set>,
    /// The lowest `seq` at which an instance has shown each message.
    first: BTreeMap<Set, Seq>,
    /// The messages that a client with this cursor has certainly received, or is not owed any more.
    seen: BTreeMap<Seq, Set>,
    /// Lost before the opener of an epoch had read them: no instance can know of these.
    exempt: Set,
    /// Lost, and not held by the opener of the epoch: a client whose cursor may cross the marker has received these.
    gone: Set,
    /// Messages of the last lost tail.
    lost_tail: Vec<LogEntry>,
}

impl World {
    fn new(ring: usize) -> Self {
        let instances = (0..3).map(|_| Instance::new(ring)).collect();
        let store = Store::default();
        let (chain, seen) = (BTreeMap::new(), BTreeMap::new());
        let (clock, next, highest) = (1_000_000_000, 0, 0);
        let mut world = Self {
            store,
            instances,
            ring,
            clock,
            next,
            highest,
            chain,
            places: BTreeMap::new(),
            first: BTreeMap::new(),
            seen,
            exempt: 0,
            gone: 0,
            lost_tail: Vec::new(),
        };
        world.open(0);
        for instance in &mut world.instances {
            instance.read(&world.store, &world.seen);
        }
        world
    }

    /// Records the new entries of the log.
    fn note(&mut self) {
        let entries: Vec<_> = self.store.log().iter().filter(|e| e.seq() > self.highest).cloned().collect();
        for entry in entries {
            self.highest = entry.seq();
            if let LogEntry::Message { seq, record, .. } = &entry {
                self.chain.insert(*seq, bit(record));
                self.places.insert(*seq, bit(record));
            }
            let seen = self.chain.values().fold(self.gone, |set, id| set | id);
            self.seen.insert(self.highest, seen);
        }
    }

    fn publish(&mut self) {
        if self.next < MESSAGES {
            let epoch = self.store.read(SyncRequest { after: 0, low: None, floor: 0, limit: 0 }).base;
            let (outcome, _) = self.store.append(Fence { epoch, last: epoch }, KEEP_ALL, &[submission(self.next)]);
            assert!(matches!(outcome, AppendOutcome::Placed(_)));
            self.next += 1;
            self.note();
        }
    }

    fn open(&mut self, opener: usize) {
        let base = self.store.open(self.instances[opener].writer.sync_request(), self.clock).unwrap().unwrap();
        assert!(base > self.highest, "{base} after {}", self.highest);
        self.note();
    }

    /// The messages that these instances have and will append again, at the latest when they have read the log.
    fn coming_back<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) -> Set {
        let markers: Vec<_> = self.store.log().iter().filter_map(|entry| marker(place(entry))).collect();
        let lost = |instance: &Instance| {
            let ahead = || markers.iter().filter(|marker| marker.base > instance.ring.last());
            let entries = instance.ring.history(&room(), None, None, usize::MAX).entries;
            let taken = entries.iter().filter(|entry| !sequencer::survives(entry.seq, ahead()));
            taken.fold(instance.offers(), |set, entry| set | of(entry))
        };
        instances.into_iter().map(lost).fold(0, |set, ids| set | ids)
    }

    fn lose(&mut self, tail: Option<usize>, opener: usize) {
        let mut log = self.store.log().clone();
        let lost = log.split_off(tail.map_or(0, |tail| log.len().saturating_sub(tail)));
        let read = self.instances[opener].ring.last();
        for entry in &lost {
            if let LogEntry::Message { seq, record, .. } = entry
                && *seq > read
            {
                self.exempt |= bit(record);
            }
        }
        let messages = lost.iter().filter(|entry| matches!(entry, LogEntry::Message { .. })).cloned().collect();
        let lost_tail = std::mem::replace(&mut self.lost_tail, messages);
        if self.clock.is_multiple_of(3) {
            reappear(&mut log, &lost_tail);
        }
        let cut = log.back().map_or(0, LogEntry::seq);
        let held = self.instances[opener].holds();
        let (chain, gone) = std::mem::take(&mut self.chain).into_iter().partition(|(seq, _)| *seq <= cut);
        self.chain = chain;
        let gone: BTreeMap<Seq, Set> = gone;
        self.gone |= gone.into_values().filter(|id| id & held == 0).fold(0, |set, id| set | id);
        self.exempt_reappeared(&log);
        self.store.restart(log);
    }

    /// An entry that reappeared, and then lost the marker that had cut it off, is in the log as if it had never been
    /// lost. A client that connected in between does not get it. It takes two losses, the first of them half undone,
    /// and no instance that appended the entry again between them.
    fn exempt_reappeared(&mut self, log: &VecDeque<LogEntry>) {
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
                    // without a clock the opener must have read the epoch, though not all of it
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
        let Instance { ring, queue, .. } = &self.instances[instance];
        if let Next::Append(batch) = queue.next(steady_millis()) {
            let count = count.min(batch.submissions.len());
            let (last, epoch) = ring.applied();
            let (outcome, _) = self.store.append(Fence { epoch, last }, KEEP_ALL, &batch.submissions[..count]);
            let AppendOutcome::Placed(placements) = outcome else { panic!("fenced right after a sync") };
            assert!(queue.settle(batch, &placements), "an epoch opened meanwhile");
            self.note();
        }
        self.instances[instance].read(&self.store, &self.seen);
    }

    fn check_first_places(&mut self) -> Result<(), TestCaseError> {
        for (seq, message) in self.instances.iter_mut().flat_map(|instance| std::mem::take(&mut instance.shown)) {
            let first = self.first.entry(message).or_insert(seq);
            *first = seq.min(*first);
        }
        for entry in self.store.log() {
            let (seq, place) = (entry.seq(), entry.place());
            let Some(message) = self.places.get(&seq).filter(|_| entry.record().is_some()) else { continue };
            prop_assert_eq!(self.places.get(&place), Some(message), "{} has never been at {}", seq, place);
            let first = self.first.get(message).map_or(seq, |first| seq.min(*first));
            prop_assert!(place <= first, "{} has the place {}, but was shown at {}", seq, place, first);
        }
        Ok(())
    }

    /// Every cursor ever given out, on an instance that has just started.
    fn check(&self) -> Result<(), TestCaseError> {
        let mut fresh = Instance::new(usize::MAX);
        fresh.read(&self.store, &self.seen);
        let held = self.coming_back(&self.instances);
        for (&cursor, &seen) in &self.seen {
            match fresh.ring.check_cursor(cursor) {
                CursorCheck::Replay => {
                    let received = replay(&fresh.ring, cursor, seen)?;
                    let missed = ((1 << self.next) - 1) & !(seen | received | held | self.exempt);
                    prop_assert_eq!(missed, 0, "cursor {} misses; log {:?}", cursor, self.store.log());
                }
                CursorCheck::Ahead => prop_assert!(cursor > fresh.ring.last()),
                CursorCheck::Reset(_) => (),
            }
        }
        let entries: Vec<_> = self.store.log().iter().map(place).collect();
        let holes = entries.iter().any(|place| marker(*place).is_some_and(|marker| marker.has_hole()));
        for pair in entries.windows(2) {
            prop_assert_eq!(sequencer::step(pair[0].seq(), pair[1]), Step::Next, "{:?}", self.store.log());
            let resumes = fresh.ring.check_cursor(pair[1].seq()) == CursorCheck::Replay;
            prop_assert!(holes || resumes, "{:?} in {:?}", pair[1], self.store.log());
        }
        Ok(())
    }

    /// The connections that have been there all the time have received every message of their instance.
    fn check_live(&self) -> Result<(), TestCaseError> {
        for instance in self.instances.iter().filter(|instance| !instance.reset) {
            prop_assert_eq!(instance.in_ring() & !instance.received, 0);
        }
        Ok(())
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
        LogEntry::Message { seq, .. } | LogEntry::Event { seq, .. } => Place::Message(*seq),
        LogEntry::Marker(marker) => Place::Marker(*marker),
    }
}

/// A cut AOF can bring a few lost entries back, in front of the marker that cut them.
fn reappear(log: &mut VecDeque<LogEntry>, lost_tail: &[LogEntry]) {
    let Some(at) = log.iter().rposition(|entry| matches!(entry, LogEntry::Marker(_))) else { return };
    let (Place::Marker(marker), before) = (place(&log[at]), at.checked_sub(1).map_or(0, |n| log[n].seq())) else {
        return;
    };
    if before != marker.cut {
        return;
    }
    let follows = |(n, entry): &(usize, &LogEntry)| (1..).nth(*n).is_some_and(|n: Seq| entry.seq() == before + n);
    let lost = lost_tail.iter().filter(|entry| (before + 1..marker.base).contains(&entry.seq()));
    for (n, entry) in lost.take(2).enumerate().take_while(follows) {
        log.insert(at + n, entry.clone());
    }
}

/// The messages that a client with this cursor is sent, as its connection decides.
fn replay(ring: &Ring, cursor: Seq, seen: Set) -> Result<Set, TestCaseError> {
    let entries = ring.run(cursor, usize::MAX).map_err(|Fallen| TestCaseError::fail(format!("{cursor} fell")))?;
    let (mut received, mut crossed_at, mut at) = (0, 0, cursor);
    for entry in entries {
        let id = of(&entry);
        match entry.audience {
            Audience::Room(_) if entry.was != 0 && entry.was <= crossed_at => {
                prop_assert!((seen | received) & id != 0, "{} is not sent {:?}", cursor, entry);
            }
            Audience::Room(_) => received |= id,
            Audience::Everyone => return Err(TestCaseError::fail(format!("{cursor} meets a hole"))),
            Audience::Nobody => crossed_at = entry.crossed_at(at),
            Audience::Hidden => (),
        }
        at = entry.seq;
    }
    Ok(received)
}

fn run(ops: &[Op], ring: usize, jumping: bool) -> Result<(), TestCaseError> {
    let mut world = World::new(ring);
    for op in ops {
        world.step(op, jumping);
        world.check_first_places()?;
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
