//! How what is changes: in one transaction, by a pure rule.
//!
//! A service names what a change is about ([`Scope`]). The database locks that, reads it ([`Facts`]) and asks the rule,
//! which answers with what is to be written and what tells of it ([`Decision`]), or with a refusal. So each rule is tested
//! without a database, and each transaction is the same text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use futures_util::future::BoxFuture;
use hubbub_protocol::{RoomId, UnixMillis, UserId};
use serde::Serialize;

use crate::{
    StoreError,
    contact::Stance,
    group::Group,
    group_id::GroupId,
    invite::Invite,
    outbox::Event,
    person::Person,
    rank::Role,
    room::{Notify, Room},
};

/// The most people of one call.
pub const MAX_PEOPLE: usize = 500;

/// What a change is about: it is locked before the rule is asked.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Where.
    pub place: Place,
    /// Everybody whom the change concerns, the one who makes it too. Each of their `rev`s is raised if something is
    /// written.
    pub people: Vec<UserId>,
}

/// Where a change happens.
#[derive(Clone, Debug)]
pub enum Place {
    /// Between the people: what they are to each other, and their direct room.
    Between,
    /// In a group with all its channels.
    Group(GroupId),
    /// In the group, with the one who comes after this person as its owner.
    Estate(GroupId, UserId),
    /// In the group of this channel, or in this direct or public room.
    Room(RoomId),
    /// In the group of the link whose token has this hash.
    Invite(String),
}

/// What the database knows of a scope.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The clock of the database.
    pub now: UnixMillis,
    /// The people, with raised `rev`s.
    pub people: BTreeMap<UserId, Known>,
    /// The group, with a raised `rev`.
    pub group: Option<GroupFacts>,
    /// All channels of the group; or the direct room of the people; or the room that the scope names.
    pub rooms: BTreeMap<RoomId, RoomFacts>,
    /// What the people say of each other: by who says it, and of whom.
    pub stances: BTreeMap<(UserId, UserId), Stance>,
    /// The link.
    pub invite: Option<Invite>,
    /// Who becomes owner after the person of an estate.
    pub heir: Option<UserId>,
}

/// A person of a scope.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who.
    pub person: Person,
    /// Neither disabled nor deleted.
    pub is_active: bool,
    /// The account is deleted.
    pub is_gone: bool,
    /// Administers the server.
    pub is_administrator: bool,
    /// The number of this change of its seats.
    pub rev: u64,
    /// In how many rooms it is.
    pub rooms: usize,
}

/// A group, and what the people of the scope are in it.
#[derive(Clone, Debug)]
pub struct GroupFacts {
    /// The group.
    pub group: Group,
    /// How many owners it has.
    pub owners: usize,
    /// How many members it has, the owners among them.
    pub members: usize,
    /// How many links into it there are.
    pub invites: usize,
    /// The ranks of those people who are members.
    pub ranks: BTreeMap<UserId, Role>,
    /// Those people who are banned.
    pub banned: BTreeSet<UserId>,
}

/// A room, and those people of the scope who are in it.
#[derive(Clone, Debug)]
pub struct RoomFacts {
    /// The room.
    pub room: Room,
    /// Their ranks in the room alone.
    pub seats: BTreeMap<UserId, Role>,
}

/// What a rule decides.
#[derive(Debug, Default)]
pub struct Decision {
    /// What is written, in this order. Nothing: nothing is told either.
    pub changes: Vec<Change>,
    /// What tells of it, in this order.
    pub events: Vec<Event>,
    /// The room or the group that it is about, if the caller cannot know it.
    pub subject: Subject,
}

/// What a decision has made or found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// What the caller named.
    #[default]
    Named,
    /// A group that it did not name.
    Group(GroupId),
    /// A room that was there.
    Found(RoomId),
    /// A new room.
    Made(RoomId),
    /// A new link.
    Invite(Invite),
}

/// One thing that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new group.
    AddGroup(Group),
    /// Name, text, visibility and archiving of a group.
    EditGroup(Group),
    /// A member of a group, new or of another rank.
    Rank(GroupId, UserId, Role),
    /// A member less.
    Expel(GroupId, UserId),
    /// A ban, and by whom.
    Ban(GroupId, UserId, UserId),
    /// A ban less.
    Pardon(GroupId, UserId),
    /// A new link, and the hash of its token.
    AddInvite(Invite, String),
    /// Somebody has come by the link with this id.
    UseInvite(String),
    /// A link of this group less.
    DropInvite(GroupId, String),
    /// A new room, if there is none with its id, with the key of a direct one.
    AddRoom(Room, Option<String>),
    /// Everything that may change of a room.
    EditRoom(Room),
    /// A member of a room, new or of another rank.
    Seat(RoomId, UserId, Role),
    /// A member less.
    Unseat(RoomId, UserId),
    /// What a person says of another one. None: nothing.
    Stance(UserId, UserId, Option<Stance>),
    /// How a person wants to be told of a room.
    Settings(RoomId, UserId, Settings),
}

/// How a person wants to be told of a room. None: as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of what.
    pub notify: Option<Notify>,
    /// Not before this time. 0: now.
    pub muted_until: Option<UnixMillis>,
    /// Whether it stands above others.
    pub pinned: Option<bool>,
}

/// What is wrong with a field of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field.
    pub field: &'static str,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such thing, or this person may not see it: nobody is told which.
    #[error("there is no such thing here")]
    Unknown,
    /// The person sees it and may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It does not fit to what is.
    #[error("{detail}")]
    Conflict {
        /// For programs.
        code: &'static str,
        /// For people.
        detail: &'static str,
    },
    /// The call says something that cannot be.
    #[error("the call has fields that are not valid")]
    Invalid(Vec<FieldError>),
}

impl Refused {
    /// One field is wrong.
    pub(crate) fn field(field: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field, code, detail: detail.into() }])
    }
}

/// Why a call has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// By a rule.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// By the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The rule of one change.
pub type Rule = Box<dyn FnOnce(&Facts) -> Result<Decision, Refused> + Send>;

/// The database as services change it.
pub trait Changes: fmt::Debug + Send + Sync + 'static {
    /// Locks and reads the scope, asks the rule, and writes what it decides with its events, in one transaction. A group
    /// is locked first, then people in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`CallError`]: nothing was written, or the answer to the commit was lost.
    fn change(&self, scope: Scope, rule: Rule) -> BoxFuture<'_, Result<Decision, CallError>>;
}
