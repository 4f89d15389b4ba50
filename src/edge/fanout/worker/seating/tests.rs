//! What was wrong in the first design of memberships, and what a connection of an account may hear at its ends.

use hubbub_protocol::{CloseReason, RoomId, Seq};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{
    super::Command,
    bench::{BASE, Bench, MEMBER, user},
};
use crate::ports::{Seats, Unavailable};

/// The ring keeps everything, or a socket takes everything.
const ALL: usize = usize::MAX;
const NONE: [Seq; 0] = [];

fn room() -> RoomId {
    RoomId::private(1)
}

#[tokio::test]
async fn an_in_of_a_frozen_writer_that_lands_after_the_out_seats_nobody() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[]).await;
    bench.tell(&user(1), &room(), 7, None);
    bench.tell(&user(1), &room(), 6, Some(MEMBER));
    bench.publish(&room());
    bench.settle(&ann).await;
    assert_eq!((ann.places("message").len(), ann.places("membership").len()), (0, 2));
    assert!(!ann.connection.is_in(&room()));

    // nor one that is older than what was read
    bench.tell(&user(1), &RoomId::private(2), 5, Some(MEMBER));
    bench.publish(&RoomId::private(2));
    bench.settle(&ann).await;
    assert_eq!(ann.places("message"), NONE);
}

#[tokio::test]
async fn a_member_hears_what_is_said_between_its_in_and_its_out_also_when_it_is_told_twice() {
    let mut bench = Bench::new(ALL);
    let (ann, bob) = (bench.seated(&user(1), 5, &[]).await, bench.seated(&user(2), 1, &[&room()]).await);
    bench.publish(&room());
    bench.tell(&user(1), &room(), 6, Some(MEMBER));
    bench.tell(&user(1), &room(), 6, Some(MEMBER));
    let heard = bench.publish(&room());
    bench.tell(&user(1), &room(), 7, None);
    bench.tell(&user(1), &room(), 6, Some(MEMBER));
    bench.publish(&room());
    bench.settle(&ann).await;
    bench.settle(&bob).await;
    assert_eq!(ann.places("message"), [heard]);
    assert_eq!(bob.places("message").len(), 3);
    assert_eq!(bob.places("membership"), NONE, "the inbox of somebody else");
    assert_eq!(bench.worker.roster.members(&room()).count(), 1);
}

#[tokio::test]
async fn a_connection_that_catches_up_over_its_own_removal_hears_nothing_after_it() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    ann.socket.set_room(0);
    let before: Vec<_> = (0..3).map(|_| bench.publish(&room())).collect();
    bench.turn().await;
    assert!(!ann.connection.is_live(), "it takes nothing");
    let out = bench.tell(&user(1), &room(), 6, None);
    for _ in 0..3 {
        bench.publish(&room());
    }
    bench.turn().await;
    assert!(!ann.connection.is_in(&room()), "it may not publish any more, whatever it has heard");
    bench.settle(&ann).await;
    assert_eq!((ann.places("message"), ann.places("membership")), (before, vec![out]));
}

#[tokio::test]
async fn an_out_that_redis_loses_leaves_nobody_seated() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    let heard = bench.publish(&room());
    bench.turn().await;
    // another instance has walked an `out` with rev 6; this one learns only of the epoch that has lost it
    let base = bench.lose(heard);
    bench.publish(&room());
    bench.turn().await;
    assert!(!ann.connection.is_live() && !ann.connection.is_reading(), "it is not served, and may not publish");
    bench.poll(&ann);
    assert_eq!(ann.places("message"), [heard]);

    bench.answer_with(Err(Unavailable)).await;
    bench.worker.sweep(Instant::now() + Duration::from_secs(1));
    assert!(!ann.connection.is_live(), "it waits while the database is away");
    bench.answer(6, &[]).await;
    bench.settle(&ann).await;
    assert!(ann.connection.is_reading() && !ann.connection.is_in(&room()));
    assert_eq!(ann.places("message"), [heard], "{base}");
    assert_eq!(ann.places("reset"), [heard], "its seats are others");

    // the `out` comes again
    bench.tell(&user(1), &room(), 6, None);
    bench.publish(&room());
    bench.settle(&ann).await;
    assert_eq!(ann.places("message"), [heard]);
}

