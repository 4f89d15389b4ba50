use std::{sync::mpsc, thread};

use super::*;
use crate::{kind::Kind, marker::Marker};
use hubbub_protocol::{Frame, UnixMillis};

const ALL: usize = usize::MAX;

fn ring(messages: usize) -> Ring {
    let ring = Ring::new(Retention { messages, bytes: usize::MAX });
    ring.write().push_marker(Marker { base: 100, cut: 0, low: 100 }, None, 0);
    ring
}

fn push(ring: &Ring, seq: Seq, room: &str) {
    let mut writer = ring.write();
    writer.push_event(message(seq, 0, 0, room), 0);
    writer.commit();
}

fn message(seq: Seq, was: Seq, at: UnixMillis, room: &str) -> NewEvent<'_> {
    event(Kind::Message, seq, was, at, room)
}

fn event(kind: Kind, seq: Seq, was: Seq, at: UnixMillis, room: &str) -> NewEvent<'_> {
    let (frame, fields) = Frame::event(kind.name(), seq, r#"{"id":"m"}"#, was);
    let told = (kind != Kind::Message).then(|| Box::new(told::Told { kind, record: None, change: None }));
    NewEvent { seq, was, at, room: room.into(), told, shown_in: None, frame, fields }
}

fn seqs(entries: &[Arc<Entry>]) -> Vec<Seq> {
    entries.iter().map(|entry| entry.seq).collect()
}

fn seat(room: &str, since: Seq) -> Seat {
    Seat::open(room.parse().unwrap(), since)
}

#[test]
fn a_run_has_the_entries_after_a_cursor_unless_some_are_evicted() {
    let ring = ring(3);
    (101..=105).for_each(|seq| push(&ring, seq, "a"));
    assert_eq!(ring.last(), 105);
    assert_eq!(seqs(&ring.run(102, ALL).unwrap()), [103, 104, 105]);
    assert_eq!(seqs(&ring.run(103, 1).unwrap()), [104]);
    assert_eq!(seqs(&ring.run(105, ALL).unwrap()), [0; 0]);
    assert_eq!(ring.run(101, ALL).unwrap_err(), Fallen);
}

#[test]
fn a_reader_gets_its_rooms_in_order_from_where_it_joined() {
    let ring = ring(ALL);
    for (seq, room) in (101..).zip(["a", "b", "c", "a", "b", "a"]) {
        push(&ring, seq, room);
    }
    let page = ring.read(100, 106, &[seat("a", 0), seat("b", 102)], ALL).unwrap();
    assert_eq!((seqs(&page.entries), page.cursor), (vec![101, 104, 105, 106], 106));
    let page = ring.read(101, 105, &[seat("a", 0), seat("x", 0)], ALL).unwrap();
    assert_eq!((seqs(&page.entries), page.cursor), (vec![104], 105));
    let page = ring.read(100, 106, &[seat("a", 0)], 1).unwrap();
    assert_eq!((seqs(&page.entries), page.cursor), (vec![101], 101));
    let page = ring.read(106, 106, &[seat("a", 0)], 1).unwrap();
    assert_eq!((seqs(&page.entries), page.cursor), (vec![], 106));
}

#[test]
fn a_seat_ends_at_its_last_place() {
    let ring = ring(ALL);
    (101..=106).for_each(|seq| push(&ring, seq, "a"));
    let closed = |since, until| Seat { until, ..seat("a", since) };
    let read = |seats: &[Seat]| seqs(&ring.read(100, 106, seats, ALL).unwrap().entries);
    assert_eq!(read(&[closed(101, 103)]), [102, 103]);
    assert_eq!(read(&[closed(101, 103), seat("a", 105)]), [102, 103, 106]);
    assert_eq!(read(&[closed(0, 100), closed(103, 103), closed(106, 200)]), [0; 0]);
}

#[test]
fn a_room_without_entries_is_forgotten() {
    let ring = ring(2);
    (101..=103).for_each(|seq| push(&ring, seq, if seq == 101 { "a" } else { "b" }));
    let window = ring.window.read();
    assert_eq!((window.rooms(), window.len()), (1, 2));
    assert_eq!(window.bytes(), window.run(101, ALL).unwrap().iter().map(|entry| entry.size()).sum::<usize>());
}

#[test]
fn history_pages_backwards() {
    let ring = ring(ALL);
    (101..=110).for_each(|seq| push(&ring, seq, if seq % 2 == 0 { "a" } else { "b" }));
    let page = |before, after, limit| {
        let History { entries, next, .. } = ring.history(&"a".parse().unwrap(), before, after, limit);
        (seqs(&entries), next)
    };
    assert_eq!(page(None, None, 2), (vec![108, 110], Some(108)));
    assert_eq!(page(Some(108), None, 2), (vec![104, 106], Some(104)));
    assert_eq!(page(Some(104), None, 2), (vec![102], None));
    assert_eq!(page(None, Some(104), 2), (vec![108, 110], Some(108)));
    assert_eq!(page(Some(108), Some(104), 9), (vec![106], None));
    assert_eq!(page(Some(102), None, 9), (vec![], None));
}

