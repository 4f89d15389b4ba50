//! A decision in the making: what is written, beside what tells of it.

use hubbub_protocol::{RoomId, User, UserId};
use serde_json::{Value, json};

use crate::{
    change::{Change, Decision, Facts, GroupFacts, Known, Refused, RoomFacts, Subject},
    group_id::GroupId,
    outbox::{Event, EventKind},
    rank::{Action, Role, effective, may},
    room::{Room, RoomSort, RoomView, Visibility},
};

/// More rooms than this nobody is in.
pub(crate) const MAX_ROOMS: usize = 1000;

/// An event names at most so many people. Of more, it has the number.
const MAX_NAMED: usize = 20;

/// A decision in the making.
#[derive(Debug)]
pub(crate) struct Draft<'f> {
    facts: &'f Facts,
    actor: User,
    decision: Decision,
}

impl Facts {
    /// Somebody whose account counts.
    pub(crate) fn active(&self, user: &UserId) -> Result<&Known, Refused> {
        self.people.get(user).filter(|known| known.is_active).ok_or(Refused::Unknown)
    }

    /// The group, if this person is a member, and its rank.
    pub(crate) fn member(&self, user: &UserId) -> Result<(&GroupFacts, Role), Refused> {
        let found = self.group.as_ref().ok_or(Refused::Unknown)?;
        match found.ranks.get(user) {
            Some(role) => Ok((found, *role)),
            None if found.group.visibility == Visibility::Open => {
                Err(Refused::Forbidden("you are not a member of this group"))
            }
            None => Err(Refused::Unknown),
        }
    }

    /// The group, if this person may do this to that one there.
    pub(crate) fn leader(
        &self,
        actor: &UserId,
        action: Action,
        target: Option<&UserId>,
    ) -> Result<&GroupFacts, Refused> {
        let (found, role) = self.member(actor)?;
        let target = target.and_then(|target| found.ranks.get(target)).copied();
        allowed(role, action, target).and_then(|()| found.standing()).map(|()| found)
    }

    /// A channel that this person sees, and its rank in it. None: it is not in it.
    pub(crate) fn channel(&self, user: &UserId, room: &RoomId) -> Result<(&RoomFacts, Option<Role>), Refused> {
        let found = self.rooms.get(room).filter(|found| found.room.kind == RoomSort::Channel);
        let found = found.ok_or(Refused::Unknown)?;
        let is_member = self.group.as_ref().is_some_and(|group| group.ranks.contains_key(user));
        let role = self.role_in(found, user);
        let is_seen = role.is_some() || (is_member && found.room.visibility == Visibility::Open);
        if is_seen { Ok((found, role)) } else { Err(Refused::Unknown) }
    }

    /// A channel, if this person may do this to that one there.
    pub(crate) fn channel_leader(
        &self,
        actor: &UserId,
        room: &RoomId,
        action: Action,
        target: Option<&UserId>,
    ) -> Result<&RoomFacts, Refused> {
        let (found, role) = self.channel(actor, room)?;
        let role = role.ok_or(Refused::Forbidden("you are not in this channel"))?;
        let target = target.and_then(|target| self.role_in(found, target));
        allowed(role, action, target)?;
        not_archived(&found.room)?;
        Ok(found)
    }

    /// The rank of a person in a room. Who leads the group leads each channel that it is in.
    pub(crate) fn role_in(&self, found: &RoomFacts, user: &UserId) -> Option<Role> {
        let in_group = self.group.as_ref().and_then(|group| group.ranks.get(user)).copied();
        found.seats.get(user).map(|role| effective(*role, in_group))
    }
}

impl GroupFacts {
    /// Whether the group still changes.
    pub(crate) fn standing(&self) -> Result<(), Refused> {
        archived(self.group.archived_at.is_some(), "the group is archived")
    }
}

/// Whether a room still changes.
pub(crate) fn not_archived(room: &Room) -> Result<(), Refused> {
    archived(room.archived_at.is_some(), "the channel is archived")
}

fn archived(is_archived: bool, detail: &'static str) -> Result<(), Refused> {
    if is_archived { Err(Refused::Conflict { code: "archived", detail }) } else { Ok(()) }
}

/// Whether the rule of rank lets it happen.
pub(crate) fn allowed(actor: Role, action: Action, target: Option<Role>) -> Result<(), Refused> {
    if may(actor, action, target) { Ok(()) } else { Err(Refused::Forbidden("your rank does not allow this")) }
}

