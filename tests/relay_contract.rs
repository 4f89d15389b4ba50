//! What the relay promises, on the log inside the process, on one in a file and on a real Redis.
//!
//! Each test has a server of its own, on a free port, with an own prefix. Readers are modelled as the node has them: a
//! cursor, and the cursor they had when they crossed the last marker.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "relay_contract/recording.rs"]
mod recording;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hubbub_lifecycle::{SecretSource, Shutdown};
use hubbub_log::{
    Announcement, AppendOutcome, Backend, Durability, Fence, File, Full, Kind, LogBounds, LogEntry, Memory, Placement,
    Redis, RedisConfig, RedisError, Relay, RelayOptions, Share, Submission, SyncRequest, TlsFiles,
    census::Census,
    ring::{Audience, CursorCheck, Entry, Retention, Ring},
};
use hubbub_protocol::{Count, GuestSecret, Record, RelayState, RoomId, Seq, User, UserId};
use hubbub_testbed::Redis as Server;
use recording::*;
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{interval, timeout},
};

/// Longer than anything here takes, with or without other tests beside it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What several relays share.
enum World {
    Memory(Memory),
    File { file: File, _folder: TempDir },
    Redis(Box<Server>),
}

impl World {
    fn local() -> Self {
        Self::Memory(Memory::new())
    }

    async fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = File::open(&folder.path().join("log.db"), Durability::Full).await.unwrap();
        Self::File { file, _folder: folder }
    }

    async fn redis() -> Self {
        Self::Redis(Box::new(Server::start().await))
    }

    fn instance(&self) -> Instance {
        self.instance_with(RelayOptions::default())
    }

    fn instance_with(&self, options: RelayOptions) -> Instance {
        let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
        let relay = match self {
            Self::Memory(memory) => Relay::start(memory.clone(), Arc::clone(&ring), options, &shutdown),
            Self::File { file, .. } => Relay::start(file.clone(), Arc::clone(&ring), options, &shutdown),
            Self::Redis(server) => {
                Relay::start(Redis::connect(&config(server)).unwrap(), Arc::clone(&ring), options, &shutdown)
            }
        };
        Instance { ring, relay, shutdown }
    }

    async fn live_instance(&self) -> Instance {
        let instance = self.instance();
        instance.becomes(RelayState::Live).await;
        instance
    }

    fn backend(&self) -> Box<dyn Backend> {
        match self {
            Self::Memory(memory) => Box::new(memory.clone()),
            Self::File { file, .. } => Box::new(file.clone()),
            Self::Redis(server) => Box::new(Redis::connect(&config(server)).unwrap()),
        }
    }

    /// Appends this, as an instance would that has nothing in its ring.
    async fn append(&self, batch: &[Submission]) -> Vec<Placement> {
        let backend = self.backend();
        let snapshot = backend.sync(SyncRequest { after: 0, low: None, floor: 0, limit: 0 }).await.unwrap();
        let fence = Fence { epoch: snapshot.base, last: snapshot.base };
        let AppendOutcome::Placed(placements) =
            backend.append(fence, LogBounds { entries: 1000, unrecorded: None }, batch).await.unwrap()
        else {
            panic!("fenced")
        };
        placements
    }

    /// The log.
    async fn entries(&self) -> Vec<LogEntry> {
        self.backend().sync(SyncRequest { after: 0, low: None, floor: 0, limit: 1000 }).await.unwrap().entries
    }

    /// Everything that was stored is gone.
    async fn forget(&self) {
        match self {
            Self::Memory(memory) => memory.forget(),
            Self::File { .. } => panic!("a file loses nothing while it is open"),
            Self::Redis(server) => drop(server.command(&["FLUSHALL"]).await),
        }
    }
}

/// Where this test's log is.
fn config(server: &Server) -> RedisConfig {
    configured(server.url())
}

fn configured(url: &str) -> RedisConfig {
    let url = SecretSource::Value(url.parse().unwrap());
    RedisConfig { url, prefix: "contract".to_owned(), tls: TlsFiles::default() }
}

struct Instance {
    ring: Arc<Ring>,
    relay: Relay,
    shutdown: Shutdown,
}

impl Instance {
    async fn becomes(&self, state: RelayState) {
        timeout(PATIENCE, self.relay.state().wait_for(|now| *now == state)).await.unwrap().unwrap();
    }

