//! Seats of many people at once, and the indexes by which they are read.

use hubbub_messenger::{
    channels::ChannelEdit,
    memberships::Memberships,
    outbox::EventKind,
    rank::Role,
    room::{Posting, Visibility},
};

use super::{people::*, plans::plan, *};
use crate::{
    facts, memberships,
    sight::{self, lists, people as seekers},
};

/// Two thousand people, each in sixty groups and in twenty of four hundred channels.
async fn fill(database: &Database) {
    let people = match &*database.engine {
        Engine::Sqlite { .. } => {
            "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 2000) SELECT n FROM s"
        }
        Engine::Postgres { .. } => "SELECT n FROM generate_series(1, 2000) AS s (n)",
    };
    for statement in [
        format!("CREATE TABLE numbers AS {people}"),
        "INSERT INTO accounts (id, username, name, created_at) \
         SELECT 'person' || n, 'user' || n, 'Person ' || n, 1 FROM numbers"
            .to_owned(),
        "INSERT INTO accounts (id, username, name, created_at) \
         SELECT 'other' || p.n || '-' || r.n, 'other' || p.n || '-' || r.n, 'Other', 1 \
         FROM numbers AS p CROSS JOIN numbers AS r WHERE r.n <= 20"
            .to_owned(),
        "INSERT INTO group_bans (group_id, user_id, banned_by, created_at) \
         SELECT 'group' || g.n, 'person' || p.n, 'person1', 1 FROM numbers AS p CROSS JOIN numbers AS g WHERE g.n <= 10"
            .to_owned(),
        "INSERT INTO group_invites (id, group_id, token_hash, expires_at, created_by, created_at) \
         SELECT 'link' || g.n || '-' || p.n, 'group' || g.n, 'hash' || g.n || '-' || p.n, 1, 'person1', 1 \
         FROM numbers AS p CROSS JOIN numbers AS g WHERE g.n <= 10"
            .to_owned(),
        "INSERT INTO groups (id, name, visibility, general, created_at) \
         SELECT 'group' || n, 'Crew', 'open', '~' || n, 1 FROM numbers"
            .to_owned(),
        "INSERT INTO rooms (id, kind, last_seq, created_at, group_id, name) \
         SELECT '~' || n, 'channel', 0, 1, 'group' || (n % 40), 'channel' || n FROM numbers WHERE n <= 400"
            .to_owned(),
        "INSERT INTO rooms (id, kind, last_seq, created_at) SELECT 'room' || p.n || '-' || r.n, 'public', 0, 1 \
         FROM numbers AS p CROSS JOIN numbers AS r WHERE r.n <= 20"
            .to_owned(),
        "INSERT INTO group_members (group_id, user_id, role, joined_at) \
         SELECT 'group' || g.n, 'person' || p.n, 'member', 1 \
         FROM numbers AS p CROSS JOIN numbers AS g WHERE g.n <= 60"
            .to_owned(),
        "INSERT INTO room_members (room_id, user_id, joined_at) \
         SELECT '~' || ((p.n * 13 + r.n) % 400 + 1), 'person' || p.n, 1 \
         FROM numbers AS p CROSS JOIN numbers AS r WHERE r.n <= 20"
            .to_owned(),
        "INSERT INTO contacts (user_id, other_id, state, created_at) \
         SELECT 'person' || p.n, 'person' || (p.n + c.n), 'asked', 1 \
         FROM numbers AS p CROSS JOIN numbers AS c WHERE c.n <= 10"
            .to_owned(),
        "ANALYZE".to_owned(),
    ] {
        let patient = match &*database.engine {
            Engine::Sqlite { .. } => statement,
            Engine::Postgres { .. } => format!("BEGIN; SET LOCAL statement_timeout = '60s'; {statement}; COMMIT"),
        };
        database.run_sql(patient).await;
    }
}

/// A table, or an index, that is read from end to end.
fn scanned(plan: &str) -> Option<&str> {
    // what a statement has selected itself, or was given as its parameter
    let own = ["SCAN v ", "SCAN json_each ", "SCAN s", "SCAN open_ones", "SCAN own_ones", "SCAN CONSTANT ROW"];
    plan.lines().find(|line| {
        let in_sqlite = line.starts_with("SCAN ") && !own.iter().any(|name| line.starts_with(name));
        line.contains("Seq Scan on") || in_sqlite
    })
}

