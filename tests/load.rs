//! What the load generator must get right: its account of what came, that it finds out a server that lies, and how it
//! speaks with other servers.
//!
//! The generator has a `main` of its own, so its unit tests are here.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]
#![expect(dead_code, reason = "some of it is used by the generator only")]

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
fn skipped_messages_and_outstanding_ones_are_counted_apart() {
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
    let sent = format!("INFO {{}}\r\nPONG\r\nMSG load-0 1 200\r\n{body}\r\nMSG load-0 1 2\r\n\r\n\r\nPING\r\n");
    let message = Operation::Message(Some(STAMP));
    let expected = [Operation::Other, Operation::Pong, message, Operation::Message(None), Operation::Ping];
    for piece in [1, 2, 3, 7, 50, sent.len()] {
        assert_eq!(operations(sent.as_bytes(), piece).unwrap(), expected, "in pieces of {piece}");
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

mod run {
    use clap::Parser;
    use futures_util::{SinkExt, StreamExt};
    use hubbub_protocol::ClientFrame;
    use hubbub_testbed::within;
    use tokio::{net::TcpListener, sync::broadcast};
    use tokio_tungstenite::{accept_async, tungstenite::Message};
    use tokio_util::task::{AbortOnDropHandle, TaskTracker};

    use super::load::{options::Options, report::Report, rounds::Rounds, run::Outcome, subject::Subject};

    const WELCOME: &str = r#"{"type":"welcome","version":1,"connection":9,"instance":"a","user":{"id":"N0cI__dxndWXnsh11WzSKA","name":"Ann"},"seq":1,"resumed":false,"heartbeat_ms":25000,"dedupe_ms":120000,"limits":{"frame_bytes":65536,"body_bytes":8192,"name_chars":64,"rooms":32,"unacked_publishes":256},"count":{"connections":3,"instances":2,"settling":false},"relay":"live"}"#;

    async fn measure(args: &[&str]) -> (Rounds, Result<(), String>) {
        let options = Options::try_parse_from([&["load", "--warmup", "0", "--seconds", "1"], args].concat()).unwrap();
        let load = options.load().unwrap();
        let rounds = within(Rounds::measure(&options, &load)).await;
        let promises = Report::new(&load, &rounds).promises_kept().map_err(|error| error.to_string());
        (rounds, promises)
    }

    /// What was measured, and what the generator finds about the promises.
    async fn outcome(args: &[&str]) -> (Outcome, Result<(), String>) {
        let (mut rounds, promises) = measure(args).await;
        (rounds.outcomes.remove(0), promises)
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_reported_and_not_tried_again() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let (rounds, promises) = measure(&["--clients", "3", "--address", &nobody, "--rounds", "2"]).await;
        assert!(rounds.outcomes.is_empty());
        let [(Subject::Hubbub, why)] = rounds.failures.as_slice() else { panic!("{:?}", rounds.failures) };
        assert_eq!(promises, Err(format!("hubbub failed: {why}")));
    }

    #[tokio::test]
    async fn a_sound_server_is_found_sound() {
        let args = ["--clients", "12", "--rooms", "3", "--rate", "60", "--reconnect", "50", "--wave", "1"];
        let (outcome, promises) = outcome(&args).await;
        assert_eq!(promises, Ok(()));
        let counts = outcome.tally.counts;
        assert_eq!((counts.connected, counts.sent, counts.accepted, counts.delivered), (12, 60, 60, 240));
        assert_eq!((outcome.lost, counts.duplicated, counts.reordered, counts.stray), (0, 0, 0, 0));
        assert_eq!(counts.resumed, 5, "{:?}", outcome.tally.troubles);
        assert!(outcome.tally.latency[0].quantile_ms(0.5).unwrap() > 0.0);
        assert!(outcome.resident_kib.unwrap().1 > 0);
    }

    #[tokio::test]
    async fn a_server_that_forgets_repeats_and_swaps_is_found_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let _liar = AbortOnDropHandle::new(TaskTracker::new().spawn(lie(listener)));
        let (outcome, promises) = outcome(&["--clients", "3", "--rate", "10", "--address", &address]).await;
        let complaint =
            "in round 1 hubbub lost 3 frames; 3 came twice, 3 out of order, 0 astray; 0 publishes were not answered";
        assert_eq!(promises, Err(complaint.to_owned()));
        let counts = outcome.tally.counts;
        assert_eq!((counts.connected, counts.accepted, counts.delivered), (3, 10, 30));
        assert_eq!((outcome.lost, counts.duplicated, counts.reordered, counts.stray), (3, 3, 3, 0));
    }

    /// A server that acks everything, sends 1 twice and 4 before 3, and never sends 6.
    async fn lie(listener: TcpListener) {
        let (sent, _) = broadcast::channel(64);
        let tracker = TaskTracker::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (sent, mut received) = (sent.clone(), sent.subscribe());
            tracker.spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                socket.next().await.unwrap().unwrap();
                socket.send(Message::text(WELCOME)).await.unwrap();
                socket.send(Message::text(r#"{"type":"live","seq":1}"#)).await.unwrap();
                let mut bodies = Vec::new();
                loop {
                    tokio::select! {
                        Some(Ok(message)) = socket.next() => {
                            let Ok(ClientFrame::Publish(publish)) = ClientFrame::decode(message.to_text().unwrap()) else { return };
                            bodies.push(publish.body);
                            let numbers: &[usize] = match bodies.len() - 1 {
                                1 => &[1, 1],
                                3 | 6 => &[],
                                4 => &[4, 3],
                                number => &[number],
                            };
                            for number in numbers {
                                sent.send(bodies[*number].clone()).unwrap();
                            }
                            let ack = format!(r#"{{"type":"ack","id":"{}","seq":1}}"#, publish.id);
                            socket.send(Message::text(ack)).await.unwrap();
                        }
                        Ok(body) = received.recv() => {
                            let message = format!(r#"{{"type":"message","seq":1,"room":"load-0","body":"{body}"}}"#);
                            socket.send(Message::text(message)).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    }
}

mod hubbub_dialect {
    use hubbub_protocol::{GuestSecret, Message, Record, ServerFrame, User};

    use super::load::{dialect::hubbub::message, room, schedule::Stamp};

    #[test]
    fn a_message_is_recognised_without_parsing() {
        let stamp = Stamp { sender: 3, number: 9, due: 77 };
        let from = User { id: GuestSecret::random().user_id(), name: "Load".parse().unwrap() };
        let (room, id) = (room::name(1).parse().unwrap(), "3-9".parse().unwrap());
        let record = Record { room, id, from, body: stamp.body(200), at: 1 };
        let frame = ServerFrame::Message(Message { seq: 1_764_000_000_000_001, record, first: None, was: None });
        let text = serde_json::to_string(&frame).unwrap();
        assert_eq!(message(&text), Some((1_764_000_000_000_001, stamp)));
    }

    #[test]
    fn other_frames_are_not_messages() {
        for text in [r#"{"type":"heartbeat","seq":1}"#, r#"{"type":"message","seq":1,"body":"hi"}"#, "", "{}"] {
            assert_eq!(message(text), None, "{text}");
        }
    }
}

mod options {
    use std::collections::BTreeSet;

    use anyhow::Result;
    use clap::{CommandFactory, Parser};

    use super::load::{
        ledger::Reader,
        options::{Load, Options},
    };

    fn load(args: &[&str]) -> Result<Load> {
        Options::try_parse_from([&["load"], args].concat())?.load()
    }

    #[test]
    fn the_command_line_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_preset_can_be_changed() {
        let load = load(&["--preset", "rooms", "--clients", "2000", "--bench"]).unwrap();
        assert_eq!((load.clients, load.rooms, load.senders), (2_000, 1_000, 1_000));
    }

    #[test]
    fn there_are_as_many_senders_as_the_server_allows_for() {
        assert_eq!(load(&["--preset", "burst"]).unwrap().senders, 50);
        assert_eq!(load(&["--preset", "paced"]).unwrap().senders, 1);
        assert_eq!(load(&["--preset", "idle"]).unwrap().senders, 0);
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [["--instances", "2"], ["--senders", "1001"], ["--rooms", "1001"], ["--size", "31"]] {
            assert!(load(&args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn each_wave_takes_the_next_clients() {
        let load = load(&["--reconnect", "30", "--senders", "1"]).unwrap();
        let waves = (1..=10).map(|wave| (1..101).filter(|client| load.goes(*client, wave)).collect::<BTreeSet<_>>());
        let waves: Vec<_> = waves.collect();
        assert!(waves.iter().all(|wave| wave.len() == 30));
        assert!(waves[0].is_disjoint(&waves[1]) && waves[1].is_disjoint(&waves[2]));
        assert_eq!(waves[..4].iter().flatten().collect::<BTreeSet<_>>().len(), 100);
        assert!((0..10).all(|wave| !load.goes(0, wave)), "a sender stays");
    }

    #[test]
    fn few_clients_have_their_share_of_slow_ones() {
        let load = load(&["--slow", "20", "--clients", "20", "--rate", "0"]).unwrap();
        assert_eq!((0..20).filter(|client| load.reader(*client) == Reader::Slow).count(), 4);
    }
}

mod report {
    use super::load::report::numbers::{number, spread};

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!([0.0, 7.25, 43.21, 98_765.4, 5.0].map(number), ["0", "7.250", "43.2", "98765", "5"]);
    }
}

mod schedule {
    use super::load::schedule::{Schedule, Stamp, now};

    fn schedule() -> Schedule {
        Schedule { start: 1_000, interval: 10, messages: 8, senders: 3, measured_from: 1_020 }
    }

    #[test]
    fn a_body_has_its_size_and_gives_its_stamp_back() {
        let stamp = Stamp { sender: 7, number: 1 << 20, due: now() };
        assert_eq!(stamp.body(200).len(), 200);
        assert_eq!(stamp.body(0).len(), Stamp::BYTES);
        assert_eq!(Stamp::read(&stamp.body(200)), Some(stamp));
        assert_eq!(Stamp::read("somebody else's"), None);
    }

    #[test]
    fn senders_take_turns_and_their_shares_are_the_whole() {
        let schedule = schedule();
        let stamps: Vec<_> = schedule.stamps().collect();
        assert_eq!(stamps.len(), 8);
        assert_eq!(stamps[4], Stamp { sender: 1, number: 1, due: 1_040 });
        for stamp in stamps {
            assert_eq!(schedule.stamp_of(stamp.sender, stamp.number), stamp);
        }
        assert_eq!([0, 1, 2].map(|sender| schedule.share(sender)), [3, 3, 2]);
    }

    #[test]
    fn what_is_due_in_the_warm_up_is_not_measured() {
        let schedule = schedule();
        assert_eq!(schedule.second(1_019), None);
        assert_eq!(schedule.second(1_020), Some(0));
        assert_eq!(schedule.second(1_000_001_020), Some(1));
    }
}

mod usage {
    use std::time::Duration;

    use super::load::usage::{Cpu, resident_kib};

    #[test]
    fn this_process_uses_something() {
        let me = [std::process::id()];
        let before = Cpu::of(&me).unwrap();
        while (Cpu::of(&me).unwrap() - before).user + (Cpu::of(&me).unwrap() - before).system
            < Duration::from_millis(20)
        {}
        assert!(resident_kib(&me).unwrap() > 0);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Cpu::of(&[u32::MAX]).is_err());
        assert!(resident_kib(&[u32::MAX]).is_err());
    }
}
