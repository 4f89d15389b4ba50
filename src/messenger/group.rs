//! Groups: who is in them, and which channels they have.

use hubbub_protocol::{RoomId, UnixMillis};
use serde::Serialize;

use crate::{
    group_id::GroupId,
    person::Person,
    rank::Role,
    room::{RoomView, Visibility},
};

/// A group, without its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// How it is called.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Who may come in.
    pub visibility: Visibility,
    /// Since when nothing changes any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<UnixMillis>,
    /// The channel that takes in every member.
    #[serde(skip)]
    pub general: RoomId,
    /// Grows with each change of the group.
    pub rev: u64,
}

/// A group as one person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// The group.
    #[serde(flatten)]
    pub group: Group,
    /// None: an open group that the person is not in.
    #[serde(flatten)]
    pub inside: Option<Inside>,
}

/// What only members see of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inside {
    /// The rank of the person.
    pub role: Role,
    /// How many members there are.
    pub members: u64,
    /// The channels that the person is in or could join, in the order of their names. In lists it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<RoomView>,
}

/// A member of a group or a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Who.
    pub person: Person,
    /// Its rank there.
    pub role: Role,
    /// Since when.
    pub joined_at: UnixMillis,
}

/// Somebody who may not come back into a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// Who.
    pub person: Person,
    /// Since when.
    pub created_at: UnixMillis,
}