impl<'f> Draft<'f> {
    /// A decision about a change that this person makes.
    pub(crate) fn of(facts: &'f Facts, actor: &UserId) -> Result<Self, Refused> {
        let actor = facts.active(actor)?.person.user();
        Ok(Self { facts, actor, decision: Decision::default() })
    }

    /// A decision about a person whose account goes or is gone.
    pub(crate) fn of_gone(facts: &'f Facts, user: &UserId) -> Result<Self, Refused> {
        let actor = facts.people.get(user).ok_or(Refused::Unknown)?.person.user();
        Ok(Self { facts, actor, decision: Decision::default() })
    }

    /// Something to write.
    pub(crate) fn write(&mut self, change: Change) {
        self.decision.changes.push(change);
    }

    /// Gives a person a rank in the group.
    pub(crate) fn rank(&mut self, group: &GroupId, user: &UserId, role: Role) {
        self.write(Change::Rank(group.clone(), user.clone(), role));
    }

    /// Seats a person in a room, or seats it anew with another rank. `in_group` is its rank in the group from now on.
    pub(crate) fn seat(
        &mut self,
        room: &Room,
        user: &UserId,
        role: Role,
        in_group: Option<Role>,
    ) -> Result<(), Refused> {
        let known = self.facts.active(user)?;
        let is_new = self.facts.rooms.get(&room.id).is_none_or(|found| !found.seats.contains_key(user));
        if is_new && known.rooms >= MAX_ROOMS {
            return Err(Refused::Conflict { code: "too_many_rooms", detail: "somebody would be in too many rooms" });
        }
        self.write(Change::Seat(room.id.clone(), user.clone(), role));
        self.tell_in(room, user, effective(role, in_group));
        Ok(())
    }

    /// Tells a person what it is in a room that it is in.
    pub(crate) fn tell_in(&mut self, room: &Room, user: &UserId, role: Role) {
        let Some(known) = self.facts.people.get(user) else { return };
        let may_post = room.may_post(role);
        let peer = (room.kind == RoomSort::Direct)
            .then(|| self.facts.people.values().find(|other| other.person.id != *user))
            .flatten()
            .map(|other| other.person.clone());
        let mut object = RoomView { room: room.clone(), peer, mine: None };
        if let Some(peer) = &object.peer {
            peer.name.as_str().clone_into(&mut object.room.name);
        }
        let fields = json!({
            "about": room.id, "rev": known.rev, "state": "in", "kind": room.kind, "role": role, "may_post": may_post,
            "object": object,
        });
        self.tell_inbox(EventKind::Membership, user, fields);
    }

    /// Takes a person's seat.
    pub(crate) fn unseat(&mut self, room: &Room, user: &UserId) {
        self.write(Change::Unseat(room.id.clone(), user.clone()));
        let Some(known) = self.facts.people.get(user) else { return };
        let fields = json!({"about": room.id, "rev": known.rev, "state": "out"});
        self.tell_inbox(EventKind::Membership, user, fields);
    }

    /// Tells a room who has come and who has gone.
    pub(crate) fn tell_members(&mut self, room: &Room, added: &[&UserId], removed: &[&UserId]) {
        let named = |people: &[&UserId]| {
            if people.len() > MAX_NAMED {
                return json!({"count": people.len()});
            }
            people.iter().filter_map(|user| Some(json!(self.facts.people.get(*user)?.person.user()))).collect()
        };
        let fields = json!({"added": named(added), "removed": named(removed), "rev": self.rev()});
        self.tell_room(EventKind::Members, room, fields);
    }

    /// An event in the inbox of a person.
    pub(crate) fn tell_inbox(&mut self, kind: EventKind, user: &UserId, fields: Value) {
        let Some(known) = self.facts.people.get(user) else { return };
        self.decision.events.push(Event::in_inbox(kind, known.person.user(), self.facts.now, fields));
    }

    /// An event in a room.
    pub(crate) fn tell_room(&mut self, kind: EventKind, room: &Room, fields: Value) {
        let event = Event::new(kind, room.id.clone(), self.actor.clone(), self.facts.now, fields);
        self.decision.events.push(event);
    }

    /// The number of this change of the group and of its rooms.
    pub(crate) fn rev(&self) -> u64 {
        let people = self.facts.people.values().map(|known| known.rev).max();
        self.facts.group.as_ref().map_or(people.unwrap_or_default(), |found| found.group.rev)
    }

    /// The decision.
    pub(crate) fn finish(self) -> Decision {
        self.decision
    }

    /// The decision, and what it is about.
    pub(crate) fn about(mut self, subject: Subject) -> Decision {
        self.decision.subject = subject;
        self.decision
    }
}
