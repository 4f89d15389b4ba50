//! The rules of groups as such: what they are called, and the links into them.

use hubbub_protocol::UserId;
use serde_json::{Map, Value, json};

use crate::{
    change::{Change, Decision, Facts, Refused, Subject},
    draft::Draft,
    fresh::new_bits,
    group::Group,
    group_id::GroupId,
    groups::{GroupEdit, InviteTerms},
    invite::Invite,
    outbox::EventKind,
    rank::{Action, Role},
    room::{Room, RoomSort, Visibility},
};

/// How the channel is called that takes in every member.
const GENERAL: &str = "general";

/// More open links than this a group has not.
const MAX_INVITES: usize = 100;

/// A new group, its default channel, and its owner in both.
pub(super) fn make(facts: &Facts, actor: &UserId, mut group: Group) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    group.rev = draft.rev();
    let general = Room {
        name: GENERAL.to_owned(),
        group: Some(group.id.clone()),
        visibility: Visibility::Open,
        room_rev: group.rev,
        ..Room::private(group.general.clone(), RoomSort::Channel)
    };
    draft.write(Change::AddGroup(group.clone()));
    draft.write(Change::AddRoom(general.clone(), None));
    draft.rank(&group.id, actor, Role::Owner);
    draft.seat(&general, actor, Role::Member, Some(Role::Owner))?;
    Ok(draft.finish())
}

/// Another name, text or visibility.
pub(super) fn edit(facts: &Facts, actor: &UserId, edit: GroupEdit) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Edit, None)?;
    let (mut group, mut fields) = (found.group.clone(), Map::new());
    if let Some(name) = edit.name.filter(|name| *name != group.name) {
        let _new = fields.insert("name".to_owned(), json!(name));
        group.name = name;
    }
    if let Some(about) = edit.about.filter(|about| *about != group.about) {
        let _new = fields.insert("about".to_owned(), json!(about));
        group.about = about;
    }
    if let Some(visibility) = edit.visibility.filter(|visibility| *visibility != group.visibility) {
        let _new = fields.insert("visibility".to_owned(), json!(visibility));
        group.visibility = visibility;
    }
    if !fields.is_empty() {
        tell_group(&mut draft, facts, &group, fields);
        draft.write(Change::EditGroup(group));
    }
    Ok(draft.finish())
}

/// The group and all its channels are archived.
pub(super) fn archive(facts: &Facts, actor: &UserId) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let _found = facts.leader(actor, Action::Archive, None)?;
    close(&mut draft, facts);
    Ok(draft.finish())
}

/// Archives the group and all its channels.
pub(super) fn close(draft: &mut Draft<'_>, facts: &Facts) {
    let Some(found) = &facts.group else { return };
    let group = Group { archived_at: Some(facts.now), ..found.group.clone() };
    for found in facts.rooms.values().filter(|found| found.room.archived_at.is_none()) {
        let room = Room { archived_at: Some(facts.now), room_rev: draft.rev(), ..found.room.clone() };
        let fields = json!({
            "rev": draft.rev(), "posting": room.posting, "archived": true, "archived_at": facts.now,
        });
        draft.tell_room(EventKind::Room, &room, fields);
        draft.write(Change::EditRoom(room));
    }
    let mut fields = Map::new();
    let _new = fields.insert("archived".to_owned(), json!(true));
    let _new = fields.insert("archived_at".to_owned(), json!(facts.now));
    tell_group(draft, facts, &group, fields);
    draft.write(Change::EditGroup(group));
}

fn tell_group(draft: &mut Draft<'_>, facts: &Facts, group: &Group, mut fields: Map<String, Value>) {
    let Some(general) = facts.rooms.get(&group.general) else { return };
    let _new = fields.insert("rev".to_owned(), json!(draft.rev()));
    let _new = fields.insert("group".to_owned(), json!(group.id));
    draft.tell_room(EventKind::Group, &general.room, Value::Object(fields));
}

/// A new link.
pub(super) fn invite(facts: &Facts, actor: &UserId, terms: InviteTerms, hash: String) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Invite, None)?;
    if found.invites >= MAX_INVITES {
        return Err(Refused::Conflict { code: "too_many_invites", detail: "revoke some links of this group first" });
    }
    let invite = Invite {
        id: GroupId::of(new_bits()).as_str().to_owned(),
        group: found.group.id.clone(),
        expires_at: facts.now.saturating_add(terms.seconds.saturating_mul(1000)),
        uses_left: terms.uses,
        created_by: actor.clone(),
    };
    draft.write(Change::AddInvite(invite.clone(), hash));
    Ok(draft.about(Subject::Invite(invite)))
}

/// A link less.
pub(super) fn revoke(facts: &Facts, actor: &UserId, invite: String) -> Result<Decision, Refused> {
    let mut draft = Draft::of(facts, actor)?;
    let found = facts.leader(actor, Action::Invite, None)?;
    draft.write(Change::DropInvite(found.group.id.clone(), invite));
    Ok(draft.finish())
}
