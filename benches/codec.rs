//! What the protocol costs: reading what a client says, and encoding what all hear.
#![expect(clippy::expect_used, reason = "fixed input that is valid")]

use divan::{Bencher, black_box};
use hubbub::protocol::{ClientFrame, Frame, Message, Record, RoomId, ServerFrame, Session, User};

/// Lengths of the bodies, in bytes.
const BODIES: [usize; 3] = [20, 200, 8192];

fn main() {
    divan::main();
}

fn record(body: usize) -> Record {
    let from = User { id: Session::random().user_id(), name: "Ann".parse().expect("a name") };
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
    let message = ServerFrame::Message(Message { seq: 1_795_000_000_000_001, record: record(body), was: None });
    bencher.bench(|| Frame::json(black_box(&message)));
}
