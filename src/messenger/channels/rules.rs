//! The rules of channels.

use std::collections::BTreeSet;

use hubbub_protocol::{RoomId, UserId};
use serde_json::{Map, Value, json};

use super::{ChannelEdit, NewChannel};
use crate::{
    change::{Change, Decision, Facts, FieldError, Refused, RoomFacts, Settings},
    draft::{Draft, allowed, not_archived},
    outbox::EventKind,
    rank::{Action, Role, effective},
    room::{Room, RoomSort, Visibility},
};

/// More channels than this a group has not.
const MAX_CHANNELS: usize = 500;

const TAKEN: Refused =
    Refused::Conflict { code: "name_taken", detail: "another open channel of the group is called so" };
const DEFAULT_CHANNEL: Refused =
    Refused::Conflict { code: "default_channel", detail: "every member of the group is in its default channel" };

/// A new channel, led by whoever makes it.
pub(super) fn make(facts: &Facts, actor: &UserId, new: NewChannel, id: RoomId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::MakeChannel, None)?;
    if facts.rooms.len() >= MAX_CHANNELS {
        return Err(Refused::Conflict { code: "too_many_channels", detail: "the group has too many channels" });
    }
    let NewChannel { name, topic, visibility, posting } = new;
    let (group, room_rev) = (Some(found.group.id.clone()), draft.rev());
    let room = Room { name, topic, group, visibility, posting, room_rev, ..Room::private(id, RoomSort::Channel) };
    is_free(facts, &room)?;
    draft.write(Change::AddRoom(room.clone(), None));
    draft.seat(&room, actor, Role::Admin, found.ranks.get(actor).copied())?;
    Ok(draft.finish())
}

/// Whether no other open channel is called so. Private ones do not count: a name that is taken would tell of them.
fn is_free(facts: &Facts, room: &Room) -> Result<(), Refused> {
    let is_open = |room: &Room| room.visibility == Visibility::Open;
    let mut others =
        facts.rooms.values().map(|found| &found.room).filter(|other| other.id != room.id && is_open(other));
    let is_taken = is_open(room) && others.any(|other| other.name == room.name);
    if is_taken { Err(TAKEN) } else { Ok(()) }
}

/// Whether this channel takes in every member of the group.
fn is_default(facts: &Facts, room: &RoomId) -> bool {
    facts.group.as_ref().is_some_and(|found| found.group.general == *room)
}

/// Another name, topic, visibility or posting.
pub(super) fn edit(facts: &Facts, actor: &UserId, id: &RoomId, edit: ChannelEdit) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.channel_leader(actor, id, Action::Edit, None)?;
    let (mut room, mut fields) = (found.room.clone(), Map::new());
    if let Some(name) = edit.name.filter(|name| *name != room.name) {
        let _new = fields.insert("name".to_owned(), json!(name));
        room.name = name;
    }
    if let Some(topic) = edit.topic.filter(|topic| *topic != room.topic) {
        let _new = fields.insert("topic".to_owned(), json!(topic));
        room.topic = topic;
    }
    if let Some(visibility) = edit.visibility.filter(|visibility| *visibility != room.visibility) {
        if is_default(facts, id) {
            return Err(DEFAULT_CHANNEL);
        }
        let _new = fields.insert("visibility".to_owned(), json!(visibility));
        room.visibility = visibility;
    }
    if let Some(posting) = edit.posting.filter(|posting| *posting != room.posting) {
        let _new = fields.insert("posting".to_owned(), json!(posting));
        let _new = fields.insert("archived".to_owned(), json!(false));
        room.posting = posting;
    }
    if !fields.is_empty() {
        is_free(facts, &room)?;
        room.room_rev = draft.rev();
        let _new = fields.insert("rev".to_owned(), json!(draft.rev()));
        draft.tell_room(EventKind::Room, &room, Value::Object(fields));
        draft.write(Change::EditRoom(room));
    }
    Ok(draft.finish())
}

/// Nobody posts any more.
pub(super) fn archive(facts: &Facts, actor: &UserId, id: &RoomId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.channel_leader(actor, id, Action::Edit, None)?;
    if is_default(facts, id) {
        return Err(DEFAULT_CHANNEL);
    }
    let room = Room { archived_at: Some(facts.now), room_rev: draft.rev(), ..found.room.clone() };
    let fields = json!({
        "rev": draft.rev(), "posting": room.posting, "archived": true, "archived_at": facts.now,
    });
    draft.tell_room(EventKind::Room, &room, fields);
    draft.write(Change::EditRoom(room));
    Ok(draft.finish())
}

/// Comes into an open channel.
pub(super) fn join(facts: &Facts, actor: &UserId, id: &RoomId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, role) = facts.channel(actor, id)?;
    if role.is_some() {
        return Ok(draft.finish());
    }
    not_archived(&found.room)?;
    admit(&mut draft, facts, found, &[actor], Role::Member)?;
    Ok(draft.finish())
}

/// Leaves a channel.
pub(super) fn leave(facts: &Facts, actor: &UserId, id: &RoomId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, role) = facts.channel(actor, id)?;
    if role.is_none() {
        return Ok(draft.finish());
    }
    go(&mut draft, facts, found, actor)?;
    Ok(draft.finish())
}

fn go(draft: &mut Draft<'_>, facts: &Facts, found: &RoomFacts, user: &UserId) -> Result<(), Refused> {
    if is_default(facts, &found.room.id) {
        return Err(DEFAULT_CHANNEL);
    }
    draft.unseat(&found.room, user);
    draft.tell_members(&found.room, &[], &[user]);
    Ok(())
}