#[test]
fn a_cursor_is_accepted_only_if_the_replay_is_complete() {
    let ring = ring(ALL);
    (101..=103).for_each(|seq| push(&ring, seq, "a"));
    let lost = ring.write().push_marker(Marker { base: 200, cut: 102, low: 101 }, None, 103);
    assert_eq!(seqs(&lost), [103]);
    push(&ring, 201, "a");
    for cursor in [100, 101, 102, 103, 150, 200, 201] {
        assert_eq!(ring.check_cursor(cursor), CursorCheck::Replay, "{cursor}");
    }
    assert_eq!(ring.check_cursor(0), CursorCheck::Reset(ResetReason::UnknownCursor));
    assert_eq!(ring.check_cursor(202), CursorCheck::Ahead);
    assert_eq!(ring.check_cursor(50), CursorCheck::Reset(ResetReason::UnknownCursor));
    assert_eq!(seqs(&ring.run(103, ALL).unwrap()), [200, 201]);

    let mut writer = ring.write();
    writer.push_hole(Hole::up_to(299));
    writer.commit();
    push(&ring, 300, "a");
    assert_eq!(ring.check_cursor(201), CursorCheck::Reset(ResetReason::Hole));
    assert_eq!(ring.check_cursor(299), CursorCheck::Replay);
}

#[test]
fn a_reader_does_not_pass_the_entries_that_a_marker_has_cut_off_before_it_crosses_that_marker() {
    let ring = ring(ALL);
    (101..=103).for_each(|seq| push(&ring, seq, "a"));
    drop(ring.write().push_marker(Marker { base: 200, cut: 101, low: 100 }, None, 103));
    let rooms = [seat("a", 0)];
    for (after, upto, seqs_read, cursor) in
        [(100, 103, vec![101], 101), (101, 103, vec![], 101), (102, 103, vec![], 102), (102, 200, vec![200], 200)]
    {
        let page = ring.read(after, upto, &rooms, ALL).unwrap();
        assert_eq!((seqs(&page.entries), page.cursor), (seqs_read, cursor), "after {after} up to {upto}");
    }
}

#[test]
fn the_lowest_recoverable_cursor_is_the_lowest_that_the_ring_completes() {
    let ring = ring(ALL);
    (101..=103).for_each(|seq| push(&ring, seq, "a"));
    assert_eq!(ring.bounds(0), (103, Some(100)));
    drop(ring.write().push_marker(Marker { base: 200, cut: 103, low: 5 }, None, 0));
    assert_eq!(ring.bounds(0), (200, Some(100)));
    drop(ring.write().push_marker(Marker { base: 300, cut: 200, low: 300 }, None, 0));
    assert_eq!(ring.bounds(0), (300, Some(300)));
    assert_eq!(Ring::new(Retention::default()).bounds(0), (0, None));
}

#[test]
fn a_message_too_old_to_be_appended_again_is_not_recoverable() {
    let ring = ring(ALL);
    for (seq, at) in [(101, 10), (102, 30), (103, 20), (104, 40)] {
        ring.write().push_event(message(seq, 0, 0, "a"), at);
    }
    for (young, low) in [(0, 100), (10, 100), (11, 101), (30, 101), (31, 103), (40, 103), (41, 104)] {
        assert_eq!(ring.bounds(young), (104, Some(low)), "{young}");
    }
}

#[test]
fn a_cursor_recoverable_after_one_loss_of_everything_stays_so_after_the_next() {
    let ring = ring(ALL);
    let push = |seq, was| ring.write().push_event(message(seq, was, 1000, "a"), 1000);
    push(101, 0);
    ring.write().push_marker(Marker { base: 200, cut: 0, low: 100 }, None, 101);
    push(201, 101);
    assert_eq!(ring.bounds(500), (201, Some(100)));
}

#[test]
fn a_hole_in_front_of_a_marker_resets_every_connection() {
    let ring = ring(ALL);
    push(&ring, 101, "a");
    let marker = Marker { base: 200, cut: 101, low: 150 };
    assert!(marker.leaves_hole_after(ring.applied().0));
    ring.write().push_marker(marker, Some(Hole::up_to(199)), 0);
    let entries = ring.run(101, ALL).unwrap();
    let audiences: Vec<_> = entries.iter().map(|entry| (entry.seq, &entry.audience)).collect();
    assert_eq!(audiences, [(199, &Audience::Everyone), (200, &Audience::Nobody)]);
}

#[test]
fn a_reader_without_a_cursor_begins_after_the_initial_sync() {
    let ring = ring(ALL);
    push(&ring, 101, "a");
    ring.write().begin_here();
    push(&ring, 102, "a");
    assert_eq!(seqs(&ring.run(0, ALL).unwrap()), [102]);
}