    fn reader(&self) -> Reader {
        Reader {
            ring: Arc::clone(&self.ring),
            cursor: self.ring.last(),
            before: 0,
            received: Vec::new(),
            resets: 0,
            hidden: 0,
        }
    }

    async fn publish(&self, sender: &UserId, id: &str) -> Placement {
        self.place(record(sender, id)).await
    }

    /// Publishes and waits for what the log does with it.
    async fn place(&self, record: Record) -> Placement {
        let (done, mut placed) = mpsc::channel(1);
        self.relay.publish(record, Share::of(&"one"), move |placement| done.try_send(placement).unwrap()).unwrap();
        timeout(PATIENCE, placed.recv()).await.unwrap().unwrap()
    }

    async fn end(self) {
        assert_eq!(self.relay.close(Duration::from_secs(5)).await, 0);
        assert_eq!(self.shutdown.finish(PATIENCE).await, Ok(()));
    }
}

/// What a connection of the room would be sent.
struct Reader {
    ring: Arc<Ring>,
    cursor: Seq,
    /// Up to where it had what the last marker crossed took.
    before: Seq,
    received: Vec<(Seq, String)>,
    resets: usize,
    /// Events of kinds that no client gets.
    hidden: usize,
}

impl Reader {
    /// Reads on until so many messages were received in all.
    async fn receive(&mut self, count: usize) -> &[(Seq, String)] {
        let mut tip = self.ring.watch();
        self.catch_up();
        while self.received.len() < count {
            let changed = timeout(PATIENCE, tip.changed()).await;
            assert!(changed.is_ok(), "received {} of {count} up to {}", self.received.len(), self.cursor);
            self.catch_up();
        }
        &self.received
    }

    fn catch_up(&mut self) {
        loop {
            let entries = self.ring.run(self.cursor, 100).unwrap();
            if entries.is_empty() {
                return;
            }
            for entry in entries {
                self.take(&entry);
            }
        }
    }

    fn take(&mut self, entry: &Entry) {
        match entry.audience {
            Audience::Room(_) if entry.was != 0 && entry.was <= self.before => (),
            Audience::Room(_) => {
                self.received.push((entry.seq, json(entry)["id"].as_str().unwrap().to_owned()));
            }
            Audience::Everyone => self.resets += 1,
            Audience::Nobody => self.before = entry.crossed_at(self.cursor),
            Audience::Hidden => self.hidden += 1,
        }
        assert!(entry.seq > self.cursor, "{} after {}", entry.seq, self.cursor);
        self.cursor = entry.seq;
    }

    fn ids(&self) -> Vec<&str> {
        self.received.iter().map(|(_, id)| id.as_str()).collect()
    }
}

fn json(entry: &Entry) -> serde_json::Value {
    serde_json::from_slice(entry.frame.payload()).unwrap()
}

const BODY: &str = "line one\nline \"two\"";

fn record(sender: &UserId, id: &str) -> Record {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Record {
        room: RoomId::lobby(),
        id: id.parse().unwrap(),
        from: User { id: sender.clone(), name: "Ann".parse().unwrap() },
        body: BODY.to_owned(),
        at: u64::try_from(now.as_millis()).unwrap(),
    }
}

fn someone() -> UserId {
    GuestSecret::random().user_id()
}

/// Senders that go on while something happens to the log.
struct Load {
    placed: mpsc::Receiver<(String, Placement)>,
    count: usize,
}

impl Load {
    /// Each instance publishes so many messages, one a millisecond.
    fn start(instances: &[&Instance], each: usize) -> Self {
        let (done, placed) = mpsc::channel(instances.len() * each + 1);
        for (n, instance) in instances.iter().enumerate() {
            let ids = (0..each).map(|k| format!("{n}-{k}")).collect();
            instance.shutdown.spawn(Self::publish(instance.relay.clone(), ids, done.clone()));
        }
        Self { placed, count: instances.len() * each }
    }

    async fn publish(relay: Relay, ids: Vec<String>, done: mpsc::Sender<(String, Placement)>) {
        let (sender, mut pace) = (someone(), interval(Duration::from_millis(1)));
        for id in ids {
            pace.tick().await;
            let (done, message) = (done.clone(), record(&sender, &id));
            relay.publish(message, Share::of(&sender), move |at| done.try_send((id, at)).unwrap()).unwrap();
        }
    }

