//! Rows of people and rooms, as the domain has them.

use hubbub_messenger::{
    group::Group,
    group_id::GroupId,
    person::Person,
    rank::Role,
    room::{Posting, Room, RoomSort, Visibility},
};
use hubbub_protocol::{RoomId, UserId};

use crate::fault::Fault;

/// What the columns of [`room`] are.
macro_rules! room_columns {
    () => {
        "r.id, r.kind, r.name, r.topic, r.group_id, r.visibility, r.posting, r.archived_at, r.rev, r.blocked, r.listed"
    };
}

/// What the columns of [`group`] are.
macro_rules! group_columns {
    () => {
        "g.id, g.name, g.about, g.visibility, g.archived_at, g.general, g.rev"
    };
}

pub(crate) use {group_columns, room_columns};

/// A room: its id, kind, name, topic, group, visibility, posting, time of archiving, `rev`, blocked, listed.
pub(crate) type RoomRow = (String, String, String, String, Option<String>, String, String, Option<i64>, i64, i64, i64);

/// A group: its id, name, text, visibility, time of archiving, default channel, `rev`.
pub(crate) type GroupRow = (String, String, String, String, Option<i64>, String, i64);

/// A person: its id, name, username, text.
pub(crate) type PersonRow = (String, String, String, String);

/// What a word of the database means.
pub(crate) fn word<T>(named: fn(&str) -> Option<T>, text: &str) -> Result<T, Fault> {
    named(text).ok_or_else(|| unreadable(text))
}

pub(crate) fn unreadable(text: &str) -> Fault {
    Fault::Content(format!("the database has something that this release cannot read: {text}"))
}

pub(crate) fn user(text: &str) -> Result<UserId, Fault> {
    word(UserId::stored, text)
}

pub(crate) fn role(text: &str) -> Result<Role, Fault> {
    word(Role::stored, text)
}

pub(crate) fn group_id(text: &str) -> Result<GroupId, Fault> {
    text.parse().map_err(|_| unreadable(text))
}

pub(crate) fn person((id, name, username, about): PersonRow) -> Result<Person, Fault> {
    Ok(Person { id: user(&id)?, name: name.parse().map_err(|_| unreadable(&name))?, username, about })
}

pub(crate) fn room(row: RoomRow) -> Result<Room, Fault> {
    let (id, kind, name, topic, group, visibility, posting, archived_at, rev, blocked, listed) = row;
    let id = word(RoomId::stored, &id)?;
    let kind = word(RoomSort::stored, &kind)?;
    Ok(Room {
        // a public room is called as its id
        name: if kind == RoomSort::Public { id.as_str().to_owned() } else { name },
        id,
        kind,
        topic,
        group: group.as_deref().map(group_id).transpose()?,
        visibility: word(Visibility::stored, &visibility)?,
        posting: word(Posting::stored, &posting)?,
        archived_at: archived_at.map(i64::unsigned_abs),
        room_rev: rev.unsigned_abs(),
        is_blocked: blocked != 0,
        is_listed: listed != 0,
    })
}

pub(crate) fn group((id, name, about, visibility, archived_at, general, rev): GroupRow) -> Result<Group, Fault> {
    Ok(Group {
        id: group_id(&id)?,
        name,
        about,
        visibility: word(Visibility::stored, &visibility)?,
        archived_at: archived_at.map(i64::unsigned_abs),
        general: word(RoomId::stored, &general)?,
        rev: rev.unsigned_abs(),
    })
}

/// Ids as a list in JSON, each in a list of its own.
pub(crate) fn list<'a>(ids: impl IntoIterator<Item = &'a UserId>) -> String {
    ids.into_iter().map(|id| serde_json::json!([id.as_str()])).collect::<serde_json::Value>().to_string()
}