#[tokio::test]
async fn a_lost_out_that_comes_again_before_the_seats_are_read_ends_the_seat_where_the_doubt_began() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    let heard = bench.publish(&room());
    bench.turn().await;
    bench.lose(heard);
    bench.publish(&room());
    bench.tell(&user(1), &room(), 6, None);
    bench.turn().await;
    bench.answer(6, &[]).await;
    bench.settle(&ann).await;
    assert_eq!(ann.places("message"), [heard]);
    assert_eq!(ann.places("reset"), [heard]);
}

#[tokio::test]
async fn whose_seats_are_still_the_same_after_an_epoch_misses_nothing_and_gets_no_reset() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    let before = bench.publish(&room());
    bench.turn().await;
    bench.lose(before);
    let behind = bench.publish(&room());
    bench.turn().await;
    bench.answer(5, &[&room()]).await;
    bench.settle(&ann).await;
    assert_eq!(ann.places("message"), [before, behind]);
    assert_eq!(ann.places("reset"), NONE);
}

#[tokio::test]
async fn an_answer_from_before_a_second_epoch_does_not_count() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    let first = bench.lose(bench.last);
    bench.turn().await;
    let asked = bench.questions.try_recv().unwrap();
    let in_between = bench.publish(&room());
    bench.turn().await;
    bench.lose(in_between);
    bench.publish(&room());
    bench.turn().await;
    let seats = Seats { rev: 5, rooms: vec![(room(), MEMBER)] };
    bench.worker.apply(Command::Seat(asked.connection, asked.read, Ok(Some(seats)))).await;
    bench.poll(&ann);
    assert!(!ann.connection.is_live());
    bench.answer(6, &[]).await;
    bench.settle(&ann).await;
    assert_eq!(ann.places("message"), NONE, "the seat was known up to {first} only");
}

#[tokio::test]
async fn an_epoch_between_the_answer_and_the_welcome_holds_the_connection() {
    let mut bench = Bench::new(ALL);
    let mut ann = bench.connect(&user(1), BASE, ALL);
    bench.turn().await;
    bench.answer(5, &[&room(), &RoomId::private(2)]).await;
    let said = bench.publish(&room());
    bench.lose(said);
    bench.turn().await;
    assert!(ann.begin() && !ann.connection.is_reading());
    bench.poll(&ann);
    assert_eq!(ann.places("message"), NONE);
    bench.answer(6, &[&room()]).await;
    bench.settle(&ann).await;
    assert!(ann.connection.is_reading());
    assert_eq!(ann.places("message"), [said]);
}

#[tokio::test]
async fn a_hello_seats_what_was_read_except_what_a_higher_rev_has_changed_meanwhile() {
    let mut bench = Bench::new(ALL);
    let [stays, left, joined, old] = [1, 2, 3, 4].map(RoomId::private);
    let missed = bench.publish(&stays);
    let mut ann = bench.connect(&user(1), BASE, ALL);
    bench.turn().await;
    bench.tell(&user(1), &old, 4, Some(MEMBER));
    bench.tell(&user(1), &left, 6, None);
    bench.tell(&user(1), &joined, 7, Some(MEMBER));
    let said = [&stays, &left, &joined, &old].map(|room| bench.publish(room));
    bench.turn().await;
    assert!(!ann.begin() && !ann.connection.is_live());
    bench.answer(5, &[&stays, &left]).await;
    bench.poll(&ann);
    assert_eq!(ann.frames(), Vec::<serde_json::Value>::new(), "the welcome comes first");
    assert!(ann.begin());
    bench.settle(&ann).await;
    assert_eq!(ann.places("message"), [missed, said[0], said[2]]);
    assert_eq!(ann.places("membership").len(), 3);
    assert!(ann.places("reset").is_empty());
}