    async fn placed(&mut self, count: usize) -> Vec<(String, Placement)> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(timeout(PATIENCE, self.placed.recv()).await.unwrap().unwrap());
        }
        all
    }

    /// Waits for the rest, then checks that every message was placed once, and received once by each reader, in the order
    /// of its sender.
    async fn reaches_once(mut self, before: Vec<(String, Placement)>, readers: &mut [Reader]) {
        let rest = self.placed(self.count - before.len()).await;
        let mut placed = HashMap::new();
        for (id, _) in before.into_iter().chain(rest) {
            *placed.entry(id).or_insert(0) += 1;
        }
        assert_eq!(placed.len(), self.count);
        assert!(placed.values().all(|times| *times == 1));
        for reader in readers {
            reader.receive(self.count).await;
            assert_eq!(reader.resets, 0);
            assert_eq!(reader.received.len(), self.count, "received more than once");
            let mut next = HashMap::new();
            for id in reader.ids() {
                let (sender, k) = id.split_once('-').unwrap();
                let expected = next.entry(sender).or_insert(0);
                assert_eq!(k.parse::<usize>().unwrap(), *expected, "order of sender {sender}");
                *expected += 1;
            }
        }
    }
}

/// Runs the contract on all backends, and what is about a log that loses everything on those that can.
macro_rules! contract {
    (all { $($name:ident,)* } losing { $($losing:ident,)* }) => {
        mod local {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::local()).await;
            })*
            $(#[tokio::test]
            async fn $losing() {
                super::$losing(super::World::local()).await;
            })*
        }
        mod file {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::file().await).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::redis().await).await;
            })*
            $(#[tokio::test]
            async fn $losing() {
                super::$losing(super::World::redis().await).await;
            })*
        }
    };
}

contract! {
    all {
        places_are_dense_in_one_epoch,
        every_instance_receives_the_same_order,
        a_repetition_gets_the_first_place_and_reaches_once,
        an_id_of_another_sender_or_in_another_room_is_another_message,
        a_refused_id_in_a_batch_holds_up_nothing,
        an_id_that_names_another_message_is_refused,
        an_event_of_another_kind_takes_its_seq_and_no_client_gets_it,
        a_burst_keeps_its_order,
        a_late_instance_fills_its_ring,
        a_full_publish_queue_refuses,
        a_sender_that_floods_is_refused_and_another_gets_in,
        an_announcement_reaches_every_instance,
        a_cursor_that_is_ahead_is_resolved_by_a_resync,
        an_orderly_leave_is_counted_at_once,
        a_crash_is_counted_within_four_seconds,
        closing_flushes_what_waits,
        one_holder_at_a_time_may_record,
        the_right_to_record_ends_unless_it_is_renewed,
        what_is_recorded_grows_within_the_log_until_it_is_rewound,
        a_claim_counts_only_in_the_epoch_in_which_it_was_recorded,
        what_is_not_recorded_is_never_trimmed,
        a_log_that_nobody_has_recorded_is_not_trimmed,
        a_log_full_of_what_waits_takes_nothing_new,
        a_log_full_of_bytes_that_wait_takes_nothing_new,
        an_instance_asks_with_its_floor,
        a_full_backlog_refuses_what_comes_and_keeps_what_it_has_accepted,
        a_tail_reads_on_from_any_place_and_waits_for_more,
    }
    losing {
        a_lost_message_is_appended_again_although_another_has_taken_its_id,
        an_event_of_another_kind_is_appended_again_when_the_log_loses_it,
        a_log_that_forgot_everything_is_filled_again,
        a_log_has_one_id_until_it_is_gone,
        no_epoch_opens_at_or_below_what_the_database_has,
        an_epoch_that_a_tail_opens_resets_nobody,
        a_message_that_is_lost_twice_keeps_its_first_place,
    }
}

async fn places_are_dense_in_one_epoch(world: World) {
    let instance = world.live_instance().await;
    let (base, sender) = (instance.ring.last(), someone());
    assert!(base > 1_700_000_000_000_000, "an epoch opens at the clock: {base}");
    for n in 1..=20 {
        let appended = instance.publish(&sender, &format!("m{n}")).await;
        assert_eq!(appended, Placement::Appended(base + n));
    }
    instance.end().await;
}

async fn every_instance_receives_the_same_order(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    assert_eq!(a.ring.last(), b.ring.last());
    let mut readers = [a.reader(), b.reader()];
    let load = Load::start(&[&a, &b], 300);
    load.reaches_once(Vec::new(), &mut readers).await;
    assert_eq!(readers[0].received, readers[1].received);
    assert!(!a.relay.is_deaf() && a.relay.was_ever_live());
    a.end().await;
    b.end().await;
}

