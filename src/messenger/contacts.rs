//! What people do with their contacts.

use hubbub_protocol::UserId;
use serde_json::json;

use crate::{
    change::{CallError, Change, Decision, Facts, Place, Refused},
    contact::{ContactState, Stance},
    draft::Draft,
    outbox::EventKind,
    rank::Role,
    registry::Registry,
};

/// What two people say of each other.
type Pair = (Option<Stance>, Option<Stance>);

/// What somebody sees who says the first, and of whom the second is said. That one is blocked, nobody sees.
pub(crate) fn seen((mine, theirs): Pair) -> ContactState {
    match (mine, theirs) {
        (Some(Stance::Blocked), _) => ContactState::Blocked,
        (Some(Stance::Accepted), _) => ContactState::Accepted,
        (Some(Stance::Asked), _) => ContactState::Asked,
        (None, Some(Stance::Asked)) => ContactState::Asks,
        (None, _) => ContactState::None,
    }
}

/// Asks, or accepts, or thinks better of a block.
fn asked((_, theirs): Pair) -> Pair {
    match theirs {
        Some(Stance::Asked | Stance::Accepted) => (Some(Stance::Accepted), Some(Stance::Accepted)),
        Some(Stance::Blocked) | None => (Some(Stance::Asked), theirs),
    }
}

/// Blocks. The other one sees what it sees when it is no contact any more.
fn blocked((_, theirs): Pair) -> Pair {
    (Some(Stance::Blocked), theirs.filter(|theirs| *theirs != Stance::Accepted))
}

/// Takes back what was said. A request is declined by it, and a contact ended.
fn removed((mine, theirs): Pair) -> Pair {
    let stays = mine == Some(Stance::Blocked) || theirs == Some(Stance::Blocked);
    (None, theirs.filter(|_| stays))
}

/// Asks, accepts, removes and blocks people.
#[derive(Clone, Debug)]
pub struct Contacts {
    registry: Registry,
}

impl Contacts {
    /// With this database and log.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Asks a person to become a contact, or accepts that it has asked.
    ///
    /// # Errors
    ///
    /// There is no such person.
    pub async fn ask(&self, actor: &UserId, other: &UserId) -> Result<(), CallError> {
        self.turn(actor, other, asked).await
    }

    /// Blocks a person: it can no longer open or write in the direct room.
    ///
    /// # Errors
    ///
    /// There is no such person.
    pub async fn block(&self, actor: &UserId, other: &UserId) -> Result<(), CallError> {
        self.turn(actor, other, blocked).await
    }

    /// Ends a contact, declines a request, or takes a request or a block back.
    ///
    /// # Errors
    ///
    /// There is no such person.
    pub async fn remove(&self, actor: &UserId, other: &UserId) -> Result<(), CallError> {
        self.turn(actor, other, removed).await
    }

    async fn turn(&self, actor: &UserId, other: &UserId, step: fn(Pair) -> Pair) -> Result<(), CallError> {
        if actor == other {
            return Err(Refused::field("user", "yourself", "nobody is a contact of oneself").into());
        }
        let (actor, other) = (actor.clone(), other.clone());
        let people = vec![actor.clone(), other.clone()];
        let _named =
            self.registry.change(Place::Between, people, move |facts| turn(facts, &actor, &other, step)).await?;
        Ok(())
    }
}

fn turn(facts: &Facts, actor: &UserId, other: &UserId, step: fn(Pair) -> Pair) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let known = facts.people.get(other).filter(|known| !known.is_gone).ok_or(Refused::Unknown)?;
    let said = |by: &UserId, of: &UserId| facts.stances.get(&(by.clone(), of.clone())).copied();
    let before = (said(actor, other), said(other, actor));
    let after = step(before);
    for (user, peer, old, new) in [(actor, other, before.0, after.0), (other, actor, before.1, after.1)] {
        if old != new {
            draft.write(Change::Stance(user.clone(), peer.clone(), new));
        }
    }
    for (user, peer, old, new) in
        [(actor, known, before, after), (other, facts.active(actor)?, swap(before), swap(after))]
    {
        if seen(old) != seen(new) {
            let rev = facts.people.get(user).map(|known| known.rev);
            let fields = json!({"rev": rev, "object": {"person": peer.person, "state": seen(new)}});
            draft.tell_inbox(EventKind::Contact, user, fields);
        }
    }
    let is_blocked = |pair: Pair| pair.0 == Some(Stance::Blocked) || pair.1 == Some(Stance::Blocked);
    if let Some(found) = facts.rooms.values().next().filter(|_| is_blocked(before) != is_blocked(after)) {
        let mut room = found.room.clone();
        (room.is_blocked, room.room_rev) = (is_blocked(after), draft.rev());
        draft.write(Change::EditRoom(room.clone()));
        for user in [actor, other] {
            draft.tell_in(&room, user, Role::Member);
        }
    }
    Ok(draft.finish())
}

fn swap((one, other): Pair) -> Pair {
    (other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [Option<Stance>; 4] = [None, Some(Stance::Asked), Some(Stance::Accepted), Some(Stance::Blocked)];

    #[test]
    fn a_contact_is_one_of_both_whatever_is_done() {
        for pair in SAID.into_iter().flat_map(|mine| SAID.map(|theirs| (mine, theirs))) {
            let is_whole =
                |(mine, theirs): Pair| (mine == Some(Stance::Accepted)) == (theirs == Some(Stance::Accepted));
            for step in [asked, blocked, removed] {
                assert!(!is_whole(pair) || is_whole(step(pair)), "{pair:?} {:?}", step(pair));
            }
        }
    }

    #[test]
    fn whoever_is_blocked_sees_what_one_sees_who_is_removed_or_not_answered() {
        for before in [(None, None), (None, Some(Stance::Asked)), (Some(Stance::Accepted), Some(Stance::Accepted))] {
            let after = blocked(before);
            let expected = if before.1 == Some(Stance::Asked) { ContactState::Asked } else { ContactState::None };
            assert_eq!(seen(swap(after)), expected);
            assert_eq!(seen(after), ContactState::Blocked);
        }
        // asking does not tell either
        let asks = swap(asked(swap((Some(Stance::Blocked), None))));
        assert_eq!((seen(asks), seen(swap(asks))), (ContactState::Blocked, ContactState::Asked));
        assert_eq!(seen(removed(asks)), ContactState::Asks, "and is seen once the block is gone");
    }

    #[test]
    fn two_who_ask_each_other_are_contacts() {
        let both = asked(swap(asked((None, None))));
        assert_eq!(both, (Some(Stance::Accepted), Some(Stance::Accepted)));
        assert_eq!(removed(both), (None, None));
    }
}
