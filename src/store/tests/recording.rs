//! The journal: exactly once, first places, one cursor.

use std::time::Duration;

use hubbub_messenger::{
    StoreError,
    journal::{DeadLetter, Recording},
};
use tokio::task::JoinSet;

use super::*;

/// Walks a log of these messages, each at the place of its number, until the cursor stands at its end. Returns how many
/// this recorder has recorded.
async fn walk(database: Database, log: Vec<Message>, step: usize) -> u64 {
    let (end, mut recorded) = (log.last().unwrap().place, 0);
    loop {
        let cursor = database.cursor().await;
        if cursor.seq == end {
            return recorded;
        }
        let next: Vec<_> = log.iter().filter(|message| message.place > cursor.seq).take(step).cloned().collect();
        let to = next.last().unwrap().place;
        match database.record("log", &batch(&cursor, to, next)).await {
            Ok(Recorded::Committed { new, .. }) => recorded += new,
            Ok(Recorded::Moved) | Err(StoreError::Passing(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

on_both_engines! {
    async fn a_batch_is_recorded_once_however_often_it_comes(home: &Home) {
        let (database, start) = home.begun().await;
        let messages: Vec<_> = (1..=50).map(|n| message(n, n % 3, &format!("m{n}"))).collect();
        let first = batch(&start, 50, messages.clone());
        assert_eq!(database.record("log", &first).await, Ok(committed(50, 0)));
        for _ in 0..3 {
            assert_eq!(database.record("log", &first).await, Ok(Recorded::Moved));
        }
        let again = batch(&database.cursor().await, 60, messages.clone());
        assert_eq!(database.record("log", &again).await, Ok(committed(0, 50)));
        for number in 0..3 {
            let expected: Vec<_> = messages.iter().filter(|m| m.room == room(number)).cloned().collect();
            assert_eq!(database.all(&room(number)).await, expected);
        }
        assert_eq!(database.number("SELECT last_seq FROM rooms WHERE id = 'room-2'").await, 50);
        assert_eq!(database.number("SELECT created_at FROM rooms WHERE id = 'room-2'").await, 1_700_000_000_002);
    }

    async fn two_recorders_that_race_record_each_message_once(home: &Home) {
        let (database, _) = home.begun().await;
        let log: Vec<_> = (1..=300).map(|n| message(n * 3, n % 7, &format!("m{n}"))).collect();
        let mut recorders = JoinSet::new();
        for step in [7, 11, 20] {
            let database = home.open().await;
            let _handle = recorders.spawn(walk(database, log.clone(), step));
        }
        assert_eq!(recorders.join_all().await.iter().sum::<u64>(), 300);
        for number in 0..7 {
            let expected: Vec<_> = log.iter().filter(|m| m.room == room(number)).cloned().collect();
            assert_eq!(database.all(&room(number)).await, expected);
        }
    }

    async fn of_two_places_the_lower_one_counts(home: &Home) {
        let (database, start) = home.begun().await;
        let mut first = message(100, 1, "a");
        assert_eq!(database.record("log", &batch(&start, 100, vec![first.clone()])).await, Ok(committed(1, 0)));
        // Higher: nothing changes. What is said in it neither.
        let mut higher = message(200, 1, "a");
        higher.body = "other".into();
        let cursor = database.cursor().await;
        assert_eq!(database.record("log", &batch(&cursor, 200, vec![higher, message(150, 1, "bb")])).await, Ok(committed(1, 1)));
        assert_eq!(database.all(&room(1)).await, [first.clone(), message(150, 1, "bb")]);
        assert_eq!(database.number("SELECT last_seq FROM rooms").await, 200, "it has been told as the last");
        // Lower: the place moves, and with it the last place of the room.
        let cursor = database.cursor().await;
        let lower = vec![message(60, 1, "bb"), message(50, 1, "a")];
        assert_eq!(database.record("log", &batch(&cursor, 300, lower)).await, Ok(committed(0, 2)));
        first.place = 50;
        let mut second = message(150, 1, "bb");
        second.place = 60;
        assert_eq!(database.all(&room(1)).await, [first, second]);
        assert_eq!(database.number("SELECT last_seq FROM rooms").await, 60);
    }

    async fn the_same_id_in_another_room_or_of_another_person_is_another_message(home: &Home) {
        let (database, start) = home.begun().await;
        let (mine, elsewhere, mut theirs) = (message(1, 1, "a"), message(2, 2, "a"), message(3, 1, "a"));
        theirs.from = message(1, 1, "bb").from;
        let all = vec![mine.clone(), elsewhere.clone(), theirs.clone()];
        assert_eq!(database.record("log", &batch(&start, 3, all)).await, Ok(committed(3, 0)));
        assert_eq!(database.all(&room(1)).await, [mine, theirs]);
        assert_eq!(database.all(&room(2)).await, [elsewhere]);
    }

    async fn what_the_database_refuses_is_told_apart_and_the_others_are_recorded(home: &Home) {
        let (database, start) = home.begun().await;
        if home.server.is_some() {
            database.run_sql("ALTER TABLE messages ADD CHECK (client_id <> 'poison')").await;
        } else {
            database.run_sql("CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.client_id = 'poison' \
                BEGIN SELECT RAISE(ABORT, 'poison'); END").await;
        }
        let poisoned = batch(&start, 3, vec![message(1, 1, "a"), message(2, 1, "poison"), message(3, 1, "c")]);
        assert!(matches!(database.record("log", &poisoned).await, Err(StoreError::Refused(_))));
        let too_high = batch(&start, 3, vec![Message { place: Seq::MAX, ..message(1, 1, "a") }]);
        assert!(matches!(database.record("log", &too_high).await, Err(StoreError::Refused(_))));
        assert_eq!((database.cursor().await, database.all(&room(1)).await), (start.clone(), vec![]));

        let mut others = batch(&start, 3, vec![message(1, 1, "a"), message(3, 1, "c")]);
        let error = "it is\0poison".to_owned();
        others.dead_letters = vec![DeadLetter { seq: 2, kind: "message".into(), record: b"{\0}".into(), error }];
        assert_eq!(database.record("log", &others).await, Ok(committed(2, 0)));
        assert_eq!(database.all(&room(1)).await, [message(1, 1, "a"), message(3, 1, "c")]);
        assert_eq!(database.number("SELECT count(*) FROM dead_letters WHERE seq = 2 AND length(record) = 3").await, 1);
        assert_eq!(database.cursor().await.seq, 3);
    }

    async fn the_row_names_one_log_and_is_touched_by_its_recorder_only(home: &Home) {
        let database = home.open().await;
        assert_eq!(database.recording().await, Ok(None));
        assert_eq!(database.begin("log").await, Ok(true));
        assert_eq!(database.begin("other").await, Ok(false));
        let begun = database.recording().await.unwrap().unwrap();
        assert_eq!((&*begun.log_id, &begun.cursor), ("log", &Cursor { seq: 0, base: 0 }));
        assert!(begun.untouched_for < Duration::from_secs(10), "{begun:?}");
        let mut before = begun.touched;
        for _ in 0..5 {
            assert_eq!(database.touch("log").await, Ok(true));
            let touched = database.recording().await.unwrap().unwrap().touched;
            assert!(touched > before);
            before = touched;
        }
        assert_eq!(database.touch("other").await, Ok(false));
        assert_eq!(database.recording().await.unwrap().unwrap().touched, before);
        // By the clock of the database.
        database.run_sql("UPDATE recorder SET touched = touched - 70000").await;
        let silent = database.recording().await.unwrap().unwrap().untouched_for;
        assert!(silent >= Duration::from_secs(70) && silent < Duration::from_secs(80), "{silent:?}");
        // A batch shows it too.
        let moved = batch(&Cursor { seq: 0, base: 0 }, 5, vec![]);
        assert_eq!(database.record("log", &moved).await, Ok(committed(0, 0)));
        assert!(database.recording().await.unwrap().unwrap().untouched_for < Duration::from_secs(10));
        // A clock that went back does not stop it from growing.
        database.run_sql("UPDATE recorder SET touched = touched + 3600000").await;
        let ahead = database.recording().await.unwrap().unwrap();
        assert_eq!(ahead.untouched_for, Duration::ZERO);
        assert_eq!(database.touch("log").await, Ok(true));
        assert_eq!(database.recording().await.unwrap().unwrap().touched, ahead.touched + 1);
    }

    async fn a_log_is_taken_over_only_as_it_was_read(home: &Home) {
        let (database, start) = home.begun().await;
        let messages = vec![message(7, 1, "a")];
        assert_eq!(database.record("log", &batch(&start, 7, messages.clone())).await, Ok(committed(1, 0)));
        let read = database.recording().await.unwrap().unwrap();
        for stale in [
            Recording { touched: read.touched - 1, ..read.clone() },
            Recording { cursor: start.clone(), ..read.clone() },
            Recording { log_id: "third".into(), ..read.clone() },
        ] {
            assert_eq!(database.take_over(&stale, "other").await, Ok(false));
        }
        assert_eq!(database.take_over(&read, "other").await, Ok(true));
        assert_eq!(database.take_over(&read, "other").await, Ok(false));
        let taken = database.recording().await.unwrap().unwrap();
        assert_eq!((&*taken.log_id, taken.cursor), ("other", start));
        assert!(taken.touched > read.touched);
        assert_eq!(database.touch("log").await, Ok(false));
        assert_eq!(database.all(&room(1)).await, messages);
    }

    async fn the_cursor_is_moved_from_where_it_stands_only(home: &Home) {
        let (database, start) = home.begun().await;
        let (to, elsewhere) = (Cursor { seq: 40, base: 40 }, Cursor { seq: 0, base: 1 });
        assert_eq!(database.skip("log", &elsewhere, &to).await, Ok(false));
        assert_eq!(database.record("log", &batch(&elsewhere, 9, vec![message(9, 1, "a")])).await, Ok(Recorded::Moved));
        assert_eq!(database.skip("other", &start, &to).await, Ok(false), "the row names another log");
        let of_another = batch(&start, 9, vec![message(9, 1, "a")]);
        assert_eq!(database.record("other", &of_another).await, Ok(Recorded::Moved));
        assert_eq!(database.skip("log", &start, &to).await, Ok(true));
        assert_eq!(database.skip("log", &start, &to).await, Ok(false));
        assert_eq!(database.cursor().await, to);
        assert_eq!(database.all(&room(1)).await, []);
    }

    async fn the_oldest_messages_are_deleted_a_few_at_a_time(home: &Home) {
        let (database, start) = home.begun().await;
        let messages: Vec<_> = (1..=20).map(|n| message(n, n % 2, &format!("m{n}"))).collect();
        assert_eq!(database.record("log", &batch(&start, 20, messages)).await, Ok(committed(20, 0)));
        // by the clock of the database the first twelve are older than a minute
        database
            .run_sql("UPDATE messages SET at = (SELECT millis FROM clock) + 1000 * seq - CASE WHEN seq < 13 THEN 90000 ELSE 40000 END")
            .await;
        let minute = Duration::from_mins(1);
        assert_eq!(database.prune(minute, 10).await, Ok(10));
        let places = |messages: Vec<Message>| messages.iter().map(|m| m.place).collect::<Vec<_>>();
        assert_eq!(places(database.all(&room(0)).await), [12, 14, 16, 18, 20]);
        assert_eq!(database.prune(minute, 10).await, Ok(2));
        assert_eq!(database.prune(minute, 10).await, Ok(0));
        assert_eq!(places(database.all(&room(0)).await), [14, 16, 18, 20]);
        assert_eq!(places(database.all(&room(1)).await), [13, 15, 17, 19]);
    }

    async fn a_caller_that_goes_away_does_not_stop_a_write(home: &Home) {
        let (database, start) = home.begun().await;
        let first = batch(&start, 9, vec![message(9, 1, "a")]);
        // Polled once, and dropped.
        tokio::select! { biased; _ = database.record("log", &first) => panic!("so fast"), () = std::future::ready(()) => {} }
        database.close().await;
        assert_eq!(home.open().await.all(&room(1)).await, [message(9, 1, "a")]);
        assert!(matches!(database.recording().await, Err(StoreError::Passing(_))));
    }
}

#[tokio::test]
async fn postgres_refuses_a_text_with_u_0000_and_sqlite_keeps_it() {
    let mut poison = message(1, 1, "a");
    poison.body = "a\0b".into();
    let home = Home::postgres().await;
    let (database, start) = home.begun().await;
    let refused = database.record("log", &batch(&start, 1, vec![poison.clone()])).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    let home = Home::sqlite();
    let (database, start) = home.begun().await;
    assert_eq!(database.record("log", &batch(&start, 1, vec![poison.clone()])).await, Ok(committed(1, 0)));
    assert_eq!(database.all(&room(1)).await, [poison]);
}