async fn a_repetition_gets_the_first_place_and_reaches_once(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let (mut reader, ann) = (a.reader(), someone());
    let first = a.publish(&ann, "m").await.seq();
    let renamed = Record { at: 7, from: User { id: ann.clone(), name: "Anna".parse().unwrap() }, ..record(&ann, "m") };
    for (instance, again) in [(&b, record(&ann, "m")), (&a, record(&ann, "m")), (&b, renamed)] {
        assert_eq!(instance.place(again).await, Placement::Duplicate(first));
    }
    assert_eq!(a.publish(&ann, "n").await, Placement::Appended(first + 1));
    assert_eq!(reader.receive(2).await, [(first, "m".to_owned()), (first + 1, "n".to_owned())]);
    a.end().await;
    b.end().await;
}

async fn an_id_of_another_sender_or_in_another_room_is_another_message(world: World) {
    let (instance, ann) = (world.live_instance().await, someone());
    let first = instance.ring.last() + 1;
    let elsewhere = Record { room: "kitchen".parse().unwrap(), ..record(&ann, "m") };
    for (n, message) in (0..).zip([record(&ann, "m"), record(&someone(), "m"), elsewhere]) {
        assert_eq!(instance.place(message).await, Placement::Appended(first + n));
    }
    instance.end().await;
}

async fn an_id_that_names_another_message_is_refused(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let (mut reader, ann) = (a.reader(), someone());
    let first = a.publish(&ann, "m").await.seq();
    for instance in [&a, &b] {
        let other = Record { body: "something else".to_owned(), ..record(&ann, "m") };
        assert_eq!(instance.place(other).await, Placement::IdReused(first));
    }
    assert_eq!(b.publish(&ann, "m").await, Placement::Duplicate(first), "the refusal has changed nothing");
    assert_eq!(b.publish(&ann, "next").await, Placement::Appended(first + 1), "the refusal has used no seq");
    assert_eq!(reader.receive(2).await, [(first, "m".to_owned()), (first + 1, "next".to_owned())]);
    a.end().await;
    b.end().await;
}

async fn a_refused_id_in_a_batch_holds_up_nothing(world: World) {
    let instance = world.instance();
    let (ann, (done, mut placed)) = (someone(), mpsc::channel(3));
    let other = Record { body: "something else".to_owned(), ..record(&ann, "m") };
    for record in [record(&ann, "m"), other, record(&ann, "m")] {
        let done = done.clone();
        let on_placed = move |placement| done.try_send(placement).unwrap();
        instance.relay.publish(record, Share::of(&ann), on_placed).unwrap();
    }
    instance.becomes(RelayState::Live).await;
    let first = timeout(PATIENCE, placed.recv()).await.unwrap().unwrap().seq();
    for expected in [Placement::IdReused(first), Placement::Duplicate(first)] {
        assert_eq!(timeout(PATIENCE, placed.recv()).await.unwrap().unwrap(), expected);
    }
    assert_eq!(instance.relay.backlog(), 0);
    instance.end().await;
}

/// The lost message and the one that took its id meanwhile are both acked: both stay in the log, each once.
async fn a_lost_message_is_appended_again_although_another_has_taken_its_id(world: World) {
    let ann = someone();
    let said = |body: &str, was| {
        let record = Record { body: body.to_owned(), ..record(&ann, "m") };
        Submission::new(serde_json::to_vec(&record).unwrap(), was, record.at).unwrap()
    };
    let lost = world.append(&[said("first", 0)]).await[0];
    assert!(matches!(lost, Placement::Appended(_)), "{lost:?}");
    world.forget().await;
    let placements = world.append(&[said("second", 0), said("first", lost.seq()), said("third", 0)]).await;
    let second = placements[0].seq();
    assert_eq!(
        placements,
        [Placement::Appended(second), Placement::Appended(second + 1), Placement::IdReused(second + 1)]
    );
    let again = world.append(&[said("second", 0), said("first", lost.seq()), said("first", 0)]).await;
    let first = Placement::Duplicate(second + 1);
    assert_eq!(again, [Placement::Duplicate(second), first, first]);

    let instance = world.live_instance().await;
    let history = instance.ring.history(&RoomId::lobby(), None, None, 9).entries;
    assert_eq!(history.iter().map(|entry| json(entry)["body"].clone()).collect::<Vec<_>>(), ["second", "first"]);
    instance.end().await;
}

