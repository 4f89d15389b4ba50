//! Groups, channels, direct rooms and contacts, as the services leave them in the database.

use hubbub_messenger::{
    change::{FieldError, Refused, Settings},
    channels::{ChannelEdit, NewChannel},
    contact::ContactState,
    group_id::GroupId,
    groups::{GroupEdit, InviteTerms},
    outbox::EventKind,
    person::Reach,
    rank::Role,
    room::{Notify, Posting, Visibility},
    sight::{Sight, Span},
};
use hubbub_protocol::{RoomId, UserId};

use super::{people::*, *};

fn span(limit: usize) -> Span {
    Span { after: String::new(), limit }
}

fn channel(name: &str) -> NewChannel {
    NewChannel { name: name.into(), topic: String::new(), visibility: Visibility::Open, posting: Posting::Members }
}

/// A group of person 1 with these members, and its default channel.
async fn group(world: &World, visibility: Visibility, members: impl IntoIterator<Item = u128>) -> (GroupId, RoomId) {
    let group = world.groups.make(&user(1), "Crew", "", visibility).await.unwrap();
    world.groups.add(&user(1), &group, members.into_iter().map(user).collect()).await.unwrap();
    let view = world.database.group(&user(1), &group).await.unwrap().unwrap();
    (group, view.inside.unwrap().channels[0].room.id.clone())
}

