//! The log as a recorder sees it: who may record, how far it is recorded, and what may not be trimmed until then.

use std::sync::Arc;

use hubbub_log::{Claim, ClaimStep, Lease, RECORDING_LEASE, Unrecorded};
use tokio::time::{Instant, interval};

use super::*;

/// More than any test here appends.
const AMPLE: Unrecorded = Unrecorded { events: 1_000_000, bytes: 1 << 40 };

/// A store of the log, and what an instance knows that appends to it.
struct Store {
    backend: Box<dyn Backend>,
    base: Seq,
    unrecorded: Unrecorded,
}

impl Store {
    /// A log of which everything is recorded, by `ann`.
    async fn recorded(world: &World, unrecorded: Unrecorded) -> Self {
        let backend = world.backend();
        let base = backend.sync(asking(0, 0)).await.unwrap().base;
        let store = Self { backend, base, unrecorded };
        assert!(store.record(base).await.is_held);
        store
    }

    async fn claim(&self, holder: &str, step: ClaimStep) -> Lease {
        self.backend.lease(&Claim { holder: holder.into(), step }).await.unwrap()
    }

    async fn record(&self, recorded: Seq) -> Lease {
        self.claim("ann", ClaimStep::Hold { recorded, base: self.base }).await
    }

    /// As an instance does whose ring has room for 100 entries.
    async fn append(&self, batch: &[Submission]) -> AppendOutcome {
        let bounds = LogBounds { entries: 100, unrecorded: Some(self.unrecorded) };
        self.backend.append(Fence { epoch: self.base, last: self.base }, bounds, batch).await.unwrap()
    }

    async fn place(&self, submission: &Submission) -> Placement {
        match self.append(std::slice::from_ref(submission)).await {
            AppendOutcome::Placed(placements) => placements[0],
            refused => panic!("{refused:?}"),
        }
    }

    /// The seq of each entry above `after`.
    async fn above(&self, after: Seq) -> Vec<Seq> {
        self.backend.sync(asking(after, 0)).await.unwrap().entries.iter().map(LogEntry::seq).collect()
    }
}

fn asking(after: Seq, floor: Seq) -> SyncRequest {
    SyncRequest { after, low: None, floor, limit: 10_000 }
}

fn message(id: u64, size: usize) -> Submission {
    let record = format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}},"body":"{}"}}"#, "x".repeat(size));
    Submission::new(record, 0, 0).unwrap()
}

pub(super) async fn one_holder_at_a_time_may_record(world: World) {
    let store = Store::recorded(&world, AMPLE).await;
    let first = store.place(&message(1, 0)).await.seq();
    let hold = ClaimStep::Hold { recorded: first, base: store.base };
    let refused = store.claim("bob", hold).await;
    assert_eq!((refused.is_held, refused.recorded), (false, store.base), "only the holder says how far it is");
    store.claim("bob", ClaimStep::Release).await;
    assert!(store.record(0).await.is_held, "nobody gives up the right of another");
    assert!(!store.claim("ann", ClaimStep::Release).await.is_held);

    let mut pace = interval(Duration::from_millis(10));
    let until = Instant::now() + RECORDING_LEASE / 2;
    let taken = loop {
        pace.tick().await;
        let lease = store.claim("bob", hold).await;
        if lease.is_held || Instant::now() > until {
            break lease;
        }
    };
    assert_eq!((taken.is_held, taken.recorded), (true, first));
    assert!(!store.record(first).await.is_held);
}

pub(super) async fn the_right_to_record_ends_unless_it_is_renewed(world: World) {
    let store = Store::recorded(&world, AMPLE).await;
    let (claimed, mut pace) = (Instant::now(), interval(Duration::from_millis(50)));
    let take_over = async {
        while !store.claim("bob", ClaimStep::RENEW).await.is_held {
            pace.tick().await;
        }
    };
    timeout(PATIENCE, take_over).await.unwrap();
    let waited = claimed.elapsed();
    assert!(waited > RECORDING_LEASE.mul_f64(0.9), "{waited:?}");
}

pub(super) async fn what_is_recorded_grows_within_the_log_until_it_is_rewound(world: World) {
    let store = Store::recorded(&world, AMPLE).await;
    for id in 1..=5 {
        store.place(&message(id, 0)).await;
    }
    let base = store.base;
    for (claimed, recorded) in [(base + 3, base + 3), (base + 2, base + 3), (base + 6, base + 3), (base + 4, base + 4)]
    {
        assert_eq!(store.record(claimed).await.recorded, recorded);
    }
    store.backend.rewind(base + 1).await.unwrap();
    assert_eq!(store.record(0).await.recorded, base + 1);
    assert_eq!(store.record(base + 2).await.recorded, base + 2);
    store.backend.rewind(base + 9).await.unwrap();
    assert_eq!(store.record(0).await.recorded, base + 5, "what the log does not have is not recorded");
}