#[tokio::test]
async fn readers_learn_of_a_batch_when_it_is_committed() {
    let ring = ring(ALL);
    let mut tip = ring.watch();
    let mut writer = ring.write();
    writer.push_event(message(101, 0, 0, "a"), 0);
    assert!(!tip.has_changed().unwrap());
    writer.commit();
    assert_eq!(*tip.wait_for(|seq| *seq == 101).await.unwrap(), 101);
}

/// A client comes with a cursor from another instance while this one applies that very entry. A worker serves what is
/// above the tip that it reads next: with a tip below the cursor it would serve the entry a second time.
#[test]
fn a_cursor_is_accepted_only_when_readers_know_of_it() {
    let (ring, (begin, begun)) = (ring(ALL), mpsc::channel());
    push(&ring, 101, "a");
    thread::scope(|scope| {
        // as long as this is held, the tip cannot move
        let tip = ring.watch();
        let known = tip.borrow();
        scope.spawn(|| {
            let mut writer = ring.write();
            writer.push_event(message(102, 0, 0, "a"), 0);
            begin.send(()).unwrap();
            writer.commit();
        });
        begun.recv().unwrap();
        for _ in 0..10_000 {
            let accepted = ring.window.try_read().is_some_and(|window| window.check_cursor(102) == CursorCheck::Replay);
            assert!(!accepted, "102 is accepted, and readers know of {}", *known);
            thread::yield_now();
        }
        drop(known);
    });
    assert_eq!((ring.check_cursor(102), ring.last()), (CursorCheck::Replay, 102));
}

#[test]
fn an_event_of_another_kind_is_kept_and_lost_like_a_message_and_read_by_no_connection() {
    let (ring, edited) = (ring(3), Kind::named("edited").unwrap());
    push(&ring, 101, "a");
    let mut writer = ring.write();
    writer.push_event(event(edited.clone(), 102, 0, 0, "a"), 0);
    writer.commit();
    push(&ring, 103, "a");
    let page = ring.read(100, 103, &[seat("a", 0)], ALL).unwrap();
    assert_eq!((seqs(&page.entries), page.cursor), (vec![101, 103], 103));
    assert_eq!(seqs(&ring.history(&"a".parse().unwrap(), None, None, 9).entries), [101, 103]);
    assert_eq!(ring.check_cursor(102), CursorCheck::Replay);
    let lost = ring.write().push_marker(Marker { base: 200, cut: 101, low: 100 }, None, 103);
    assert_eq!(
        lost.iter().map(|entry| (entry.seq, entry.kind())).collect::<Vec<_>>(),
        [(102, Some(edited)), (103, Some(Kind::Message))]
    );
    (201..=204).for_each(|seq| push(&ring, seq, "a"));
    let window = ring.window.read();
    assert_eq!(window.bytes(), window.run(201, ALL).unwrap().iter().map(|entry| entry.size()).sum::<usize>());
}

#[test]
fn what_services_tell_comes_to_the_seats_and_not_into_the_history() {
    let (ring, person) = (ring(ALL), hubbub_protocol::UserId::of(7));
    let (inbox, room) = (RoomId::inbox(&person), RoomId::private(1));
    let told = |seq, kind: &str, record: serde_json::Value| {
        LogEntry::of_kind(Kind::named(kind).unwrap(), seq, 0, record.to_string().into())
    };
    let from = serde_json::json!({"id": "u", "name": "Ann"});
    let membership = serde_json::json!({
        "room": inbox, "id": "e1", "from": from, "at": 5, "about": room, "rev": 4, "state": "out",
    });
    let ended = serde_json::json!({"room": inbox, "id": "e2", "from": from, "at": 5, "session": "s"});
    let members = serde_json::json!({"room": room, "id": "e3", "from": from, "at": 5, "rev": 1});
    ring.append(&[
        told(101, "membership", membership.clone()),
        told(102, "session_ended", ended.clone()),
        told(103, "members", members.clone()),
        told(104, "reacted", members.clone()),
    ]);
    let seats = [Seat::open(inbox.clone(), 0), Seat::open(room.clone(), 0)];
    let page = ring.read(100, 104, &seats, ALL).unwrap();
    assert_eq!(seqs(&page.entries), [101, 103]);
    assert!(!page.entries.iter().any(|entry| entry.frame.payload().windows(2).any(|two| two == b"@A")));
    let run = ring.run(100, ALL).unwrap();
    let records: Vec<serde_json::Value> =
        run.iter().map(|entry| serde_json::from_str(&entry.record().unwrap()).unwrap()).collect();
    assert_eq!(records, [membership, ended, members.clone(), members], "each can be appended again");
    assert!(run[..2].iter().all(|entry| entry.change().is_some()) && run[2].change().is_none());
    assert!(ring.history(&room, None, None, 9).entries.is_empty() && ring.recent(&room, 0).entries.is_empty());
}
