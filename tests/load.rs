//! What the load generator must get right: its account of what came, and how it speaks with other servers.
//!
//! The generator has a `main` of its own, so its unit tests are here.
#![expect(dead_code, reason = "what connects and measures is used by the generator only")]

#[path = "../benches/load/main.rs"]
mod load;

use bytes::BytesMut;
use load::{
    dialect::{nats, socket_io},
    ledger::{Absent, Arrival, Ledger, Reader},
    schedule::Stamp,
};
use nats::Operation;

const STAMP: Stamp = Stamp { sender: 7, number: 0, due: 1_795_000_000_000_000_000 };

/// What a client of one sender makes of these numbers.
fn arrivals(ledger: &mut Ledger, numbers: &[u32]) -> Vec<Arrival> {
    numbers.iter().map(|&number| ledger.enter(Stamp { sender: 0, number, due: 0 })).collect()
}

#[test]
fn a_repetition_fills_no_gap() {
    let mut ledger = Ledger::new(0, 1, 1, Reader::Prompt);
    let came = arrivals(&mut ledger, &[0, 3, 0, 3, 2, 2]);
    let (new, late, repeated) = (Arrival::New, Arrival::Late, Arrival::Repeated);
    assert_eq!(came, [new, new, repeated, repeated, late, repeated]);
    assert_eq!(ledger.absent(&[4]), Absent { skipped: 1, outstanding: 0 });
}

#[test]
fn a_gap_is_filled_from_any_side() {
    let mut ledger = Ledger::new(0, 1, 1, Reader::Prompt);
    arrivals(&mut ledger, &[5, 2, 0, 4, 3, 1]);
    assert_eq!(ledger.absent(&[6]), Absent::default());
}

#[test]
fn what_was_skipped_is_told_from_what_may_still_come() {
    let mut ledger = Ledger::new(0, 1, 1, Reader::Prompt);
    arrivals(&mut ledger, &[0, 2]);
    assert_eq!(ledger.absent(&[5]), Absent { skipped: 1, outstanding: 2 });
}

#[test]
fn nothing_is_outstanding_for_a_slow_reader() {
    let mut ledger = Ledger::new(0, 1, 1, Reader::Slow);
    arrivals(&mut ledger, &[0, 2]);
    assert_eq!(ledger.absent(&[5]), Absent { skipped: 1, outstanding: 0 });
}

#[test]
fn a_refused_message_is_not_absent() {
    let mut ledger = Ledger::new(0, 1, 1, Reader::Prompt);
    arrivals(&mut ledger, &[0, 2]);
    assert_eq!(ledger.absent(&[2]), Absent::default());
}

#[test]
fn a_message_of_another_room_is_astray() {
    let mut ledger = Ledger::new(1, 2, 2, Reader::Prompt);
    assert_eq!(ledger.enter(Stamp { sender: 0, number: 0, due: 0 }), Arrival::Stray);
    assert_eq!(ledger.enter(Stamp { sender: 1, number: 0, due: 0 }), Arrival::New);
}

#[test]
fn a_socket_io_message_carries_its_stamp() {
    let packet = format!(r#"42["message","{}"]"#, STAMP.body(200));
    assert_eq!(socket_io::message(&packet), Some(STAMP));
}

#[test]
fn other_socket_io_packets_are_no_messages() {
    let others = [
        r#"0{"sid":"a"}"#,
        "2",
        r#"40{"sid":"a"}"#,
        r#"42["joined"]"#,
        r#"42["news","x"]"#,
        r#"42["message","short"]"#,
    ];
    assert!(others.iter().all(|packet| socket_io::message(packet).is_none()));
}

#[test]
fn socket_io_events_are_what_its_protocol_says() {
    assert_eq!(socket_io::connect(3), r#"40{"room":"load-3"}"#);
    let event = socket_io::publish(3, STAMP, 200);
    let arguments: Vec<String> = serde_json::from_str(event.strip_prefix("42").unwrap()).unwrap();
    assert_eq!(arguments, ["publish".to_owned(), "load-3".to_owned(), STAMP.body(200)]);
}

/// Every operation of this input, as it comes in pieces of so many bytes.
fn operations(bytes: &[u8], piece: usize) -> anyhow::Result<Vec<Operation>> {
    let mut input = BytesMut::new();
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        while let Some(operation) = nats::operation(&mut input)? {
            all.push(operation);
        }
    }
    assert!(input.is_empty(), "left over: {input:?}");
    Ok(all)
}

#[test]
fn nats_operations_are_found_wherever_the_frames_end() {
    let body = STAMP.body(200);
    let said = format!("INFO {{}}\r\nPONG\r\nMSG load-0 1 200\r\n{body}\r\nMSG load-0 1 2\r\n\r\n\r\nPING\r\n");
    let message = Operation::Message(Some(STAMP));
    let expected = [Operation::Other, Operation::Pong, message, Operation::Message(None), Operation::Ping];
    for piece in [1, 2, 3, 7, 50, said.len()] {
        assert_eq!(operations(said.as_bytes(), piece).unwrap(), expected, "in pieces of {piece}");
    }
}

#[test]
fn a_nats_error_ends_the_connection() {
    let mut input = BytesMut::from("-ERR 'Slow Consumer'\r\n");
    assert_eq!(nats::operation(&mut input).unwrap_err().to_string(), "-ERR 'Slow Consumer'");
}

#[test]
fn nats_publishes_name_the_size_of_the_body() {
    let body = STAMP.body(40);
    assert_eq!(nats::publish(3, STAMP, 40), format!("PUB load-3 40\r\n{body}\r\n"));
    assert!(nats::join(3).ends_with("\r\nSUB load-3 1\r\nPING\r\n"));
}