/// A message, and an event of a kind that this release does not know.
fn message_and_edit(sender: &UserId, id: &str) -> [Submission; 2] {
    let record = |id: &str| serde_json::to_vec(&record(sender, id)).unwrap();
    let kind = Kind::named("edited").unwrap();
    let edit = Submission::of_kind(kind, record(&format!("{id}-edit")), 0, 0).unwrap();
    [Submission::new(record(id), 0, 0).unwrap(), edit]
}

async fn an_event_of_another_kind_takes_its_seq_and_no_client_gets_it(world: World) {
    let (instance, ann) = (world.live_instance().await, someone());
    let mut reader = instance.reader();
    let batch: Vec<_> = ["m", "n"].iter().flat_map(|id| message_and_edit(&ann, id)).collect();
    let first = instance.ring.last() + 1;
    assert_eq!(world.append(&batch).await, [0, 1, 2, 3].map(|n| Placement::Appended(first + n)));
    let message = Submission::new(batch[1].record.clone(), 0, 0).unwrap();
    let again = world.append(&[batch[1].clone(), message]).await;
    assert_eq!(again, [Placement::Duplicate(first + 1), Placement::IdReused(first + 1)], "the kind is what is said");
    timeout(PATIENCE, instance.ring.watch().wait_for(|last| *last >= first + 3)).await.unwrap().unwrap();
    assert_eq!(reader.receive(2).await, [(first, "m".to_owned()), (first + 2, "n".to_owned())]);
    assert_eq!((reader.cursor, reader.hidden), (first + 3, 2));
    instance.end().await;
}

