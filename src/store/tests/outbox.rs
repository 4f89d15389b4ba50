//! The outbox's half of the journal: what was met goes, what was not is found.

use std::time::Duration;

use hubbub_messenger::{
    journal::{DeadLetter, Unmet},
    message::Told,
};

use super::*;

const KINDS: [&str; 2] = ["members", "session_ended"];

async fn tell(database: &Database, id: &str, kind: &str, age: u64) {
    database
        .run_sql(format!(
            "INSERT INTO outbox (id, room_id, kind, record, created_at) \
             SELECT '{id}', 'room-1', '{kind}', '{{}}', millis - {age} FROM clock"
        ))
        .await;
}

fn told(place: Seq, id: &str) -> Message {
    let fields = serde_json::from_str(r#"{"added":[{"id":"\u0007 é"}],"rev":9007199254740993}"#).unwrap();
    Message { body: String::new(), told: Some(Told { kind: "members".into(), fields }), ..message(place, 1, id) }
}

on_both_engines! {
    async fn what_was_met_leaves_the_outbox_with_the_batch(home: &Home) {
        let (database, start) = home.begun().await;
        for id in ["a", "bb", "ccc"] {
            tell(&database, id, "members", 0).await;
        }
        let mut met = batch(&start, 9, vec![told(7, "a"), message(8, 1, "m")]);
        met.met = ["a", "bb", "unknown"].map(|id| id.parse().unwrap()).into();
        assert_eq!(database.record("log", &Batch { from: Cursor { seq: 1, base: 1 }, ..met.clone() }).await, Ok(Recorded::Moved));
        assert_eq!(database.number("SELECT count(*) FROM outbox").await, 3, "the cursor stands elsewhere");
        assert_eq!(database.record("log", &met).await, Ok(committed(2, 0)));
        assert_eq!(database.number("SELECT count(*) FROM outbox WHERE id = 'ccc'").await, 1);
        assert_eq!(database.number("SELECT count(*) FROM outbox").await, 1);
        assert_eq!(database.all(&room(1)).await, [told(7, "a"), message(8, 1, "m")]);
    }

    async fn rows_that_are_left_behind_are_found_oldest_first(home: &Home) {
        let database = home.open().await;
        for (id, kind, age) in [
            ("young", "members", 0), ("a", "members", 5000), ("b", "session_ended", 9000), ("c", "newer", 9000),
        ] {
            tell(&database, id, kind, age).await;
        }
        let found = async |limit| {
            let unmet = database.unmet(&KINDS, Duration::from_secs(2), limit).await.unwrap();
            unmet.into_iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(found(9).await, ["b", "a"]);
        assert_eq!(found(1).await, ["b"]);
    }

    async fn a_row_that_is_given_up_is_a_dead_letter(home: &Home) {
        let database = home.open().await;
        tell(&database, "a", "members", 5000).await;
        let unmet = database.unmet(&KINDS, Duration::from_secs(2), 9).await.unwrap();
        assert_eq!(unmet, [Unmet { id: "a".into(), kind: "members".into(), record: "{}".into() }]);
        for _ in 0..2 {
            assert_eq!(database.give_up(&unmet).await, Ok(()));
        }
        assert_eq!(database.number("SELECT count(*) FROM outbox").await, 0);
        assert_eq!(database.number("SELECT count(*) FROM dead_letters WHERE kind = 'members'").await, 1);
    }

    async fn a_dead_letter_that_is_walked_again_stands_once(home: &Home) {
        let (database, start) = home.begun().await;
        let letter = |seq, record: &[u8]| DeadLetter { seq, kind: "message".into(), record: record.into(), error: "no".into() };
        for (to, letters) in [(5, vec![letter(4, b"x")]), (9, vec![letter(4, b"x"), letter(4, b"other"), letter(8, b"x")])] {
            let walked = Batch { dead_letters: letters, ..batch(&start, to, vec![]) };
            assert_eq!(database.record("log", &walked).await, Ok(committed(0, 0)));
            assert_eq!(database.skip("log", &walked.to, &start).await, Ok(true));
        }
        assert_eq!(database.number("SELECT count(*) FROM dead_letters").await, 3);
    }

    /// Its service has made the row; a public room gets one from its first message.
    async fn a_room_with_members_gets_no_row_from_what_is_told_in_it(home: &Home) {
        let (database, start) = home.begun().await;
        let private = |bits| RoomId::private(bits);
        let row = format!("INSERT INTO rooms (id, kind, last_seq, created_at) VALUES ('{}', 'channel', 3, 7)", private(1).as_str());
        database.run_sql(row).await;
        let all = [(5, private(1)), (6, private(2)), (7, room(1))];
        let all = all.map(|(place, room)| Message { room, ..told(place, &format!("m{place}")) }).into();
        assert_eq!(database.record("log", &batch(&start, 9, all)).await, Ok(committed(3, 0)));
        assert_eq!(database.number("SELECT count(*) FROM rooms WHERE last_seq = 5 AND kind = 'channel'").await, 1);
        assert_eq!(database.number("SELECT count(*) FROM rooms WHERE last_seq = 7 AND kind = 'public'").await, 1);
        assert_eq!(database.number("SELECT count(*) FROM rooms").await, 2);
    }
}
