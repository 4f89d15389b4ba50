//! Interfaces that check permissions and read people's seats.
//!
//! By default every person may join public rooms, and publish and type in them; nobody is in a private room; and no room is
//! joined without a request.

use std::{fmt, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_log::ring::Rights;
use hubbub_protocol::{AccessToken, Refusal, RoomId, RoomKind, SessionId, UserId, no_such_room};

use crate::person::Person;

/// Decides what a person may do on a connection. Called at hello, join, publish and typing, on the conversation task:
/// it must not block.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Whether the person may join this room.
    ///
    /// # Errors
    ///
    /// The refusal that is sent to the client as `error`.
    fn may_enter(&self, person: &Person, room: &RoomId) -> Result<(), Refusal>;

    /// Whether the person may publish in this room. Called only with a seat there.
    ///
    /// # Errors
    ///
    /// The refusal that is sent to the client as `error`.
    fn may_publish(&self, person: &Person, room: &RoomId) -> Result<(), Refusal>;

    /// Whether the person may send typing to this room. Called only with a seat there.
    ///
    /// # Errors
    ///
    /// The refusal that is sent to the client as `error`.
    fn may_type(&self, person: &Person, room: &RoomId) -> Result<(), Refusal>;
}

/// Reads the seats of people with accounts, who are in their private rooms without joining them. Called at hello and after
/// every doubt about them, such as a new epoch of the log, for many connections at a time.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The seats of each, in the same order, read after the call began. None: the session has ended. Cancel safe.
    ///
    /// # Errors
    ///
    /// The seats cannot be read now. A client that says hello is closed with 1013 and comes back. Others are not served
    /// until a later call succeeds.
    fn seats<'a>(&'a self, sitters: &'a [Sitter]) -> BoxFuture<'a, Result<Vec<Option<Seats>>, Unavailable>>;
}

/// Somebody with an account, on a connection of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sitter {
    /// The account.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}

/// The private rooms in which somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    /// The count of the changes of this person's seats, of the same moment as `rooms`.
    pub rev: u64,
    /// Each room, and what the person may do in it.
    pub rooms: Vec<(RoomId, Rights)>,
}

/// Finds out who sent a token. Called at hello, with a deadline of 5 s.
pub trait Identity: fmt::Debug + Send + Sync + 'static {
    /// The person whose token it is, as the account is now. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why the token does not count.
    fn authenticate<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, Result<Person, Denial>>;

    /// Whether a session is known to have ended. Asked once the socket is known to belong to it.
    fn has_ended(&self, session: &SessionId) -> bool;
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It is no token of this server. The client may send another `hello`.
    Invalid,
    /// Its time is over: the connection is closed with 4504.
    Expired,
    /// Its session has ended: the connection is closed with 4503.
    SessionEnded,
    /// It cannot be found out now: the connection is closed with 1013.
    Unavailable,
}

/// The directory cannot be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory of rooms cannot be read now")]
pub struct Unavailable;

/// The ports of one instance. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Checks permissions.
    pub gate: Arc<dyn Gate>,
    /// Reads people's seats.
    pub directory: Arc<dyn Directory>,
    /// Finds out who sent a token.
    pub identity: Arc<dyn Identity>,
}

impl Default for Ports {
    /// Only public rooms can be joined.
    fn default() -> Self {
        Self { gate: Arc::new(PublicRooms), directory: Arc::new(PublicRooms), identity: Arc::new(NoAccounts) }
    }
}

/// Nobody has an account.
#[derive(Clone, Copy, Debug)]
struct NoAccounts;

impl Identity for NoAccounts {
    fn authenticate<'a>(&'a self, _: &'a AccessToken) -> BoxFuture<'a, Result<Person, Denial>> {
        async { Err(Denial::Invalid) }.boxed()
    }

    fn has_ended(&self, _: &SessionId) -> bool {
        false
    }
}

/// Everyone may do everything in public rooms. In a private room the seat decides, which only an account can have.
#[derive(Clone, Copy, Debug)]
struct PublicRooms;

impl Gate for PublicRooms {
    fn may_enter(&self, _: &Person, room: &RoomId) -> Result<(), Refusal> {
        if room.kind() == RoomKind::Public { Ok(()) } else { Err(no_such_room()) }
    }

    fn may_publish(&self, person: &Person, room: &RoomId) -> Result<(), Refusal> {
        if person.has_account() { Ok(()) } else { self.may_enter(person, room) }
    }

    fn may_type(&self, person: &Person, room: &RoomId) -> Result<(), Refusal> {
        self.may_publish(person, room)
    }
}

impl Directory for PublicRooms {
    /// Without a database there are no sessions.
    fn seats<'a>(&'a self, sitters: &'a [Sitter]) -> BoxFuture<'a, Result<Vec<Option<Seats>>, Unavailable>> {
        async { Ok(vec![None; sitters.len()]) }.boxed()
    }
}