async fn an_event_of_another_kind_is_appended_again_when_the_log_loses_it(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let (mut reader, ann) = (b.reader(), someone());
    let batch: Vec<_> = ["m", "n"].iter().flat_map(|id| message_and_edit(&ann, id)).collect();
    let first = world.append(&batch).await[0].seq();
    for instance in [&a, &b] {
        timeout(PATIENCE, instance.ring.watch().wait_for(|last| *last >= first + 3)).await.unwrap().unwrap();
    }
    world.forget().await;
    let news = a.publish(&ann, "news").await.seq();
    assert_eq!(reader.receive(3).await[2], (news, "news".to_owned()), "what comes again is skipped");
    let parts = |entry| match entry {
        LogEntry::Message { was, record, .. } => Some((was, Kind::Message, record)),
        LogEntry::Event { was, kind, record, .. } => Some((was, kind, record)),
        LogEntry::Marker(_) => None,
    };
    let mut kept: Vec<_> = world.entries().await.into_iter().filter_map(parts).collect();
    assert_eq!(kept.pop().unwrap().0, 0, "the news");
    let with_place = |was: Seq, record: &[u8]| {
        let record = std::str::from_utf8(record).unwrap().strip_suffix('}').unwrap();
        format!(r#"{record},"first":{was}}}"#)
    };
    let expected: Vec<_> =
        (first..).zip(batch).map(|(was, event)| (was, event.kind, with_place(was, &event.record).into())).collect();
    assert_eq!(kept, expected, "each once, in order, byte for byte, and with its first place");
    a.end().await;
    b.end().await;
}

async fn a_burst_keeps_its_order(world: World) {
    let instance = world.live_instance().await;
    let (mut reader, sender) = (instance.reader(), someone());
    let (done, mut placed) = mpsc::channel(2000);
    for n in 0..1500 {
        let done = done.clone();
        let on_placed = move |placement: Placement| done.try_send((n, placement.seq())).unwrap();
        instance.relay.publish(record(&sender, &n.to_string()), Share::of(&sender), on_placed).unwrap();
    }
    for n in 0..1500 {
        let (number, seq) = timeout(PATIENCE, placed.recv()).await.unwrap().unwrap();
        assert_eq!((number, seq), (n, reader.cursor + 1 + n));
    }
    let expected: Vec<_> = (0..1500).map(|n| n.to_string()).collect();
    reader.receive(1500).await;
    assert_eq!(reader.ids(), expected);
    assert_eq!(instance.relay.backlog(), 0);
    instance.end().await;
}

async fn a_log_that_forgot_everything_is_filled_again(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let mut readers = [a.reader(), b.reader()];
    let mut load = Load::start(&[&a, &b], 600);
    let placed = load.placed(500).await;
    world.forget().await;
    load.reaches_once(placed, &mut readers).await;

    let cursor = readers[0].received[100].0;
    assert_eq!(a.ring.check_cursor(cursor), CursorCheck::Replay, "a cursor in the lost range");
    let late = world.live_instance().await;
    let history = late.ring.history(&RoomId::lobby(), None, None, 5000);
    assert_eq!(history.entries.len(), 1200, "everything is in the log again, once");
    a.end().await;
    b.end().await;
    late.end().await;
}

async fn a_late_instance_fills_its_ring(world: World) {
    let a = world.live_instance().await;
    let mut reader = a.reader();
    let first = a.ring.last();
    let load = Load::start(&[&a], 1200);
    load.reaches_once(Vec::new(), std::slice::from_mut(&mut reader)).await;

    let late = world.live_instance().await;
    assert_eq!(late.ring.last(), a.ring.last());
    let history = late.ring.history(&RoomId::lobby(), None, None, 5000);
    assert_eq!(history.entries.len(), 1200);
    assert_eq!(late.ring.check_cursor(first + 7), CursorCheck::Replay);
    assert!(late.ring.run(0, 10).unwrap().is_empty(), "a reader without a cursor begins behind the fill");
    late.publish(&someone(), "news").await;
    reader.receive(1201).await;
    a.end().await;
    late.end().await;
}

async fn a_full_publish_queue_refuses(world: World) {
    let instance = world.instance_with(RelayOptions { pending_messages: 3, ..RelayOptions::default() });
    let (sender, placed) = (someone(), Arc::new(AtomicU64::new(0)));
    for n in 0..3 {
        let placed = Arc::clone(&placed);
        let count = move |_| {
            placed.fetch_add(1, Ordering::SeqCst);
        };
        instance.relay.publish(record(&sender, &n.to_string()), Share::of(&n), count).unwrap();
    }
    let refused = instance.relay.publish(record(&sender, "x"), Share::of(&"another"), |_| ()).unwrap_err();
    assert_eq!(refused.full, Full::Queue);
    assert!(refused.retry_after_ms > 0);
    instance.becomes(RelayState::Live).await;
    let mut reader = Reader { cursor: 0, ..instance.reader() };
    reader.receive(3).await;
    instance.end().await;
    assert_eq!(placed.load(Ordering::SeqCst), 3);
}

async fn a_sender_that_floods_is_refused_and_another_gets_in(world: World) {
    let instance = world.instance_with(RelayOptions { pending_messages: 100, ..RelayOptions::default() });
    let (ann, bob) = (someone(), someone());
    let publish =
        |sender: &UserId, n: u64| instance.relay.publish(record(sender, &n.to_string()), Share::of(sender), |_| ());
    let results: Vec<_> = (0..80).map(|n| publish(&ann, n)).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    assert_eq!(results[79].unwrap_err().full, Full::Share);
    publish(&bob, 0).unwrap();
    instance.becomes(RelayState::Live).await;
    Reader { cursor: 0, ..instance.reader() }.receive(51).await;
    publish(&ann, 80).unwrap();
    instance.end().await;
}

async fn an_announcement_reaches_every_instance(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let from = vec![User { id: someone(), name: "Ann".parse().unwrap() }];
    let typing = Announcement::Typing { room: RoomId::lobby(), from };
    let (mut at_a, mut at_b) = (a.relay.announcements(), b.relay.announcements());
    a.relay.announce(typing.clone());
    assert_eq!(timeout(PATIENCE, at_a.recv()).await.unwrap().unwrap(), typing);
    assert_eq!(timeout(PATIENCE, at_b.recv()).await.unwrap().unwrap(), typing);
    a.end().await;
    b.end().await;
}

async fn a_cursor_that_is_ahead_is_resolved_by_a_resync(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let appended = a.publish(&someone(), "m").await;
    assert!(b.relay.resync(PATIENCE).await);
    assert_eq!(b.ring.check_cursor(appended.seq()), CursorCheck::Replay);
    assert_eq!(b.ring.check_cursor(appended.seq() + 1), CursorCheck::Ahead);
    a.end().await;
    b.end().await;
}

async fn counts(census: &Census, connections: u64, instances: u64) {
    let wanted = |count: &Count| count.connections == connections && count.instances == instances;
    let mut count = census.count();
    let reached = timeout(PATIENCE, count.wait_for(wanted)).await.is_ok();
    assert!(reached, "{:?} is not {connections} on {instances}", *count.borrow());
}

async fn an_orderly_leave_is_counted_at_once(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let (at_a, at_b) = (Census::start(&a.relay, &a.shutdown), Census::start(&b.relay, &b.shutdown));
    at_a.set(3);
    at_b.set(4);
    counts(&at_a, 7, 2).await;
    counts(&at_b, 7, 2).await;
    at_a.set(1);
    counts(&at_b, 5, 2).await;
    at_b.leave(PATIENCE).await;
    let mut count = at_a.count();
    let left = count.wait_for(|count| count.connections == 1 && count.instances == 1);
    timeout(Duration::from_millis(400), left).await.unwrap().unwrap();
    timeout(PATIENCE, at_a.count().wait_for(|count| !count.settling)).await.unwrap().unwrap();
    a.end().await;
    b.end().await;
}

async fn a_crash_is_counted_within_four_seconds(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let (at_a, at_b) = (Census::start(&a.relay, &a.shutdown), Census::start(&b.relay, &b.shutdown));
    at_a.set(3);
    at_b.set(4);
    counts(&at_a, 7, 2).await;
    drop((at_b, b));
    let mut count = at_a.count();
    let swept = count.wait_for(|count| count.connections == 3 && count.instances == 1);
    timeout(Duration::from_secs(4), swept).await.unwrap().unwrap();
    a.end().await;
}

async fn closing_flushes_what_waits(world: World) {
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let (mut reader, sender) = (b.reader(), someone());
    for n in 0..700 {
        a.relay.publish(record(&sender, &n.to_string()), Share::of(&sender), |_| ()).unwrap();
    }
    a.end().await;
    reader.receive(700).await;
    b.end().await;
}

fn server(world: &mut World) -> &mut Server {
    match world {
        World::Redis(server) => server,
        World::Memory(_) | World::File { .. } => panic!("this world has no server"),
    }
}

#[tokio::test]
async fn every_instance_subscribes_to_one_channel_only() {
    let mut world = World::redis().await;
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    a.publish(&someone(), "m").await;
    assert_eq!(server(&mut world).command(&["PUBSUB", "CHANNELS", "*"]).await, ["{contract}:channel"]);
    a.end().await;
    b.end().await;
}

#[tokio::test]
async fn a_killed_subscriber_misses_nothing() {
    let mut world = World::redis().await;
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let mut readers = [a.reader(), b.reader()];
    let mut load = Load::start(&[&a, &b], 800);
    let mut placed = Vec::new();
    for _ in 0..4 {
        placed.extend(load.placed(200).await);
        server(&mut world).command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }
    load.reaches_once(placed, &mut readers).await;
    assert_eq!(readers[0].received, readers[1].received);
    a.end().await;
    b.end().await;
}

#[tokio::test]
async fn a_restart_without_persistence_loses_nothing() {
    let mut world = World::redis().await;
    let (a, b) = (world.live_instance().await, world.live_instance().await);
    let mut readers = [a.reader(), b.reader()];
    let mut load = Load::start(&[&a, &b], 1500);
    let placed = load.placed(600).await;
    server(&mut world).kill().await;
    a.becomes(RelayState::Degraded).await;
    b.becomes(RelayState::Degraded).await;
    server(&mut world).resume().await;
    a.becomes(RelayState::Live).await;
    b.becomes(RelayState::Live).await;
    load.reaches_once(placed, &mut readers).await;
    a.end().await;
    b.end().await;
}

#[tokio::test]
async fn killed_commands_are_repeated_without_a_double() {
    let mut world = World::redis().await;
    let a = world.live_instance().await;
    let mut readers = [a.reader()];
    let mut load = Load::start(&[&a], 800);
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.extend(load.placed(100).await);
        server(&mut world).command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    }
    load.reaches_once(placed, &mut readers).await;
    a.end().await;
}

