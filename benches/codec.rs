//! What the protocol costs: decoding frames of clients, encoding frames for all, and bringing the channel into order.
#![expect(clippy::expect_used, reason = "fixed input that is valid")]

use std::{cell::Cell, sync::Arc};

use bytes::Bytes;
use divan::{Bencher, black_box, counter::ItemsCount};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::{self, BoxStream},
};
use hubbub_lifecycle::Shutdown;
use hubbub_log::{
    AppendOutcome, Backend, BackendError, Claim, Event, Fence, Lease, LogBounds, Memory, Relay, RelayOptions, Report,
    Snapshot, Submission, SyncRequest, VersionedCount,
    ring::{Retention, Ring},
};
use hubbub_protocol::{ClientFrame, Frame, GuestSecret, Message, Record, RoomId, Seq, ServerFrame, User};
use tokio::runtime::Builder;

/// Lengths of the bodies, in bytes.
const BODIES: [usize; 3] = [20, 200, 8192];
/// Payloads of the channel that are brought into order at a time, and messages in each.
const PAYLOADS: u64 = 10;
const MESSAGES: u64 = 100;
/// Entries that the log keeps.
const BOUNDS: LogBounds = LogBounds { entries: 10_000, unrecorded: None };

fn main() {
    divan::main();
}

fn record(body: usize) -> Record {
    let from = User { id: GuestSecret::random().user_id(), name: "Ann".parse().expect("a name") };
    let id = "01J9ZK4Q".parse().expect("an id");
    Record { room: RoomId::lobby(), id, from, body: "x".repeat(body), at: 1_795_000_000_000 }
}

/// A publish as the session reads it.
#[divan::bench(args = BODIES)]
fn decode_a_publish(bencher: Bencher<'_, '_>, body: usize) {
    let text = format!(r#"{{"type":"publish","id":"01J9ZK4Q","room":"lobby","body":"{}"}}"#, "x".repeat(body));
    bencher.bench(|| ClientFrame::decode(black_box(&text)));
}

/// A message as it enters the ring: spliced around the bytes of its record.
#[divan::bench(args = BODIES)]
fn splice_a_message(bencher: Bencher<'_, '_>, body: usize) {
    let json = serde_json::to_string(&record(body)).expect("a record");
    bencher.bench(|| Frame::message(black_box(1_795_000_000_000_001), black_box(&json), 0));
}

/// The same frame, serialised from its parts: what splicing saves.
#[divan::bench(args = BODIES)]
fn serialise_a_message(bencher: Bencher<'_, '_>, body: usize) {
    let message =
        ServerFrame::Message(Message { seq: 1_795_000_000_000_001, record: record(body), first: None, was: None });
    bencher.bench(|| Frame::json(black_box(&message)));
}

/// What the channel does to what the log publishes.
#[derive(Clone, Copy, Debug)]
enum Channel {
    InOrder,
    Twice,
    /// The sixth payload of ten is missing: what is behind it waits for the log.
    WithAGap,
}

/// The log of this process behind such a channel.
#[derive(Debug)]
struct Tampered(Memory, Channel);

impl Backend for Tampered {
    fn events(&self) -> BoxStream<'static, Event> {
        let (events, mut payloads) = (self.0.events(), 0);
        let mut is_missing = move |event: &Event| {
            let counts = matches!(event, Event::Payload(payload) if payload.starts_with(b"1 messages"));
            payloads += u64::from(counts);
            counts && payloads % PAYLOADS == 6
        };
        match self.1 {
            Channel::InOrder => events,
            Channel::Twice => events.flat_map(|event| stream::iter([event.clone(), event])).boxed(),
            Channel::WithAGap => events.filter(move |event| ready(!is_missing(event))).boxed(),
        }
    }

    fn append<'a>(
        &'a self,
        known: Fence,
        bounds: LogBounds,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<AppendOutcome, BackendError>> {
        self.0.append(known, bounds, batch)
    }

    fn sync(&self, position: SyncRequest) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        self.0.sync(position)
    }

    fn lease<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Lease, BackendError>> {
        self.0.lease(claim)
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        self.0.rewind(recorded)
    }

    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>> {
        self.0.announce(payload)
    }

    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<VersionedCount, BackendError>> {
        self.0.report(report)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

/// From the channel's payloads to the ring, gaps filled from the log and repetitions dropped. An item is a message.
#[divan::bench(args = [Channel::InOrder, Channel::Twice, Channel::WithAGap], sample_size = 1, sample_count = 300)]
fn sequence(bencher: Bencher<'_, '_>, channel: Channel) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (log, ring, shutdown) = (Memory::new(), Arc::new(Ring::new(Retention::default())), Shutdown::default());
    let _entered = runtime.enter();
    let tampered = Tampered(log.clone(), channel);
    let _relay = Relay::start(tampered, Arc::clone(&ring), RelayOptions::default(), &shutdown);
    let reach = |place: Seq| drop(runtime.block_on(ring.watch().wait_for(|last| *last >= place)));
    reach(1);
    let (epoch, last) = (ring.last(), Cell::new(ring.last()));
    let json = serde_json::to_string(&record(200)).expect("a record");
    let message = Submission::new(json, 0, 0).expect("a record");
    // the relay's tasks run in the measured part only
    let publish = || {
        for _ in 0..PAYLOADS {
            let known = Fence { epoch, last: last.get() };
            let places = last.get() + 1..=last.get() + MESSAGES;
            last.set(*places.end());
            let batch: Vec<_> =
                places.map(|place| Submission { key: format!("u:{place}").into(), ..message.clone() }).collect();
            let receipt = log.append(known, BOUNDS, &batch).now_or_never().expect("a log that never waits");
            assert!(matches!(receipt, Ok(AppendOutcome::Placed(_))), "{receipt:?}");
        }
        last.get()
    };
    bencher.counter(ItemsCount::new(PAYLOADS * MESSAGES)).with_inputs(publish).bench_local_values(reach);
}
