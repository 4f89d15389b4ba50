//! Rooms, as their members see them.

use hubbub_protocol::{RoomId, UnixMillis};
use serde::Serialize;

use crate::{group_id::GroupId, person::Person, rank::Role};

words! {
    /// What a room is.
    RoomSort {
        /// Everybody may join it by its name.
        Public = "public",
        /// Its two members.
        Direct = "direct",
        /// A part of a group.
        Channel = "channel",
    }
}

words! {
    /// Who may see it and come in.
    Visibility {
        /// A group: everybody with an account. A channel: every member of its group.
        Open = "open",
        /// Who is invited or added.
        Private = "private",
    }
}

words! {
    /// Who may post.
    Posting {
        /// Every member.
        Members = "members",
        /// Who leads: a channel for announcements.
        Admins = "admins",
    }
}

words! {
    /// Of what a person wants to be told.
    Notify {
        /// Of every message.
        All = "all",
        /// Of messages that mention it.
        Mentions = "mentions",
        /// Of nothing.
        None = "none",
    }
}

/// A room, without its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// What it is.
    pub kind: RoomSort,
    /// How it is called. A direct room is called as the other person.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// The group of a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// Who may come in.
    pub visibility: Visibility,
    /// Who may post.
    pub posting: Posting,
    /// Since when nobody posts any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<UnixMillis>,
    /// The `rev` that `room` and `members` carry.
    pub room_rev: u64,
    /// A direct room: one has blocked the other. Nobody is told which.
    #[serde(skip)]
    pub is_blocked: bool,
    /// A public room: it is shown to those who look for one.
    #[serde(skip)]
    pub is_listed: bool,
}

impl Room {
    /// A public room as it is before anybody has said anything of it.
    pub fn public(id: RoomId) -> Self {
        Self {
            kind: RoomSort::Public,
            name: id.as_str().to_owned(),
            visibility: Visibility::Open,
            ..Self::private(id, RoomSort::Direct)
        }
    }

    /// A room with members, without a name.
    pub(crate) fn private(id: RoomId, kind: RoomSort) -> Self {
        Self {
            id,
            kind,
            name: String::new(),
            topic: String::new(),
            group: None,
            visibility: Visibility::Private,
            posting: Posting::Members,
            archived_at: None,
            room_rev: 0,
            is_blocked: false,
            is_listed: false,
        }
    }

    /// Whether a member of this rank may post.
    pub fn may_post(&self, role: Role) -> bool {
        let is_let = self.posting == Posting::Members || role >= Role::Admin;
        is_let && self.archived_at.is_none() && !self.is_blocked
    }
}

/// What a room is to one of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mine {
    /// The rank in the room. Who leads the group leads each channel that it is in.
    pub role: Role,
    /// Whether it may post now.
    pub may_post: bool,
    /// Of what it wants to be told.
    pub notify: Notify,
    /// Until when it does not want to be told of anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<UnixMillis>,
    /// Whether it stands above others.
    pub pinned: bool,
    /// The `rev` of the person: `membership` and `settings` with a lower one are older than this.
    pub rev: u64,
}

/// A room as one person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomView {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// The other one in a direct room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Person>,
    /// None: an open room that the person is not in.
    #[serde(flatten)]
    pub mine: Option<Mine>,
}