on_both_engines! {
    async fn the_default_channel_takes_in_every_member_and_lets_go_who_leaves(home: &Home) {
        let world = World::with(home, 3).await;
        let (group, general) = group(&world, Visibility::Open, [2]).await;
        world.groups.join(&user(3), &group).await.unwrap();
        for number in 1..=3 {
            assert_eq!(world.rooms(number).await, std::slice::from_ref(&general));
        }
        let side = world.channels.make(&user(3), &group, channel("side")).await.unwrap();
        world.channels.join(&user(2), &side).await.unwrap();
        assert_eq!(conflict(world.channels.leave(&user(2), &general).await), "default_channel");
        let _told = world.told.take();
        world.groups.leave(&user(2), &group).await.unwrap();
        assert!(world.rooms(2).await.is_empty());
        let mut out = world.told.memberships();
        out.sort_by(|one, other| one.2.cmp(&other.2));
        let mut both = [side, general].map(|room| (user(2), "out".to_owned(), room, false));
        both.sort_by(|one, other| one.2.cmp(&other.2));
        assert_eq!(out, both);
        assert_eq!(conflict(world.groups.leave(&user(1), &group).await), "last_owner");
    }

    async fn what_is_told_stands_in_the_outbox_and_a_refusal_leaves_nothing(home: &Home) {
        let world = World::with(home, 3).await;
        let (group, _) = group(&world, Visibility::Private, [2]).await;
        let told = world.told.take();
        let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Membership, EventKind::Membership, EventKind::Members]);
        for event in &told {
            let standing = format!(
                "SELECT count(*) FROM outbox WHERE id = '{}' AND room_id = '{}' AND kind = '{}' AND record = '{}'",
                event.id, event.room, event.kind.name(), event.record()
            );
            assert_eq!(world.database.number(standing).await, 1);
        }
        let before = world.seats(2).await;
        assert_eq!(refusal(world.groups.add(&user(2), &group, vec![user(3)]).await),
            Refused::Forbidden("your rank does not allow this"));
        assert_eq!(refusal(world.groups.join(&user(3), &group).await), Refused::Unknown);
        let bad = vec![user(3), user(99)];
        let Refused::Invalid(errors) = refusal(world.groups.add(&user(1), &group, bad).await) else { panic!() };
        assert!(matches!(&errors[..], [FieldError { field: "users", code: "unknown_user", .. }]), "{errors:?}");
        assert_eq!(world.told.take(), []);
        assert_eq!(world.database.number("SELECT count(*) FROM outbox").await, 3);
        assert_eq!((world.seats(2).await, world.rooms(3).await), (before, vec![]));
    }

    async fn five_hundred_people_are_added_in_one_call_and_not_more(home: &Home) {
        let world = World::with(home, 1).await;
        let numbers = if home.server.is_some() { "SELECT n FROM generate_series(2, 600) AS s (n)" } else {
            "WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 600) SELECT n FROM s" };
        world.database.run_sql(format!("CREATE TABLE numbers AS {numbers}")).await;
        // ids of 22 characters, as of people
        let pad = if home.server.is_some() { "lpad(n::text, 22, 'A')" } else { "substr('AAAAAAAAAAAAAAAAAAAAAA' || n, -22)" };
        world.database.run_sql(format!(
            "INSERT INTO accounts (id, username, name, created_at) SELECT {pad}, 'user' || n, 'Person', 1 FROM numbers"
        )).await;
        let people = |last: usize| (2..=last).map(|n| UserId::stored(&format!("{n:A>22}")).unwrap()).collect::<Vec<_>>();
        let group = world.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
        assert!(matches!(refusal(world.groups.add(&user(1), &group, people(502)).await), Refused::Invalid(_)));
        let _told = world.told.take();
        world.groups.add(&user(1), &group, people(501)).await.unwrap();
        let told = world.told.take();
        assert_eq!(told.len(), 501);
        assert_eq!(told.last().unwrap().fields["added"], serde_json::json!({"count": 500}));
        assert_eq!(world.database.number("SELECT count(*) FROM room_members").await, 501);
        assert_eq!(world.database.number("SELECT count(*) FROM outbox").await, 502);
        let mut listed = 0;
        let mut part = span(200);
        loop {
            let members = world.database.group_members(&user(1), &group, &part).await.unwrap();
            listed += members.items.len();
            let Some(next) = members.next else { break };
            part.after = next;
        }
        assert_eq!(listed, 501);
    }

    async fn whoever_blocks_or_is_blocked_does_not_write_in_the_direct_room(home: &Home) {
        let world = World::with(home, 3).await;
        let (room, is_new) = world.directs.open(&user(1), &user(2)).await.unwrap();
        assert_eq!((is_new, world.directs.open(&user(2), &user(1)).await.unwrap()), (true, (room.clone(), false)));
        world.contacts.ask(&user(1), &user(2)).await.unwrap();
        world.contacts.ask(&user(2), &user(1)).await.unwrap();
        let _told = world.told.take();

        world.contacts.block(&user(1), &user(2)).await.unwrap();
        let told = world.told.take();
        let to_the_blocked: Vec<_> = told.iter().filter(|event| event.from.id == user(2)).collect();
        assert_eq!(to_the_blocked[0].fields["object"]["state"], "none", "as if it were removed");
        assert_eq!((&to_the_blocked[1].fields["state"], &to_the_blocked[1].fields["may_post"]), (&"in".into(), &false.into()));
        for (one, other) in [(1, 2), (2, 1)] {
            assert_eq!(refusal(world.directs.open(&user(one), &user(other)).await),
                Refused::Forbidden("this person cannot be written to"));
            assert!(!world.seats(one).await.rooms[0].may_post);
            assert!(!world.database.room(&user(one), &room).await.unwrap().unwrap().mine.unwrap().may_post);
        }
        let state = async |number: u128, other: u128| world.database.contact(&user(number), &user(other)).await.unwrap().unwrap().state;
        world.contacts.ask(&user(2), &user(1)).await.unwrap();
        assert_eq!((state(1, 2).await, state(2, 1).await), (ContactState::Blocked, ContactState::Asked));

        let _told = world.told.take();
        world.contacts.remove(&user(1), &user(2)).await.unwrap();
        assert_eq!((state(1, 2).await, state(2, 1).await), (ContactState::Asks, ContactState::Asked));
        assert_eq!(world.told.memberships().iter().map(|told| told.3).collect::<Vec<_>>(), [true, true]);
        assert!(world.seats(2).await.rooms[0].may_post);
        let contacts = world.database.contacts(&user(1), &span(9)).await.unwrap();
        assert_eq!(contacts.items.len(), 1);
        assert_eq!(refusal(world.directs.open(&user(1), &user(9)).await), Refused::Unknown);
    }

    async fn who_was_blocked_by_somebody_does_not_add_that_one(home: &Home) {
        let world = World::with(home, 2).await;
        world.contacts.block(&user(2), &user(1)).await.unwrap();
        let group = world.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
        let Refused::Invalid(errors) = refusal(world.groups.add(&user(1), &group, vec![user(2)]).await) else { panic!() };
        assert_eq!(errors[0].code, "not_addable");
    }

    async fn the_owner_after_the_last_one_is_the_oldest_admin_or_else_the_oldest_member(home: &Home) {
        let world = World::with(home, 4).await;
        let (group, _) = group(&world, Visibility::Private, [2]).await;
        for number in [3, 4] {
            world.groups.add(&user(1), &group, vec![user(number)]).await.unwrap();
        }
        world.groups.put(&user(1), &group, &user(4), Some(Role::Admin)).await.unwrap();
        let _told = world.told.take();
        let role = async |number: u128| {
            let view = world.database.group(&user(number), &group).await.unwrap();
            view.and_then(|view| view.inside).map(|inside| inside.role)
        };
        world.groups.settle(&world.database, &user(1)).await.unwrap();
        assert_eq!((role(1).await, role(4).await, role(2).await), (None, Some(Role::Owner), Some(Role::Member)));
        let told = world.told.memberships();
        assert_eq!((&told[0].0, &*told[0].1), (&user(4), "in"), "{told:?}");
        world.groups.settle(&world.database, &user(4)).await.unwrap();
        assert_eq!((role(2).await, role(3).await), (Some(Role::Owner), Some(Role::Member)));
        for number in [3, 2, 2] {
            world.groups.settle(&world.database, &user(number)).await.unwrap();
        }
        assert_eq!(world.database.number("SELECT count(*) FROM groups WHERE archived_at IS NULL").await, 0);
        assert_eq!(world.database.number("SELECT count(*) FROM room_members").await, 0);
    }

    async fn where_admins_post_members_do_not_and_in_an_archive_nobody(home: &Home) {
        let world = World::with(home, 3).await;
        let (group, general) = group(&world, Visibility::Private, [2, 3]).await;
        world.groups.put(&user(1), &group, &user(2), Some(Role::Admin)).await.unwrap();
        let may_post = async || {
            let mut may = Vec::new();
            for number in 1..=3 {
                let seat = world.seats(number).await.rooms[0].may_post;
                let seen = world.database.room(&user(number), &general).await.unwrap().unwrap().mine.unwrap().may_post;
                assert_eq!(seat, seen);
                may.push(seat);
            }
            may
        };
        assert_eq!(may_post().await, [true, true, true]);
        let edit = ChannelEdit { posting: Some(Posting::Admins), ..ChannelEdit::default() };
        let _told = world.told.take();
        world.channels.edit(&user(2), &general, edit).await.unwrap();
        assert_eq!(may_post().await, [true, true, false]);
        let told = world.told.take();
        assert_eq!((told.len(), told[0].kind, &told[0].room), (1, EventKind::Room, &general));
        assert_eq!((&told[0].fields["posting"], &told[0].fields["archived"]), (&"admins".into(), &false.into()));
        // a rank less, and the person is told that it posts no more
        world.groups.put(&user(1), &group, &user(2), Some(Role::Member)).await.unwrap();
        assert_eq!(world.told.memberships(), [(user(2), "in".to_owned(), general.clone(), false)]);
        world.groups.archive(&user(1), &group).await.unwrap();
        assert_eq!(may_post().await, [false, false, false]);
        assert_eq!(conflict(world.groups.add(&user(1), &group, vec![user(2)]).await), "archived");
        world.groups.leave(&user(3), &group).await.unwrap();
    }

    async fn nobody_sees_what_is_not_theirs(home: &Home) {
        let world = World::with(home, 4).await;
        let (closed, general) = group(&world, Visibility::Private, [2]).await;
        let (open, _) = group(&world, Visibility::Open, []).await;
        let secret = NewChannel { visibility: Visibility::Private, ..channel("secret") };
        let secret = world.channels.make(&user(2), &closed, secret).await.unwrap();
        let side = world.channels.make(&user(2), &closed, channel("side")).await.unwrap();
        let sees = async |number: u128, room: &RoomId| world.database.room(&user(number), room).await.unwrap().map(|view| view.mine.is_some());
        assert_eq!((sees(1, &secret).await, sees(2, &secret).await, sees(3, &secret).await), (None, Some(true), None));
        assert_eq!((sees(1, &side).await, sees(2, &side).await, sees(3, &side).await), (Some(false), Some(true), None));
        assert_eq!(sees(3, &general).await, None);
        let group_of_3 = world.database.group(&user(3), &open).await.unwrap().unwrap();
        assert!(group_of_3.inside.is_none());
        assert_eq!(world.database.group(&user(3), &closed).await.unwrap(), None);
        let names = |view: hubbub_messenger::group::GroupView| {
            view.inside.unwrap().channels.into_iter().map(|view| view.room.name).collect::<Vec<_>>()
        };
        assert_eq!(names(world.database.group(&user(1), &closed).await.unwrap().unwrap()), ["general", "side"]);
        assert_eq!(names(world.database.group(&user(2), &closed).await.unwrap().unwrap()), ["general", "secret", "side"]);
        let listed = world.database.groups(&user(3), &span(9)).await.unwrap().items;
        assert_eq!(listed.iter().map(|view| &view.group.id).collect::<Vec<_>>(), [&open]);
        assert_eq!(world.database.groups(&user(1), &span(9)).await.unwrap().items.len(), 2);
        for number in [1, 3] {
            assert_eq!(world.database.room_members(&user(number), &secret, &span(9)).await.unwrap().items, []);
        }
        assert_eq!(world.database.group_members(&user(3), &closed, &span(9)).await.unwrap().items, []);
        assert_eq!(world.database.bans(&user(2), &closed, &span(9)).await.unwrap().items, []);
        assert_eq!(refusal(world.channels.join(&user(1), &secret).await), Refused::Unknown);
        assert_eq!(refusal(world.channels.add(&user(1), &secret, vec![user(1)]).await), Refused::Unknown);
    }

    async fn a_link_ends_and_is_shown_to_those_who_lead(home: &Home) {
        let world = World::with(home, 3).await;
        let (group, _) = group(&world, Visibility::Private, [2]).await;
        let terms = InviteTerms { seconds: 60, uses: None };
        let (invite, token) = world.groups.invite(&user(1), &group, terms).await.unwrap();
        assert!(matches!(refusal(world.groups.invite(&user(2), &group, terms).await), Refused::Forbidden(_)));
        let hash = hubbub_messenger::invite::hash(&token);
        assert_eq!(world.database.number(format!("SELECT count(*) FROM group_invites WHERE token_hash = '{token}'")).await, 0);
        assert_eq!(world.database.invited(&hash).await.unwrap().unwrap().group.name, "Crew");
        assert_eq!(world.database.invites(&user(1), &group, &span(9)).await.unwrap().items, std::slice::from_ref(&invite));
        assert_eq!(world.database.invites(&user(2), &group, &span(9)).await.unwrap().items, []);
        assert_eq!(world.groups.accept(&user(2), &token).await.unwrap(), group, "a member already");
        world.database.run_sql("UPDATE group_invites SET expires_at = 1").await;
        assert_eq!(world.database.invited(&hash).await.unwrap(), None);
        assert_eq!(refusal(world.groups.accept(&user(3), &token).await), Refused::Unknown);
        world.database.run_sql("UPDATE group_invites SET expires_at = 9000000000000").await;
        world.groups.ban(&user(1), &group, &user(3)).await.unwrap();
        assert!(matches!(refusal(world.groups.accept(&user(3), &token).await), Refused::Forbidden(_)));
        world.groups.pardon(&user(1), &group, &user(3)).await.unwrap();
        assert_eq!(world.groups.accept(&user(3), &token).await.unwrap(), group);
        world.groups.revoke(&user(1), &group, &invite.id).await.unwrap();
        assert_eq!(world.database.invited(&hash).await.unwrap(), None);
    }

    async fn names_of_channels_are_taken_once_and_texts_have_limits(home: &Home) {
        let world = World::with(home, 1).await;
        let (group, general) = group(&world, Visibility::Private, []).await;
        let side = world.channels.make(&user(1), &group, channel("side")).await.unwrap();
        assert_eq!(conflict(world.channels.make(&user(1), &group, channel("general")).await), "name_taken");
        let named = |name: &str| ChannelEdit { name: Some(name.into()), ..ChannelEdit::default() };
        assert_eq!(conflict(world.channels.edit(&user(1), &side, named("general")).await), "name_taken");
        world.channels.edit(&user(1), &side, named("Seite \u{1f600} 'x'")).await.unwrap();
        assert_eq!(conflict(world.channels.archive(&user(1), &general).await), "default_channel");
        let hidden = ChannelEdit { visibility: Some(Visibility::Private), ..ChannelEdit::default() };
        assert_eq!(conflict(world.channels.edit(&user(1), &general, hidden).await), "default_channel");
        for bad in ["", " ", "a\0b", &"x".repeat(65)] {
            assert!(matches!(refusal(world.channels.edit(&user(1), &side, named(bad)).await), Refused::Invalid(_)));
        }
        let long = GroupEdit { about: Some("x".repeat(1001)), ..GroupEdit::default() };
        assert!(matches!(refusal(world.groups.edit(&user(1), &group, long).await), Refused::Invalid(_)));
    }

    async fn the_name_of_a_private_channel_is_not_found_out_by_taking_it(home: &Home) {
        let world = World::with(home, 2).await;
        let (group, _) = group(&world, Visibility::Private, [2]).await;
        let private = NewChannel { visibility: Visibility::Private, ..channel("raise") };
        let secret = world.channels.make(&user(2), &group, private).await.unwrap();
        let _open = world.channels.make(&user(1), &group, channel("raise")).await.unwrap();
        let open = ChannelEdit { visibility: Some(Visibility::Open), ..ChannelEdit::default() };
        assert_eq!(conflict(world.channels.edit(&user(2), &secret, open.clone()).await), "name_taken");
        let renamed = ChannelEdit { name: Some("rise".into()), ..open };
        world.channels.edit(&user(2), &secret, renamed).await.unwrap();
    }

    async fn each_sets_how_it_is_told_of_its_rooms(home: &Home) {
        let world = World::with(home, 3).await;
        let (room, _) = world.directs.open(&user(1), &user(2)).await.unwrap();
        let _told = world.told.take();
        let settings = Settings { notify: Some(Notify::Mentions), muted_until: Some(5), pinned: None };
        world.channels.set(&user(1), &room, settings).await.unwrap();
        let told = world.told.take();
        assert_eq!((told[0].kind, &told[0].room), (EventKind::Settings, &RoomId::inbox(&user(1))));
        let settings = Settings { notify: None, muted_until: Some(0), pinned: Some(true) };
        world.channels.set(&user(1), &room, settings).await.unwrap();
        let mine = async |number: u128| world.database.room(&user(number), &room).await.unwrap().unwrap().mine.unwrap();
        let own = mine(1).await;
        assert_eq!((own.notify, own.muted_until, own.pinned), (Notify::Mentions, None, true));
        assert_eq!(mine(2).await.notify, Notify::All);
        assert_eq!(refusal(world.channels.set(&user(3), &room, settings).await), Refused::Unknown);
    }

    async fn people_are_found_by_the_beginning_of_a_name(home: &Home) {
        let world = World::with(home, 12).await;
        let find = async |number: u128, q: &str, reach: Reach| {
            let found = world.database.find(&user(number), q, reach, &span(50)).await.unwrap();
            found.items.into_iter().map(|person| person.username).collect::<Vec<_>>()
        };
        assert_eq!(find(1, "USER1", Reach::Everyone).await, ["user10", "user11", "user12"], "without oneself");
        assert_eq!(find(1, "person 2", Reach::Everyone).await, ["user2"]);
        assert!(find(1, "ser", Reach::Everyone).await.is_empty());
        assert!(find(1, "user1", Reach::Groups).await.is_empty());
        assert_eq!(find(1, "user11", Reach::Groups).await, ["user11"], "exactly");
        let _crew = group(&world, Visibility::Private, [12]).await;
        assert_eq!(find(1, "user1", Reach::Groups).await, ["user12"]);
        assert!(world.database.person(&user(1), &user(12), Reach::Groups).await.unwrap().is_some());
        assert!(world.database.person(&user(1), &user(3), Reach::Groups).await.unwrap().is_none());
        assert!(world.database.person(&user(1), &user(3), Reach::Everyone).await.unwrap().is_some());
        world.database.run_sql("UPDATE accounts SET state = 'deleted'").await;
        assert!(world.database.person(&user(1), &user(3), Reach::Everyone).await.unwrap().is_none());
    }

    async fn public_rooms_are_listed_by_administrators(home: &Home) {
        let world = World::with(home, 2).await;
        let (room, user_1) = (room(7), user(1));
        assert!(matches!(refusal(world.channels.list(&user_1, &room, Some(true), None).await), Refused::Forbidden(_)));
        world.database.run_sql("UPDATE accounts SET administrator = 1").await;
        world.channels.list(&user_1, &room, Some(true), Some("Talk")).await.unwrap();
        world.channels.list(&user_1, &room, None, None).await.unwrap();
        let listed = world.database.public_rooms("room", &span(9)).await.unwrap().items;
        assert_eq!((listed.len(), &listed[0].room.id, &*listed[0].room.topic), (1, &room, "Talk"));
        assert_eq!(world.database.public_rooms("x", &span(9)).await.unwrap().items, []);
        world.channels.list(&user_1, &room, Some(false), None).await.unwrap();
        assert_eq!(world.database.public_rooms("", &span(9)).await.unwrap().items, []);
        let (private, _) = world.directs.open(&user(1), &user(2)).await.unwrap();
        assert_eq!(refusal(world.channels.list(&user_1, &private, Some(true), None).await), Refused::Unknown);
    }
}
