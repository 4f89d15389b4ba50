//! The load generator: what it computes, that it measures a real server, and that it finds out one that lies.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]

#[expect(dead_code, reason = "this is its entry point as a program")]
#[path = "../benches/load/main.rs"]
mod load;

mod run {
    use clap::Parser;
    use futures_util::{SinkExt, StreamExt};
    use hubbub::protocol::ClientFrame;
    use hubbub_testbed::within;
    use tokio::{net::TcpListener, sync::broadcast};
    use tokio_tungstenite::{accept_async, tungstenite::Message};
    use tokio_util::task::{AbortOnDropHandle, TaskTracker};

    use super::load::{options::Options, rounds, run::Outcome};

    const WELCOME: &str = r#"{"type":"welcome","version":1,"connection":9,"instance":"a","user":{"id":"N0cI__dxndWXnsh11WzSKA","name":"Ann"},"seq":1,"resumed":false,"heartbeat_ms":25000,"dedupe_ms":120000,"limits":{"frame_bytes":65536,"body_bytes":8192,"name_chars":64,"rooms":32,"unacked_publishes":256},"count":{"connections":3,"instances":2,"settling":false},"relay":"live"}"#;

    async fn outcome(args: &[&str]) -> Outcome {
        let options = Options::try_parse_from([&["load", "--warmup", "0", "--seconds", "1"], args].concat()).unwrap();
        let load = options.load().unwrap();
        within(rounds(&options, &load)).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_sound_server_is_found_sound() {
        let args = ["--clients", "12", "--rooms", "3", "--rate", "60", "--reconnect", "50", "--wave", "1"];
        let outcome = outcome(&args).await;
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
        let outcome = outcome(&["--clients", "3", "--rate", "10", "--address", &address]).await;
        let counts = outcome.tally.counts;
        assert_eq!((counts.connected, counts.accepted, counts.delivered), (3, 10, 30));
        assert_eq!((outcome.lost, counts.duplicated, counts.reordered, counts.stray), (3, 3, 3, 0));
    }

    /// A server that acks everything, says 1 twice and 4 before 3, and never says 6.
    async fn lie(listener: TcpListener) {
        let (said, _) = broadcast::channel(64);
        let tracker = TaskTracker::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (said, mut heard) = (said.clone(), said.subscribe());
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
                                said.send(bodies[*number].clone()).unwrap();
                            }
                            let ack = format!(r#"{{"type":"ack","id":"{}","seq":1}}"#, publish.id);
                            socket.send(Message::text(ack)).await.unwrap();
                        }
                        Ok(body) = heard.recv() => {
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

mod dialect {
    use hubbub::protocol::{Message, Record, ServerFrame, Session, User};

    use super::load::{
        dialect::{hubbub::message, room_name},
        schedule::Stamp,
    };

    #[test]
    fn a_message_is_recognised_without_parsing() {
        let stamp = Stamp { sender: 3, number: 9, due: 77 };
        let from = User { id: Session::random().user_id(), name: "Load".parse().unwrap() };
        let (room, id) = (room_name(1).parse().unwrap(), "3-9".parse().unwrap());
        let record = Record { room, id, from, body: stamp.body(200), at: 1 };
        let frame = ServerFrame::Message(Message { seq: 1_764_000_000_000_001, record, was: None });
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

mod ledger {
    use super::load::{
        ledger::{Arrival, Ledger, Reader},
        schedule::Stamp,
    };

    fn stamp(sender: u32, number: u32) -> Stamp {
        Stamp { sender, number, due: 0 }
    }

    fn after(reader: Reader, numbers: &[u32]) -> (Ledger, Vec<Arrival>) {
        let mut ledger = Ledger::new(0, 1, 1, reader);
        let arrivals = numbers.iter().map(|number| ledger.enter(stamp(0, *number))).collect();
        (ledger, arrivals)
    }

    #[test]
    fn a_gap_is_lost_until_it_is_filled() {
        let (ledger, _) = after(Reader::Prompt, &[0, 1, 4]);
        assert_eq!(ledger.lost(&[5]), 2);
        let (ledger, arrivals) = after(Reader::Prompt, &[0, 1, 4, 2, 3]);
        assert_eq!(arrivals[2..], [Arrival::New, Arrival::Late, Arrival::Late]);
        assert_eq!(ledger.lost(&[5]), 0);
    }

    #[test]
    fn what_came_before_is_repeated() {
        let (_, arrivals) = after(Reader::Prompt, &[0, 1, 1, 0, 2]);
        assert_eq!(arrivals[1..], [Arrival::New, Arrival::Repeated, Arrival::Repeated, Arrival::New]);
    }

    #[test]
    fn the_end_is_lost_too_but_not_to_a_client_that_still_reads() {
        assert_eq!(after(Reader::Prompt, &[0, 2]).0.lost(&[7]), 5);
        assert_eq!(after(Reader::Slow, &[0, 2]).0.lost(&[7]), 1);
    }

    #[test]
    fn what_was_never_accepted_is_not_lost() {
        assert_eq!(after(Reader::Prompt, &[0, 3]).0.lost(&[2]), 0);
        assert_eq!(after(Reader::Slow, &[0, 3]).0.lost(&[2]), 0);
    }

    #[test]
    fn only_the_senders_of_the_room_count() {
        let mut ledger = Ledger::new(1, 3, 8, Reader::Prompt);
        assert_eq!(ledger.enter(stamp(4, 0)), Arrival::New);
        assert_eq!(ledger.enter(stamp(3, 0)), Arrival::Stray);
        assert_eq!(ledger.enter(stamp(10, 0)), Arrival::Stray);
        assert_eq!(ledger.lost(&[9, 2, 9, 9, 3, 9, 9, 1]), 2 + 2 + 1);
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
    use super::load::report::{number, spread};

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