/// A claim may be under way while the log is set back and goes another way: the same numbers name other entries there.
pub(super) async fn a_claim_counts_only_in_the_epoch_in_which_it_was_recorded(world: World) {
    let mut store = Store::recorded(&world, AMPLE).await;
    let former = store.base;
    store.base = store.backend.sync(asking(0, former + 1000)).await.unwrap().base;
    let base = store.base;
    let last = store.place(&message(1, 0)).await.seq();
    for recorded in [base, last] {
        let late = store.claim("ann", ClaimStep::Hold { recorded, base: former }).await;
        assert_eq!((late.is_held, late.recorded, late.base), (true, former, former), "{recorded}");
    }
    let lost = store.claim("ann", ClaimStep::Hold { recorded: base - 1, base: former }).await;
    assert_eq!((lost.recorded, lost.base), (base - 1, former), "the log ended there");
    let told = store.record(last).await;
    assert_eq!((told.recorded, told.base), (last, base));
}

pub(super) async fn a_log_has_one_id_until_it_is_gone(world: World) {
    let store = Store::recorded(&world, AMPLE).await;
    let id = store.record(0).await.log_id;
    assert!(id.len() >= 16, "{id}");
    let base = world.backend().sync(asking(store.base + 1000, 0)).await.unwrap().base;
    assert!(base > store.base, "another epoch");
    assert_eq!(store.record(0).await.log_id, id);
    world.forget().await;
    let other = Store::recorded(&world, AMPLE).await;
    assert_ne!(other.record(0).await.log_id, id);
}

pub(super) async fn what_is_not_recorded_is_never_trimmed(world: World) {
    let store = Store::recorded(&world, AMPLE).await;
    let batch = |ids: std::ops::Range<u64>| ids.map(|id| message(id, 0)).collect::<Vec<_>>();
    for ids in [0..90, 90..110, 110..1000, 1000..1010] {
        store.append(&batch(ids)).await;
    }
    let all: Vec<_> = (store.base + 1..=store.base + 1010).collect();
    assert_eq!(store.above(store.base).await, all);
    store.record(store.base + 500).await;
    store.append(&batch(1010..1020)).await;
    let left = store.above(store.base + 500).await;
    assert_eq!((left.len(), left[0]), (520, store.base + 501));

    store.record(store.base + 1020).await;
    store.append(&batch(1020..1050)).await;
    let left = store.above(0).await;
    assert!((100..=300).contains(&left.len()), "{} entries", left.len());
}

/// A log that was there before anything recorded it: all of it waits.
pub(super) async fn a_log_that_nobody_has_recorded_is_not_trimmed(world: World) {
    let backend = world.backend();
    let base = backend.sync(asking(0, 0)).await.unwrap().base;
    let batch: Vec<_> = (0..500).map(|id| message(id, 0)).collect();
    let store = Store { backend, base, unrecorded: AMPLE };
    store.append(&batch).await;
    let later: Vec<_> = (500..510).map(|id| message(id, 0)).collect();
    store.append(&later).await;
    assert_eq!(store.above(0).await, (base..=base + 510).collect::<Vec<_>>());
}

pub(super) async fn a_log_full_of_what_waits_takes_nothing_new(world: World) {
    let store = Store::recorded(&world, Unrecorded { events: 5, ..AMPLE }).await;
    let first = store.place(&message(1, 0)).await;
    for id in 2..=5 {
        store.place(&message(id, 0)).await;
    }
    assert_eq!(store.append(&[message(6, 0)]).await, AppendOutcome::Full);
    assert_eq!(store.place(&message(1, 0)).await, Placement::Duplicate(first.seq()));
    let mixed = [message(1, 0), message(6, 0)];
    assert_eq!(store.append(&mixed).await, AppendOutcome::Full);
    assert_eq!(store.above(store.base).await.len(), 5, "a refusal writes nothing");
    let offer = Submission { was: 7, ..message(7, 0) };
    assert_eq!(store.place(&offer).await, Placement::Appended(store.base + 6), "it has been counted before");

    store.record(store.base + 3).await;
    assert_eq!(
        store.append(&mixed).await,
        AppendOutcome::Placed(vec![Placement::Duplicate(first.seq()), Placement::Appended(store.base + 7)])
    );
    assert_eq!(store.append(&[message(8, 0), message(9, 0)]).await, AppendOutcome::Full);
    assert!(matches!(store.place(&message(8, 0)).await, Placement::Appended(_)));
    store.record(store.base + 8).await;
    let large: Vec<_> = (10..20).map(|id| message(id, 0)).collect();
    assert!(matches!(store.append(&large).await, AppendOutcome::Placed(_)), "a large batch goes when nothing waits");
}

