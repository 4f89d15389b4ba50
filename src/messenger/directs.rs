//! Direct rooms: one for two people, for ever.

use hubbub_protocol::{RoomId, UserId};

use crate::{
    change::{CallError, Change, Decision, Facts, Place, Refused, Subject},
    contact::Stance,
    draft::Draft,
    fresh::new_room,
    rank::Role,
    registry::Registry,
    room::{Room, RoomSort},
};

/// Opens direct rooms.
#[derive(Clone, Debug)]
pub struct Directs {
    registry: Registry,
}

impl Directs {
    /// With this database and log.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The direct room of two people, and whether it is new.
    ///
    /// # Errors
    ///
    /// There is no such person, or one has blocked the other: nobody is told which.
    pub async fn open(&self, actor: &UserId, peer: &UserId) -> Result<(RoomId, bool), CallError> {
        if actor == peer {
            return Err(Refused::field("user", "yourself", "a direct room has two people").into());
        }
        let (id, actor, peer) = (new_room(), actor.clone(), peer.clone());
        let people = vec![actor.clone(), peer.clone()];
        let subject = self.registry.change(Place::Between, people, move |facts| open(facts, &actor, &peer, id)).await?;
        match subject {
            Subject::Made(room) => Ok((room, true)),
            Subject::Found(room) => Ok((room, false)),
            _ => Err(Refused::Unknown.into()),
        }
    }
}

/// What no two direct rooms have in common.
pub fn direct_key(one: &UserId, other: &UserId) -> String {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    format!("{}:{}", low.as_str(), high.as_str())
}

fn open(facts: &Facts, actor: &UserId, peer: &UserId, id: RoomId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let known = facts.people.get(peer).filter(|known| !known.is_gone).ok_or(Refused::Unknown)?;
    if !known.is_active || is_blocked(facts, actor, peer) {
        return Err(Refused::Forbidden("this person cannot be written to"));
    }
    if let Some(room) = facts.rooms.keys().next() {
        return Ok(draft.about(Subject::Found(room.clone())));
    }
    let room = Room { room_rev: draft.rev(), ..Room::private(id, RoomSort::Direct) };
    draft.write(Change::AddRoom(room.clone(), Some(direct_key(actor, peer))));
    for user in [actor, peer] {
        draft.seat(&room, user, Role::Member, None)?;
    }
    Ok(draft.about(Subject::Made(room.id)))
}

/// Whether one of two people has blocked the other.
fn is_blocked(facts: &Facts, one: &UserId, other: &UserId) -> bool {
    let blocks = |by: &UserId, of: &UserId| facts.stances.get(&(by.clone(), of.clone())) == Some(&Stance::Blocked);
    blocks(one, other) || blocks(other, one)
}
