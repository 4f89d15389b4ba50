//! The rules of who comes into a group and who goes.

use std::collections::BTreeSet;

use hubbub_protocol::UserId;

use super::rules::close;
use crate::{
    change::{Change, Decision, Facts, FieldError, GroupFacts, Refused, Subject},
    contact::Stance,
    draft::{Draft, allowed},
    rank::{Action, Role, effective},
    room::Visibility,
};

const LAST_OWNER: Refused =
    Refused::Conflict { code: "last_owner", detail: "make another member owner first: a group always has one" };

/// Comes into an open group.
pub(super) fn join(facts: &Facts, actor: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.group.as_ref().ok_or(Refused::Unknown)?;
    if found.ranks.contains_key(actor) {
        return Ok(draft.finish());
    }
    if found.group.visibility != Visibility::Open {
        return Err(Refused::Unknown);
    }
    enter(&mut draft, facts, found, actor)?;
    Ok(draft.finish())
}

/// Comes into a group by a link.
pub(super) fn accept(facts: &Facts, actor: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.group.as_ref().ok_or(Refused::Unknown)?;
    let invite = facts.invite.as_ref().filter(|invite| invite.is_open(facts.now)).ok_or(Refused::Unknown)?;
    if found.group.archived_at.is_some() {
        return Err(Refused::Unknown);
    }
    if !found.ranks.contains_key(actor) {
        enter(&mut draft, facts, found, actor)?;
        draft.write(Change::UseInvite(invite.id.clone()));
    }
    Ok(draft.about(Subject::Group(found.group.id.clone())))
}

fn enter(draft: &mut Draft<'_>, facts: &Facts, found: &GroupFacts, actor: &UserId) -> Result<(), Refused> {
    found.standing()?;
    if found.banned.contains(actor) {
        return Err(Refused::Forbidden("you cannot come into this group"));
    }
    admit(draft, facts, found, &[actor], Role::Member)
}

/// New members, in the group and in its default channel.
fn admit(
    draft: &mut Draft<'_>,
    facts: &Facts,
    found: &GroupFacts,
    users: &[&UserId],
    role: Role,
) -> Result<(), Refused> {
    let general = &facts.rooms.get(&found.group.general).ok_or(Refused::Unknown)?.room;
    for user in users {
        draft.rank(&found.group.id, user, role);
    }
    for user in users {
        draft.seat(general, user, Role::Member, Some(role))?;
    }
    draft.tell_members(general, users, &[]);
    Ok(())
}

/// Why somebody who is no member cannot be added. That one is blocked, nobody is told.
fn hindrance(facts: &Facts, found: &GroupFacts, actor: &UserId, user: &UserId) -> Option<FieldError> {
    let known = facts.people.get(user).filter(|known| !known.is_gone);
    let blocks = facts.stances.get(&(user.clone(), actor.clone())) == Some(&Stance::Blocked);
    let (code, why) = match known {
        None => ("unknown_user", "is no account"),
        Some(_) if found.banned.contains(user) => ("banned", "is banned from this group"),
        Some(known) if blocks || !known.is_active => ("not_addable", "cannot be added"),
        Some(_) => return None,
    };
    Some(FieldError { field: "users", code, detail: format!("{} {why}", user.as_str()) })
}

/// Adds people.
pub(super) fn add(facts: &Facts, actor: &UserId, users: &[UserId]) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Add, None)?;
    let new: BTreeSet<&UserId> = users.iter().filter(|user| !found.ranks.contains_key(*user)).collect();
    let errors: Vec<_> = new.iter().filter_map(|user| hindrance(facts, found, actor, user)).collect();
    if !errors.is_empty() {
        return Err(Refused::Invalid(errors));
    }
    if !new.is_empty() {
        let new: Vec<_> = new.into_iter().collect();
        admit(&mut draft, facts, found, &new, Role::Member)?;
    }
    Ok(draft.finish())
}