pub(super) async fn a_log_full_of_bytes_that_wait_takes_nothing_new(world: World) {
    let store = Store::recorded(&world, Unrecorded { bytes: 10_000, ..AMPLE }).await;
    for id in 1..=3 {
        store.place(&message(id, 3000)).await;
    }
    assert_eq!(store.append(&[message(4, 3000)]).await, AppendOutcome::Full);
    store.place(&message(5, 0)).await;
    store.backend.rewind(store.base).await.unwrap();
    assert_eq!(store.append(&[message(4, 3000)]).await, AppendOutcome::Full);
    store.record(store.base + 2).await;
    store.place(&message(4, 3000)).await;
    store.record(store.base + 5).await;
    for id in 6..=8 {
        store.place(&message(id, 3000)).await;
    }
    assert_eq!(store.append(&[message(9, 3000)]).await, AppendOutcome::Full);
}

pub(super) async fn no_epoch_opens_at_or_below_what_the_database_has(world: World) {
    let backend = world.backend();
    let opened = backend.sync(asking(0, 0)).await.unwrap().base;
    let floor = opened + 1_000_000_000_000;
    let base = backend.sync(asking(0, floor)).await.unwrap().base;
    assert!(base > floor, "{base} is not above {floor}");
    assert_eq!(backend.sync(asking(0, floor)).await.unwrap().base, base, "the log is above it now");
    world.forget().await;
    assert!(backend.sync(asking(0, floor)).await.unwrap().base > floor);
}

pub(super) async fn an_instance_asks_with_its_floor(world: World) {
    let floor = world.backend().sync(asking(0, 0)).await.unwrap().base + 1_000_000_000_000;
    let instance = world.instance_with(RelayOptions { floor, ..RelayOptions::default() });
    instance.becomes(RelayState::Live).await;
    assert!(instance.ring.last() > floor);
    instance.end().await;
}

pub(super) async fn a_full_backlog_refuses_what_comes_and_keeps_what_it_has_accepted(world: World) {
    let unrecorded = Some(Unrecorded { events: 5, ..AMPLE });
    let instance = world.instance_with(RelayOptions { unrecorded, pending_messages: 3, ..RelayOptions::default() });
    instance.becomes(RelayState::Live).await;
    let (tail, ann) = (instance.relay.tail(), someone());
    let base = instance.ring.last();
    let lease = tail.lease(ClaimStep::Hold { recorded: base, base }).await.unwrap();
    assert_eq!((lease.is_held, lease.recorded), (true, base));
    let mut last = 0;
    for id in 0..5 {
        last = instance.publish(&ann, &id.to_string()).await.seq();
    }
    let (done, mut placed) = mpsc::channel(3);
    for id in 5..8 {
        let done = done.clone();
        let on_placed = move |placement| done.try_send(placement).unwrap();
        instance.relay.publish(record(&ann, &id.to_string()), Share::of(&id), on_placed).unwrap();
    }
    let refused = instance.relay.publish(record(&ann, "8"), Share::of(&8), |_| ()).unwrap_err();
    assert_eq!(refused.full, Full::Queue);
    // the queue has been tried: what the log answers after that comes from a later try
    assert!(instance.relay.resync(PATIENCE).await);
    assert_eq!((*instance.relay.state().borrow(), placed.try_recv().is_ok()), (RelayState::Live, false));

    assert_eq!(tail.lease(ClaimStep::Hold { recorded: last, base }).await.unwrap().recorded, last);
    for n in 1..=3 {
        assert_eq!(timeout(PATIENCE, placed.recv()).await.unwrap().unwrap(), Placement::Appended(last + n));
    }
    assert_eq!(*instance.relay.state().borrow(), RelayState::Live);
    instance.end().await;
    assert!(tail.read(0, 1).await.is_err(), "the relay has closed");
}

pub(super) async fn a_tail_reads_on_from_any_place_and_waits_for_more(world: World) {
    let instance = world.live_instance().await;
    let (tail, ann, base) = (instance.relay.tail(), someone(), instance.ring.last());
    let grown = tail.grown(base + 1);
    for id in ["a", "b", "c"] {
        instance.publish(&ann, id).await;
    }
    timeout(PATIENCE, grown).await.unwrap();
    let snapshot = tail.read(base, 2).await.unwrap();
    let seqs: Vec<_> = snapshot.entries.iter().map(LogEntry::seq).collect();
    assert_eq!((snapshot.base, snapshot.seq, seqs), (base, base + 3, vec![base + 1, base + 2]));
    instance.end().await;
}