#[tokio::test]
async fn a_hello_is_refused_while_the_seats_cannot_be_read_and_when_the_session_has_ended() {
    let mut bench = Bench::new(ALL);
    let mut ann = bench.connect(&user(1), BASE, ALL);
    bench.turn().await;
    bench.answer_with(Err(Unavailable)).await;
    assert_eq!((ann.refused(), ann.closed()), (Some(CloseReason::TryAgainLater), None));
    let mut bob = bench.connect(&user(2), BASE, ALL);
    bench.turn().await;
    bench.answer_with(Ok(None)).await;
    let ended = Some(CloseReason::SessionEnded);
    assert_eq!((bob.refused(), bob.closed()), (ended, ended));
}

#[tokio::test]
async fn the_end_of_a_session_closes_its_connections_and_no_others() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[]).await;
    let mut early = bench.connect(&user(1), BASE, ALL);
    bench.turn().await;
    let bob = bench.seated_behind(&user(2), 1).await;
    bench.append("session_ended", &RoomId::inbox(&user(1)), &json!({"session": "another"}));
    bench.turn().await;
    assert_eq!(ann.closed(), None);
    bench.append("session_ended", &RoomId::inbox(&user(1)), &json!({"session": "s1"}));
    bench.turn().await;
    let ended = Some(CloseReason::SessionEnded);
    assert_eq!((ann.closed(), early.closed(), early.refused()), (ended, ended, ended));
    assert_eq!(bob.closed(), None);
    assert!(ann.frames().iter().all(|frame| frame["type"] != "session_ended"));
}

#[tokio::test]
async fn the_rules_of_a_room_change_who_may_publish_and_late_ones_change_nothing() {
    let mut bench = Bench::new(ALL);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    let may_post = || ann.connection.rights(&room()).unwrap().may_post;
    let rules = |rev, posting, archived| json!({"rev": rev, "posting": posting, "archived": archived});
    for (fields, expected) in [
        (rules(12, "members", true), false),
        (rules(11, "members", false), false),
        (rules(13, "admins", false), false),
        (json!({"rev": 14, "topic": "x"}), false),
        (rules(15, "members", false), true),
    ] {
        bench.append("room", &room(), &fields);
        bench.turn().await;
        assert_eq!(may_post(), expected, "{fields}");
    }
    assert_eq!(ann.places("room").len(), 5);

    // what was asked before the rules changed does not count against them
    let mut late = bench.connect(&user(2), bench.last, ALL);
    bench.turn().await;
    bench.append("room", &room(), &rules(16, "members", true));
    bench.turn().await;
    bench.answer(1, &[&room()]).await;
    assert!(late.begin() && !late.connection.rights(&room()).unwrap().may_post);
}

#[tokio::test]
async fn a_worker_that_falls_out_of_the_ring_reads_the_seats_of_everybody_again() {
    let mut bench = Bench::new(3);
    let ann = bench.seated(&user(1), 5, &[&room()]).await;
    let mut early = bench.connect(&user(2), bench.last, ALL);
    bench.turn().await;
    let stale = bench.questions.try_recv().unwrap();
    bench.tell(&user(2), &room(), 9, None);
    for _ in 0..6 {
        bench.publish(&room());
    }
    bench.turn().await;
    let seats = Seats { rev: 5, rooms: vec![(room(), MEMBER)] };
    bench.worker.apply(Command::Seat(stale.connection, stale.read, Ok(Some(seats)))).await;
    assert!(!early.begin(), "the answer may be older than what was missed");
    for _ in 0..2 {
        bench.answer(9, &[]).await;
    }
    bench.settle(&ann).await;
    assert_eq!(ann.closed(), Some(CloseReason::SlowConsumer));
    assert!(early.begin() && !early.connection.is_in(&room()));
}