#[tokio::test]
async fn an_append_that_was_aborted_half_way_does_not_wedge_the_log() {
    let mut world = World::redis().await;
    let a = world.live_instance().await;
    let (mut reader, sender) = (a.reader(), someone());
    let first = a.publish(&sender, "first").await;
    // the entry is there, but neither its dedupe key nor what follows
    let (record, id) = (serde_json::to_string(&record(&sender, "torn")).unwrap(), format!("{}-0", first.seq() + 1));
    assert_eq!(server(&mut world).command(&["XADD", "{contract}:log", &id, "m", &record]).await, [id]);
    let second = a.publish(&sender, "second").await;
    assert_eq!(second.seq(), first.seq() + 2);
    reader.receive(3).await;
    assert_eq!(reader.ids(), ["first", "torn", "second"]);
    a.end().await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed_and_loses_nothing() {
    let mut world = World::redis().await;
    let a = world.live_instance().await;
    let mut readers = [a.reader()];
    let mut load = Load::start(&[&a], 300);
    let placed = load.placed(100).await;
    server(&mut world).signal("STOP").await;
    timeout(Duration::from_secs(5), a.becomes(RelayState::Degraded)).await.unwrap();
    server(&mut world).signal("CONT").await;
    a.becomes(RelayState::Live).await;
    load.reaches_once(placed, &mut readers).await;
    a.end().await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_found() {
    let mut world = World::redis().await;
    server(&mut world).kill().await;
    let instance = world.instance();
    assert_eq!(*instance.relay.state().borrow(), RelayState::Degraded);
    let sender = someone();
    let (done, mut placed) = mpsc::channel(1);
    instance.relay.publish(record(&sender, "m"), Share::of(&sender), move |at| done.try_send(at).unwrap()).unwrap();
    assert_eq!(instance.relay.backlog(), 1);
    server(&mut world).resume().await;
    instance.becomes(RelayState::Live).await;
    assert!(matches!(timeout(PATIENCE, placed.recv()).await.unwrap().unwrap(), Placement::Appended(_)));
    instance.end().await;
}

#[tokio::test]
async fn an_invalid_url_is_an_error_at_once_that_hides_it() {
    let refused = |url: &str| {
        let config = configured(url);
        let error = Redis::connect(&config).unwrap_err();
        assert!(!format!("{error} {error:?} {config:?}").contains("hunter2"), "{error}");
        error
    };
    assert!(matches!(refused("redis://:hunter2@:x"), RedisError::Url(_)));
    assert!(matches!(refused("http://hunter2@localhost"), RedisError::Scheme));
}

/// Where the release before keeps a message: no room in the key, no hash in the value.
#[tokio::test]
async fn a_message_that_an_instance_of_the_release_before_has_published_is_recognised_in_its_room_only() {
    let mut world = World::redis().await;
    let (a, ann) = (world.live_instance().await, someone());
    let first = a.publish(&ann, "m").await.seq();
    let key = |parts: &[&str]| format!("{{contract}}:d:{}", parts.join(":"));
    let (now, before) = (key(&[ann.as_str(), "lobby", "m"]), key(&[ann.as_str(), "m"]));
    let value = server(&mut world).command(&["GET", &now]).await;
    assert!(value[0].strip_prefix(&format!("{first}:")).is_some_and(|hash| hash.len() == 16), "{value:?}");
    let window: u64 = server(&mut world).command(&["PTTL", &now]).await[0].parse().unwrap();
    assert!((100_000..=120_000).contains(&window), "{window}");

    server(&mut world).command(&["RENAME", &now, &before]).await;
    server(&mut world).command(&["SET", &before, &first.to_string()]).await;
    assert_eq!(a.publish(&ann, "m").await, Placement::Duplicate(first));
    let elsewhere = Record { room: "kitchen".parse().unwrap(), ..record(&ann, "m") };
    assert_eq!(a.place(elsewhere).await, Placement::Appended(first + 1));
    a.end().await;
}

/// The release before knows an entry by its fields `m`, `cut` and `low`. One without them takes its `seq` and is skipped.
#[tokio::test]
async fn an_event_of_another_kind_has_no_field_that_the_release_before_reads_but_its_former_seq() {
    let mut world = World::redis().await;
    let ann = someone();
    let batch = message_and_edit(&ann, "m");
    let placements = world.append(&batch).await;
    let text = |submission: &Submission| String::from_utf8(submission.record.to_vec()).unwrap();
    for (placement, fields) in placements.iter().zip([
        vec!["m".to_owned(), text(&batch[0])],
        ["k", "edited", "e", &text(&batch[1]), "w", "0"].map(str::to_owned).to_vec(),
    ]) {
        let id = format!("{}-0", placement.seq());
        let entry = server(&mut world).command(&["XRANGE", "{contract}:log", &id, &id]).await;
        assert_eq!(entry, [vec![id], fields].concat());
    }
}
