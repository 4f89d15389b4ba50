//! What one person sees: its sidebar, rooms, groups, members, contacts, and other people.

use std::fmt;

use futures_util::future::BoxFuture;
use hubbub_protocol::{RoomId, UserId};
use serde::Serialize;

use crate::{
    StoreError,
    contact::Contact,
    group::{Ban, GroupView, Member},
    group_id::GroupId,
    invite::Invite,
    person::{Person, Reach},
    room::RoomView,
};

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Span {
    /// Only what comes after this key. Empty: from the start.
    pub after: String,
    /// The most items.
    pub limit: usize,
}

/// A part of a list, and the key of its last item if there are more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next part begins. None: there is none.
    pub next: Option<String>,
}

/// All rooms and groups of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sidebar {
    /// The rooms that it is in.
    pub rooms: Vec<RoomView>,
    /// The groups that it is in.
    pub groups: Vec<GroupView>,
}

/// What [`Sight`] answers.
pub type Seen<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The database as one person, the `viewer`, may see it. What it may not see is as if it were not there. Every call fails if
/// the database cannot be asked.
pub trait Sight: fmt::Debug + Send + Sync + 'static {
    /// All its rooms and groups.
    fn sidebar<'a>(&'a self, viewer: &'a UserId) -> Seen<'a, Sidebar>;

    /// A room that it is in, or an open channel of a group that it is in.
    fn room<'a>(&'a self, viewer: &'a UserId, room: &'a RoomId) -> Seen<'a, Option<RoomView>>;

    /// A group that it is in, with the channels that it sees, or an open group.
    fn group<'a>(&'a self, viewer: &'a UserId, group: &'a GroupId) -> Seen<'a, Option<GroupView>>;

    /// Open groups and those that it is in. Archived ones only if it is in them.
    fn groups<'a>(&'a self, viewer: &'a UserId, span: &'a Span) -> Seen<'a, Listing<GroupView>>;

    /// The members of a group that it is in.
    fn group_members<'a>(&'a self, viewer: &'a UserId, group: &'a GroupId, span: &'a Span)
    -> Seen<'a, Listing<Member>>;

    /// The members of a room that it is in, with the ranks that they have there by their group too.
    fn room_members<'a>(&'a self, viewer: &'a UserId, room: &'a RoomId, span: &'a Span) -> Seen<'a, Listing<Member>>;

    /// Who is banned from a group that it leads.
    fn bans<'a>(&'a self, viewer: &'a UserId, group: &'a GroupId, span: &'a Span) -> Seen<'a, Listing<Ban>>;

    /// The links into a group that it leads, also those that have ended.
    fn invites<'a>(&'a self, viewer: &'a UserId, group: &'a GroupId, span: &'a Span) -> Seen<'a, Listing<Invite>>;

    /// The group into which a link leads that is open now, by the hash of its token, as somebody sees it from outside.
    fn invited<'a>(&'a self, hash: &'a str) -> Seen<'a, Option<GroupView>>;

    /// Its contacts, whom it has asked or blocked, and who asks it.
    fn contacts<'a>(&'a self, viewer: &'a UserId, span: &'a Span) -> Seen<'a, Listing<Contact>>;

    /// What another person is to it.
    fn contact<'a>(&'a self, viewer: &'a UserId, other: &'a UserId) -> Seen<'a, Option<Contact>>;

    /// People whose name or username begins so.
    fn find<'a>(
        &'a self,
        viewer: &'a UserId,
        beginning: &'a str,
        reach: Reach,
        span: &'a Span,
    ) -> Seen<'a, Listing<Person>>;

    /// A person that it can find.
    fn person<'a>(&'a self, viewer: &'a UserId, user: &'a UserId, reach: Reach) -> Seen<'a, Option<Person>>;

    /// Public rooms that are listed, whose name begins so.
    fn public_rooms<'a>(&'a self, beginning: &'a str, span: &'a Span) -> Seen<'a, Listing<RoomView>>;
}
