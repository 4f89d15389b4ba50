use std::time::Duration;

use super::{super::waiting::Share, *};
use crate::Submission;

/// Before anything here is placed.
const NOW: u64 = 1_000_000;

fn empty() -> Contents {
    Contents::new(Bounds { messages: 1000, bytes: 1 << 20, jitter: Duration::ZERO })
}

fn submission(id: u64, size: usize) -> Submission {
    let record = format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}},"at":1,"body":"{}"}}"#, "x".repeat(size));
    Submission::new(record, 0, NOW).unwrap()
}

/// Messages `1..=count` with the seqs `101..`, all unconfirmed.
fn placed(count: u64) -> Contents {
    let mut contents = empty();
    for id in 1..=count {
        push(&mut contents, id, 0).unwrap();
    }
    let batch = batch(&mut contents);
    let placements: Vec<_> = (1..=count).map(|id| Placement::Appended(100 + id)).collect();
    assert_eq!(contents.settle(batch, &placements).unwrap().len(), placements.len());
    contents
}

/// Each message has a sender of its own, so only the bounds of the queue count.
fn push(contents: &mut Contents, id: u64, size: usize) -> Result<(), Overloaded> {
    push_submission(contents, submission(id, size))
}

fn push_submission(contents: &mut Contents, submission: Submission) -> Result<(), Overloaded> {
    let share = Share::of(&submission.key);
    contents.push(Pending::new(submission, share, Box::new(|_| ())))
}

fn batch(contents: &mut Contents) -> AppendBatch {
    match contents.next(NOW) {
        Chosen::New(submissions) => AppendBatch { submissions, origin: Origin::New },
        Chosen::Lost(offers) => {
            AppendBatch { submissions: offers.iter().filter_map(Offer::submission).collect(), origin: Origin::Lost }
        }
        Chosen::Wait(_) | Chosen::Idle => panic!("nothing to append"),
    }
}

fn former(batch: &AppendBatch) -> Vec<Seq> {
    batch.submissions.iter().map(|submission| submission.was).collect()
}

const LOST: Marker = Marker { base: 1000, cut: 100, low: 100 };

#[test]
fn a_batch_has_bounds_but_takes_a_large_message_alone() {
    let mut contents = empty();
    for (id, size) in [(1, 200 * 1024), (2, 100 * 1024), (3, 300 * 1024)] {
        push(&mut contents, id, size).unwrap();
    }
    assert_eq!(batch(&mut contents).submissions.len(), 1);
    assert!(push(&mut contents, 4, 500 * 1024).is_err(), "too many bytes");
    for id in 4..=1000 {
        push(&mut contents, id, 0).unwrap();
    }
    assert!(push(&mut contents, 1001, 0).is_err(), "too many messages");
}

#[test]
fn a_message_placed_and_lost_goes_before_anything_new() {
    let mut contents = placed(3);
    push(&mut contents, 9, 0).unwrap();
    assert_eq!(contents.requeue_lost(Marker { cut: 101, ..LOST }, Vec::new()), 2);
    assert_eq!(former(&batch(&mut contents)), [102, 103]);
}

#[test]
fn a_message_that_another_instance_has_appended_again_is_not_appended_twice() {
    let mut contents = placed(3);
    contents.requeue_lost(LOST, Vec::new());
    contents.reappended(101);
    contents.reappended(103);
    assert_eq!(former(&batch(&mut contents)), [102]);
    contents.append_failed();
    contents.reappended(102);
    assert!(matches!(contents.next(NOW), Chosen::Idle));
    assert_eq!(contents.total_count(), 0);
}

/// It was accepted long ago, since it had to wait for the log. What counts is when it was placed.
#[test]
fn a_message_placed_before_the_dedupe_window_is_not_appended_again() {
    let mut contents = placed(1);
    contents.requeue_lost(LOST, Vec::new());
    let placed = steady_millis();
    assert!(matches!(contents.next(placed + millis(DEDUPE_WINDOW) - 10_000), Chosen::Lost(_)));
    assert!(matches!(contents.next(placed + millis(DEDUPE_WINDOW) + 1), Chosen::Idle));
}

#[test]
fn an_old_message_is_not_appended_again_behind_a_younger_one() {
    let mut contents = placed(1);
    let old = steady_millis();
    while steady_millis() < old + 5 {
        std::hint::spin_loop();
    }
    push(&mut contents, 2, 0).unwrap();
    let in_flight = batch(&mut contents);
    contents.requeue_lost(LOST, Vec::new());
    contents.settle(in_flight, &[Placement::Appended(1001)]);
    contents.requeue_lost(Marker { base: 2000, cut: 1000, low: 100 }, Vec::new());
    let Chosen::Lost(offers) = contents.next(old + millis(DEDUPE_WINDOW) + 1) else { panic!("nothing to append") };
    assert_eq!(offers.iter().map(Offer::seq).collect::<Vec<_>>(), [1001]);
}