/// Adds members of the group.
pub(super) fn add(facts: &Facts, actor: &UserId, id: &RoomId, users: &[UserId]) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.channel_leader(actor, id, Action::Add, None)?;
    let new: BTreeSet<&UserId> = users.iter().filter(|user| !found.seats.contains_key(*user)).collect();
    let errors: Vec<_> = new.iter().filter_map(|user| hindrance(facts, user)).collect();
    if !errors.is_empty() {
        return Err(Refused::Invalid(errors));
    }
    let new: Vec<_> = new.into_iter().collect();
    admit(&mut draft, facts, found, &new, Role::Member)?;
    Ok(draft.finish())
}

fn hindrance(facts: &Facts, user: &UserId) -> Option<FieldError> {
    let detail = format!("{} is no member of the group", user.as_str());
    rank_in_group(facts, user).is_none().then_some(FieldError { field: "users", code: "not_in_group", detail })
}

fn rank_in_group(facts: &Facts, user: &UserId) -> Option<Role> {
    facts.group.as_ref().and_then(|group| group.ranks.get(user)).copied()
}

fn admit(
    draft: &mut Draft<'_>,
    facts: &Facts,
    found: &RoomFacts,
    users: &[&UserId],
    role: Role,
) -> Result<(), Refused> {
    for user in users {
        draft.seat(&found.room, user, role, rank_in_group(facts, user))?;
    }
    if !users.is_empty() {
        draft.tell_members(&found.room, users, &[]);
    }
    Ok(())
}

/// Adds a member of the group, or gives a member of the channel another rank.
pub(super) fn put(
    facts: &Facts,
    actor: &UserId,
    id: &RoomId,
    user: &UserId,
    role: Option<Role>,
) -> Result<Decision, Refused> {
    let (found, _) = facts.channel(actor, id)?;
    if found.seats.contains_key(user) {
        return role.map_or_else(|| Ok(Decision::default()), |role| assign(facts, actor, id, user, role));
    }
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.channel_leader(actor, id, Action::Add, None)?;
    if let Some(error) = hindrance(facts, user) {
        return Err(Refused::Invalid(vec![error]));
    }
    admit(&mut draft, facts, found, &[user], role.unwrap_or(Role::Member))?;
    Ok(draft.finish())
}

/// Gives a member another rank in the channel.
fn assign(facts: &Facts, actor: &UserId, id: &RoomId, user: &UserId, role: Role) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, own) = facts.channel(actor, id)?;
    let own = own.ok_or(Refused::Forbidden("you are not in this channel"))?;
    let seat = *found.seats.get(user).ok_or(Refused::Unknown)?;
    let in_group = rank_in_group(facts, user);
    if actor != user {
        allowed(own, Action::Assign(role), Some(effective(seat, in_group)))?;
    } else if role > own {
        return Err(Refused::Forbidden("your rank does not allow this"));
    }
    not_archived(&found.room)?;
    if seat != role {
        draft.seat(&found.room, user, role, in_group)?;
    }
    Ok(draft.finish())
}

/// Removes a member from the channel.
pub(super) fn remove(facts: &Facts, actor: &UserId, id: &RoomId, user: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let (found, _) = facts.channel(actor, id)?;
    if !found.seats.contains_key(user) {
        return Err(Refused::Unknown);
    }
    let found = facts.channel_leader(actor, id, Action::Remove, Some(user))?;
    go(&mut draft, facts, found, user)?;
    Ok(draft.finish())
}

/// How a person wants to be told of a room.
pub(super) fn set(facts: &Facts, actor: &UserId, id: &RoomId, settings: Settings) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.rooms.get(id).filter(|found| found.seats.contains_key(actor)).ok_or(Refused::Unknown)?;
    if settings == Settings::default() {
        return Ok(draft.finish());
    }
    let mut fields = Map::new();
    let rev = facts.active(actor)?.rev;
    for (name, value) in [
        ("about", Some(json!(found.room.id))),
        ("rev", Some(json!(rev))),
        ("notify", settings.notify.map(|notify| json!(notify))),
        ("muted_until", settings.muted_until.map(|until| json!(until))),
        ("pinned", settings.pinned.map(|pinned| json!(pinned))),
    ] {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    draft.write(Change::Settings(found.room.id.clone(), actor.clone(), settings));
    draft.tell_inbox(EventKind::Settings, actor, Value::Object(fields));
    Ok(draft.finish())
}

/// Shows or hides a public room.
pub(super) fn list(
    facts: &Facts,
    actor: &UserId,
    id: &RoomId,
    listed: Option<bool>,
    topic: Option<String>,
) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    if !facts.active(actor)?.is_administrator {
        return Err(Refused::Forbidden("administrators list public rooms"));
    }
    let known = facts.rooms.get(id).map(|found| found.room.clone());
    let mut room = known.clone().unwrap_or_else(|| Room::public(id.clone()));
    if room.kind != RoomSort::Public {
        return Err(Refused::Unknown);
    }
    room.is_listed = listed.unwrap_or(room.is_listed);
    room.topic = topic.unwrap_or(room.topic);
    if known.is_none() {
        draft.write(Change::AddRoom(room.clone(), None));
    }
    draft.write(Change::EditRoom(room));
    Ok(draft.finish())
}
