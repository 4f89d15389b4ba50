//! Two changes at the same moment, from two instances.

use hubbub_messenger::{
    change::{CallError, Refused},
    groups::InviteTerms,
    rank::Role,
    room::Visibility,
};
use tokio::join;

use super::{people::*, *};

/// How often each race is run.
const RACES: u128 = 12;

async fn two(home: &Home, people: u128) -> (World, World) {
    let first = World::with(home, people).await;
    (first, World::at(home).await)
}

on_both_engines! {
    async fn two_who_open_their_direct_room_at_once_get_the_same(home: &Home) {
        let (here, there) = two(home, RACES + 1).await;
        for number in 2..=RACES + 1 {
            let (ann, bob) = (user(1), user(number));
            let (mine, theirs) = join!(here.directs.open(&ann, &bob), there.directs.open(&bob, &ann));
            let ((mine, is_new), (theirs, is_new_too)) = (mine.unwrap(), theirs.unwrap());
            assert_eq!((mine, is_new), (theirs, !is_new_too));
        }
        let rooms = here.database.number("SELECT count(*) FROM rooms WHERE kind = 'direct'").await;
        assert_eq!(u128::try_from(rooms).unwrap(), RACES);
        assert_eq!(here.told.memberships().len() + there.told.memberships().len(), 2 * usize::try_from(RACES).unwrap());
    }

    async fn the_last_use_of_a_link_lets_one_in(home: &Home) {
        let (here, there) = two(home, 3).await;
        for _ in 0..RACES {
            let group = here.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
            let terms = InviteTerms { seconds: 60, uses: Some(1) };
            let (_, token) = here.groups.invite(&user(1), &group, terms).await.unwrap();
            let (second, third) = (user(2), user(3));
            let (one, other) = join!(here.groups.accept(&second, &token), there.groups.accept(&third, &token));
            assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
            assert_eq!(refusal(one.and(other)), Refused::Unknown);
        }
        assert_eq!(here.database.number("SELECT count(*) FROM group_members").await, 2 * i64::try_from(RACES).unwrap());
        assert_eq!(here.database.number("SELECT CAST(sum(uses_left) AS BIGINT) FROM group_invites").await, 0);
    }

    async fn of_two_owners_who_leave_at_once_one_stays(home: &Home) {
        let (here, there) = two(home, 3).await;
        for _ in 0..RACES {
            let group = here.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
            here.groups.add(&user(1), &group, vec![user(2), user(3)]).await.unwrap();
            here.groups.put(&user(1), &group, &user(2), Some(Role::Owner)).await.unwrap();
            let (first, second) = (user(1), user(2));
            let (one, other) = join!(here.groups.leave(&first, &group), there.groups.leave(&second, &group));
            assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
            assert_eq!(conflict(one.and(other)), "last_owner");
        }
        let owners = here.database.number("SELECT count(*) FROM group_members WHERE role = 'owner'").await;
        assert_eq!(u128::try_from(owners).unwrap(), RACES);
    }

    async fn who_is_added_and_banned_at_once_is_out_in_the_end(home: &Home) {
        let (here, there) = two(home, 3).await;
        for _ in 0..RACES {
            let group = here.groups.make(&user(1), "Crew", "", Visibility::Private).await.unwrap();
            let (owner, target) = (user(1), user(2));
            let (added, banned) =
                join!(here.groups.add(&owner, &group, vec![target.clone()]), there.groups.ban(&owner, &group, &target));
            banned.unwrap();
            assert!(matches!(added, Ok(()) | Err(CallError::Refused(Refused::Invalid(_)))), "{added:?}");
        }
        assert_eq!(here.database.number(format!("SELECT count(*) FROM room_members WHERE user_id = '{}'", user(2).as_str())).await, 0);
        assert_eq!(here.database.number("SELECT count(*) FROM group_members").await, i64::try_from(RACES).unwrap());
    }

    async fn who_blocks_while_the_other_opens_is_not_written_to(home: &Home) {
        let (here, there) = two(home, RACES + 1).await;
        for number in 2..=RACES + 1 {
            let (ann, bob) = (user(1), user(number));
            let (opened, blocked) = join!(here.directs.open(&ann, &bob), there.contacts.block(&bob, &ann));
            blocked.unwrap();
            assert!(matches!(opened, Ok(_) | Err(CallError::Refused(Refused::Forbidden(_)))), "{opened:?}");
            let seats = here.seats(number).await;
            assert!(seats.rooms.iter().all(|seat| !seat.may_post), "{seats:?}");
        }
    }

    async fn many_who_add_each_other_everywhere_do_not_wait_in_a_circle(home: &Home) {
        let (here, there) = two(home, 8).await;
        let mut groups = Vec::new();
        for owner in 1..=8 {
            groups.push(here.groups.make(&user(owner), "Crew", "", Visibility::Open).await.unwrap());
        }
        let everyone: Vec<_> = (1..=8).map(user).collect();
        let adding = (1..=8).zip(&groups).map(|(owner, group)| {
            let world = if owner % 2 == 0 { &here } else { &there };
            let mut people = everyone.clone();
            people.rotate_left(usize::try_from(owner % 8).unwrap());
            let owner = user(owner);
            async move { world.groups.add(&owner, group, people).await }
        });
        for outcome in futures_util::future::join_all(adding).await {
            outcome.unwrap();
        }
        for number in 1..=8 {
            assert_eq!(here.rooms(number).await.len(), 8);
        }
    }
}