#[test]
fn a_message_that_is_lost_again_and_again_keeps_its_first_place() {
    let mut contents = placed(2);
    push(&mut contents, 3, 0).unwrap();
    let in_flight = batch(&mut contents);
    contents.requeue_lost(LOST, Vec::new());
    assert!(contents.settle(in_flight, &[Placement::Appended(103)]).is_none(), "lost before the reply");
    let again = batch(&mut contents);
    contents.settle(again, &[1001, 1002].map(Placement::Appended)).unwrap();
    let third = batch(&mut contents);
    contents.settle(third, &[Placement::Appended(1003)]).unwrap();
    contents.requeue_lost(Marker { base: 2000, cut: 1000, low: 100 }, Vec::new());
    let batch = batch(&mut contents);
    let places = batch.submissions.iter().map(|event| {
        let record: serde_json::Value = serde_json::from_slice(&event.record).unwrap();
        (event.was, record["first"].as_u64().unwrap())
    });
    assert_eq!(places.collect::<Vec<_>>(), [(1001, 101), (1002, 102), (1003, 103)]);
}

#[test]
fn a_message_placed_twice_is_kept_once() {
    let mut contents = empty();
    let (first, again) = (submission(1, 0), submission(1, 1000));
    for submission in [first.clone(), again] {
        push_submission(&mut contents, submission).unwrap();
    }
    let in_flight = batch(&mut contents);
    let placements = [Placement::Appended(101), Placement::Duplicate(101)];
    assert_eq!(contents.settle(in_flight, &placements).unwrap().len(), 2);
    assert_eq!((contents.unconfirmed.len(), contents.unconfirmed.bytes()), (1, first.record.len()));
    contents.confirm(101);
    assert_eq!((contents.unconfirmed.len(), contents.unconfirmed.bytes()), (0, 0));
}

#[test]
fn unconfirmed_messages_are_bounded_in_bytes_too() {
    let mut contents = empty();
    let mut seq = 100;
    while let Chosen::New(submissions) = {
        push(&mut contents, seq, 100 * 1024).unwrap();
        contents.next(NOW)
    } {
        seq += 1;
        contents.settle(AppendBatch { submissions, origin: Origin::New }, &[Placement::Appended(seq)]);
    }
    assert_eq!((seq, contents.new_count()), (111, 1), "11 of 100 KiB reach the bound of 1 MiB");
    assert!(contents.confirm(105), "the publisher has waited for that");
    assert!(matches!(contents.next(NOW), Chosen::New(_)));
}

#[test]
fn a_message_whose_seq_is_lost_before_the_reply_stays_queued() {
    let mut contents = empty();
    for id in 1..=2 {
        push(&mut contents, id, 0).unwrap();
    }
    let in_flight = batch(&mut contents);
    contents.requeue_lost(Marker { cut: 101, ..LOST }, Vec::new());
    let placements = [101, 102].map(Placement::Appended);
    assert_eq!(contents.settle(in_flight, &placements).unwrap().len(), 1);
    assert_eq!(former(&batch(&mut contents)), [102]);
}

#[test]
fn a_message_lost_twice_goes_behind_one_lost_later() {
    let mut contents = placed(3);
    contents.requeue_lost(LOST, Vec::new());
    let in_flight = batch(&mut contents);
    contents.settle(in_flight, &[Placement::Appended(1001)]);
    contents.requeue_lost(Marker { base: 2000, cut: 1000, low: 100 }, Vec::new());
    assert_eq!(former(&batch(&mut contents)), [1001, 102, 103]);
}

#[test]
fn a_refused_id_ends_its_message_and_holds_up_nothing() {
    let mut contents = empty();
    for id in 1..=3 {
        push(&mut contents, id, 0).unwrap();
    }
    let in_flight = batch(&mut contents);
    let placements = [Placement::Appended(101), Placement::IdReused(7), Placement::Appended(102)];
    let settled: Vec<_> = contents.settle(in_flight, &placements).unwrap().into_iter().map(|(_, at)| at).collect();
    assert_eq!(settled, placements);
    assert_eq!((contents.new_count(), contents.unconfirmed.len()), (0, 2));
    assert_eq!(contents.requeue_lost(LOST, Vec::new()), 2, "what was never in the log is not appended again");
}

#[test]
fn a_refusal_by_a_message_that_is_lost_before_the_reply_does_not_count() {
    let mut contents = empty();
    push(&mut contents, 1, 0).unwrap();
    let in_flight = batch(&mut contents);
    contents.requeue_lost(LOST, Vec::new());
    assert!(contents.settle(in_flight, &[Placement::IdReused(101)]).is_none());
    assert_eq!(former(&batch(&mut contents)), [0], "it is offered as a new message again");
}