/// The recorder notices a loss first: what its instance can put back is not given up for it.
pub(super) async fn an_epoch_that_a_tail_opens_resets_nobody(world: World) {
    let instance = world.live_instance().await;
    let (mut reader, tail, ann) = (instance.reader(), instance.relay.tail(), someone());
    let first = instance.publish(&ann, "a").await.seq();
    let last = instance.publish(&ann, "b").await.seq();
    reader.receive(2).await;
    world.forget().await;
    let base = tail.read(last + 1_000_000_000_000, 10).await.unwrap().base;
    assert!(base > last + 1_000_000_000_000);
    timeout(PATIENCE, tail.grown(base - 1)).await.unwrap();
    instance.publish(&ann, "c").await;
    reader.receive(3).await;
    let late = world.live_instance().await;
    for ring in [&instance.ring, &late.ring] {
        for cursor in [first, last, base] {
            assert_eq!(ring.check_cursor(cursor), CursorCheck::Replay, "{cursor}");
        }
    }
    assert_eq!(reader.resets, 0);
    instance.end().await;
    late.end().await;
}

pub(super) async fn a_message_that_is_lost_twice_keeps_its_first_place(world: World) {
    let (instance, ann) = (world.live_instance().await, someone());
    let first = instance.publish(&ann, "a").await.seq();
    world.forget().await;
    let second = instance.publish(&ann, "b").await.seq();
    world.forget().await;
    instance.publish(&ann, "c").await;
    let events = |entries: Vec<LogEntry>| entries.into_iter().filter(|entry| entry.record().is_some());
    let [a, b, c] = events(world.entries().await).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!([a.place(), b.place(), c.place()], [first, second, c.seq()]);
    assert!(a.was() > first && a.seq() > a.was(), "{a:?}");
    let late = world.live_instance().await;
    for ring in [&instance.ring, &late.ring] {
        timeout(PATIENCE, ring.watch().wait_for(|last| *last >= c.seq())).await.unwrap().unwrap();
        let history = ring.history(&RoomId::lobby(), None, None, 9).entries;
        assert_eq!(history.iter().map(|entry| entry.place()).collect::<Vec<_>>(), [first, second, c.seq()]);
        assert_eq!(json(&history[0])["first"], first);
    }
    instance.end().await;
    late.end().await;
}

/// As an instance of the release before has left it.
#[tokio::test]
async fn a_log_of_the_release_before_gets_its_id_with_the_next_sync() {
    let mut world = World::redis().await;
    let store = Store::recorded(&world, AMPLE).await;
    let gone = server(&mut world).command(&["HDEL", "{contract}:meta", "log_id", "recorded", "waiting_bytes"]).await;
    assert_eq!(gone, ["3"]);
    let claim = Claim { holder: Arc::from("ann"), step: ClaimStep::RENEW };
    store.backend.lease(&claim).await.unwrap_err();
    assert_eq!(store.backend.sync(asking(0, 0)).await.unwrap().base, store.base);
    let lease = store.backend.lease(&claim).await.unwrap();
    assert_eq!((lease.is_held, lease.log_id.len(), lease.recorded), (true, 32, 0));
}

#[tokio::test]
async fn the_documented_user_may_do_all_that_recording_needs() {
    let mut world = World::redis().await;
    let page = include_str!("../../docs/operations.md");
    let rules = page.lines().find_map(|line| line.strip_prefix("    user hubbub ")).unwrap();
    let rules = rules.replace("SECRET", "secret").replace("{hubbub}", "{contract}");
    let words: Vec<&str> = ["ACL", "SETUSER", "hubbub"].into_iter().chain(rules.split(' ')).collect();
    let server = server(&mut world);
    assert_eq!(server.command(&words).await, ["OK"]);
    let backend = Box::new(Redis::connect(&configured(&server.url_as("hubbub", "secret"))).unwrap());
    let base = backend.sync(asking(0, 0)).await.unwrap().base;
    let store = Store { backend, base, unrecorded: Unrecorded { events: 1, ..AMPLE } };
    assert!(store.record(base).await.is_held);
    store.place(&message(1, 0)).await;
    assert_eq!(store.append(&[message(2, 0)]).await, AppendOutcome::Full);
    assert_eq!(store.record(base + 1).await.recorded, base + 1);
    store.backend.rewind(base).await.unwrap();
    assert!(!store.claim("ann", ClaimStep::Release).await.is_held);
    assert_eq!(store.record(0).await.recorded, base);
}
