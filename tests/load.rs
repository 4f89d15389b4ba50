//! The load generator: what it computes, and that it measures a real server.

#[expect(dead_code, reason = "this is its entry point as a program")]
#[path = "../benches/load/main.rs"]
mod load;

mod hubbub {
    use hubbub::protocol::{Message, Record, Session, User};

    use super::load::dialect::hubbub::*;

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
    use super::load::ledger::*;

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
    use clap::CommandFactory;

    use super::load::options::*;

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
        let load = load(&["--reconnect", "30", "--senders", "10"]).unwrap();
        let wave = |wave| (0..100).filter(|client| load.goes(*client, wave)).collect::<Vec<_>>();
        assert_eq!(wave(0), (10..30).collect::<Vec<_>>());
        assert_eq!(wave(1), (30..60).collect::<Vec<_>>());
        assert_eq!(wave(3), (10..20).chain(90..100).collect::<Vec<_>>());
    }
}

mod report {
    use super::load::report::*;

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
    use super::load::schedule::*;

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
    use super::load::usage::*;

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