/// Adds a person, or gives a member another rank.
pub(super) fn put(facts: &Facts, actor: &UserId, user: &UserId, role: Option<Role>) -> Result<Decision, Refused> {
    let (found, own) = facts.member(actor)?;
    if found.ranks.contains_key(user) {
        return role.map_or_else(|| Ok(Decision::default()), |role| assign(facts, actor, user, role));
    }
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Add, None)?;
    let role = role.unwrap_or(Role::Member);
    allowed(own, Action::Assign(role), None)?;
    if let Some(error) = hindrance(facts, found, actor, user) {
        return Err(if error.code == "unknown_user" { Refused::Unknown } else { Refused::Invalid(vec![error]) });
    }
    admit(&mut draft, facts, found, &[user], role)?;
    Ok(draft.finish())
}

/// Leaves.
pub(super) fn leave(facts: &Facts, actor: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, role) = facts.member(actor)?;
    if role == Role::Owner && found.owners < 2 {
        if found.members > 1 {
            return Err(LAST_OWNER);
        }
        if found.group.archived_at.is_none() {
            close(&mut draft, facts);
        }
    }
    expel(&mut draft, facts, found, actor);
    Ok(draft.finish())
}

/// Somebody goes out of the group and out of all its channels.
fn expel(draft: &mut Draft<'_>, facts: &Facts, found: &GroupFacts, user: &UserId) {
    draft.write(Change::Expel(found.group.id.clone(), user.clone()));
    for found in facts.rooms.values().filter(|found| found.seats.contains_key(user)) {
        draft.unseat(&found.room, user);
        draft.tell_members(&found.room, &[], &[user]);
    }
}

/// Gives a member another rank.
fn assign(facts: &Facts, actor: &UserId, user: &UserId, role: Role) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, own) = facts.member(actor)?;
    let target = *found.ranks.get(user).ok_or(Refused::Unknown)?;
    if actor != user {
        allowed(own, Action::Assign(role), Some(target))?;
    } else if role > own {
        return Err(Refused::Forbidden("your rank does not allow this"));
    }
    found.standing()?;
    if target == role {
        return Ok(draft.finish());
    }
    if target == Role::Owner && found.owners < 2 {
        return Err(LAST_OWNER);
    }
    promote(&mut draft, facts, found, user, role);
    Ok(draft.finish())
}

/// Somebody has another rank in the group, and so perhaps in its channels.
fn promote(draft: &mut Draft<'_>, facts: &Facts, found: &GroupFacts, user: &UserId, role: Role) {
    draft.rank(&found.group.id, user, role);
    for found in facts.rooms.values() {
        if let Some(seat) = found.seats.get(user) {
            draft.tell_in(&found.room, user, effective(*seat, Some(role)));
        }
    }
}

/// Removes a member.
pub(super) fn remove(facts: &Facts, actor: &UserId, user: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, _) = facts.member(actor)?;
    if !found.ranks.contains_key(user) {
        return Err(Refused::Unknown);
    }
    let found = facts.leader(actor, Action::Remove, Some(user))?;
    expel(&mut draft, facts, found, user);
    Ok(draft.finish())
}

/// Removes a person for good.
pub(super) fn ban(facts: &Facts, actor: &UserId, user: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Ban, Some(user))?;
    if !facts.people.contains_key(user) {
        return Err(Refused::Unknown);
    }
    if !found.banned.contains(user) {
        draft.write(Change::Ban(found.group.id.clone(), user.clone(), actor.clone()));
    }
    if found.ranks.contains_key(user) {
        expel(&mut draft, facts, found, user);
    }
    Ok(draft.finish())
}

/// Lets a person come back.
pub(super) fn pardon(facts: &Facts, actor: &UserId, user: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Pardon, None)?;
    if !found.banned.contains(user) {
        return Err(Refused::Unknown);
    }
    draft.write(Change::Pardon(found.group.id.clone(), user.clone()));
    Ok(draft.finish())
}

/// Takes out a person whose account goes.
pub(super) fn bequeath(facts: &Facts, user: &UserId) -> Result<Decision, Refused> {
    let found = facts.group.as_ref().ok_or(Refused::Unknown)?;
    let Some(role) = found.ranks.get(user) else { return Ok(Decision::default()) };
    let mut draft = Draft::of_gone(facts, user)?;
    if *role == Role::Owner && found.owners < 2 {
        match &facts.heir {
            Some(heir) => promote(&mut draft, facts, found, heir, Role::Owner),
            None if found.group.archived_at.is_none() => close(&mut draft, facts),
            None => {}
        }
    }
    expel(&mut draft, facts, found, user);
    Ok(draft.finish())
}
