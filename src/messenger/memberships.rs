//! In which rooms people sit, as the core asks it.

use std::{collections::HashSet, fmt};

use futures_util::future::BoxFuture;
use hubbub_protocol::{RoomId, SessionId, UserId};

use crate::{StoreError, rank::Role};

/// A person's place in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The room.
    pub room: RoomId,
    /// Whether the person may post there now.
    pub may_post: bool,
    /// The rank there. Where only admins post, it decides.
    pub role: Role,
}

/// All seats of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    /// The changes of its seats up to this number are in the list. 0: no such account.
    pub rev: u64,
    /// In no order.
    pub rooms: Vec<Seat>,
}

/// Who sits where.
pub trait Memberships: fmt::Debug + Send + Sync + 'static {
    /// The seats of these people, in their order, as one snapshot has them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn of<'a>(&'a self, people: &'a [UserId]) -> BoxFuture<'a, Result<Vec<Seats>, StoreError>>;

    /// Those of these sessions that have not ended. A personal access token is a session too.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn standing<'a>(&'a self, sessions: &'a [SessionId]) -> BoxFuture<'a, Result<HashSet<SessionId>, StoreError>>;
}