on_both_engines! {
    async fn the_seats_of_hundreds_are_read_by_indexes(home: &Home) {
        let database = home.open().await;
        fill(&database).await;
        let people = (1..=300).map(|n| serde_json::json!([format!("person{}", n * 5)])).collect::<serde_json::Value>();
        let plan = plan(&database, memberships::SEATS, &[], &[&people.to_string()]).await;
        assert_eq!(scanned(&plan), None, "{plan}");
    }

    async fn what_somebody_sees_is_read_by_indexes(home: &Home) {
        let database = home.open().await;
        fill(&database).await;
        for (statement, texts) in [
            (sight::SIDEBAR, vec!["person7"]),
            (sight::ROOM, vec!["person7", "~7"]),
            (sight::CHANNELS, vec!["person7", "group7"]),
            (sight::GROUP, vec!["person7", "group7"]),
            (sight::MY_GROUPS, vec!["person7"]),
            (facts::RANKS, vec!["group7", "[[\"person7\"]]"]),
            (facts::CHANNEL_SEATS, vec!["group7", "[[\"person7\"]]"]),
            (facts::STANCES, vec!["[[\"person7\"], [\"person8\"]]"]),
        ] {
            let plan = plan(&database, statement, &[], &texts).await;
            assert_eq!(scanned(&plan), None, "{statement}\n{plan}");
        }
    }

    async fn lists_and_searches_are_read_by_indexes(home: &Home) {
        let database = home.open().await;
        fill(&database).await;
        for (statement, texts, numbers) in [
            (sight::GROUPS, vec!["person7", ""], vec![51]),
            (lists::GROUP_MEMBERS, vec!["person7", "group7", "person1"], vec![51]),
            (lists::ROOM_MEMBERS, vec!["person7", "~7", "person1"], vec![51]),
            (lists::BANS, vec!["person7", "group7", ""], vec![51]),
            (lists::INVITES, vec!["person7", "group7", ""], vec![51]),
            (seekers::CONTACTS, vec!["person7", ""], vec![51]),
            (seekers::CONTACT, vec!["person7", "person8"], vec![]),
            (seekers::FIND, vec!["person7", "user12", "\u{10ffff}", ""], vec![1, 51]),
            (seekers::FIND, vec!["person7", "user12", "\u{10ffff}", ""], vec![0, 51]),
            (seekers::PERSON, vec!["person7", "person8"], vec![0]),
        ] {
            let plan = plan(&database, statement, &numbers, &texts).await;
            assert_eq!(scanned(&plan), None, "{statement}\n{plan}");
        }
    }

    async fn seats_come_in_the_order_of_the_people_and_with_their_rev(home: &Home) {
        let world = World::with(home, 4).await;
        let group = world.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
        world.groups.add(&user(1), &group, vec![user(2)]).await.unwrap();
        let (direct, _) = world.directs.open(&user(2), &user(3)).await.unwrap();
        let asked = [user(3), user(9), user(2), user(4), user(3)];
        let seats = world.database.of(&asked).await.unwrap();
        assert_eq!(seats.iter().map(|seats| seats.rooms.len()).collect::<Vec<_>>(), [1, 0, 2, 0, 1]);
        assert_eq!((&seats[0].rooms[0].room, &seats[0]), (&direct, &seats[4]));
        assert_eq!((seats[1].rev, seats[3].rev), (0, 0), "no such person, and one that nothing has changed");
        assert!(seats[0].rev > 1_700_000_000_000_000, "{seats:?}");
        let role = world.seats(1).await.rooms[0].role;
        assert_eq!(role, Role::Owner);
    }

    async fn what_a_group_and_what_a_person_is_told_later_has_the_higher_rev(home: &Home) {
        let world = World::with(home, 3).await;
        let group = world.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
        let room = world.rooms(1).await.pop().unwrap();
        // somebody whose seats have changed often, or long ago by a clock that went back
        world.database.run_sql(format!(
            "UPDATE accounts SET rev = 9000000000000000 WHERE id = '{}'", user(2).as_str()
        )).await;
        let _told = world.told.take();
        let mut last = 0;
        for number in [2, 3] {
            world.groups.put(&user(1), &group, &user(number), Some(Role::Admin)).await.unwrap();
            for posting in [Posting::Admins, Posting::Members] {
                let edit = ChannelEdit { posting: Some(posting), ..ChannelEdit::default() };
                world.channels.edit(&user(1), &room, edit).await.unwrap();
            }
            for event in world.told.take().iter().filter(|event| event.kind != EventKind::Members) {
                let rev = event.fields["rev"].as_u64().unwrap();
                assert!(rev > last, "{rev} {last} {event:?}");
                last = rev;
            }
        }
    }

    async fn rev_grows_although_the_clock_goes_back(home: &Home) {
        let world = World::with(home, 2).await;
        world.database.run_sql("UPDATE accounts SET rev = 9000000000000000").await;
        let (room, _) = world.directs.open(&user(1), &user(2)).await.unwrap();
        let events = world.told.take();
        assert_eq!(events.len(), 2);
        for event in &events {
            assert_eq!(event.fields["rev"], 9_000_000_000_000_001_u64);
        }
        assert_eq!(world.seats(1).await.rev, 9_000_000_000_000_001);
        assert_eq!(world.rooms(2).await, vec![room]);
    }
}
