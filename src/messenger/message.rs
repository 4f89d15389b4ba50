//! What was said, as the database keeps it.

use std::fmt;

use futures_util::future::BoxFuture;
use hubbub_protocol::{MessageId, RoomId, Seq, UnixMillis, User};
use serde_json::{Map, Value};

use crate::StoreError;

/// One message of the history. Within its room it is named by its sender and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place: the first `seq` at which anybody may have seen it. History is ordered by it, and it never rises.
    pub place: Seq,
    /// The room.
    pub room: RoomId,
    /// The id that the sender chose.
    pub id: MessageId,
    /// The sender, with the name of that time.
    pub from: User,
    /// When an instance accepted it.
    pub at: UnixMillis,
    /// The text. Empty if the service wrote it.
    pub body: String,
    /// What the service wrote. None: somebody has said it.
    pub told: Option<Told>,
}

/// What the service writes into a room: what has changed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The kind of its event.
    pub kind: String,
    /// What its event says, beside room, id, sender and time.
    pub fields: Map<String, Value>,
}

/// Which messages of a room a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// Only those at places below this one.
    pub before: Option<Seq>,
    /// Only those at places above this one.
    pub after: Option<Seq>,
    /// The most messages.
    pub limit: usize,
}

/// The newest messages in a range, as one snapshot of the database has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In ascending order of their places.
    pub messages: Vec<Message>,
    /// Whether the range has more than these.
    pub has_more: bool,
    /// How far the log is recorded in this snapshot.
    pub recorded: Seq,
    /// Parts of the log, first to last `seq`, that were lost before they were recorded, as far as they touch the page.
    pub gaps: Vec<(Seq, Seq)>,
}

/// The messages that are recorded.
pub trait Archive: fmt::Debug + Send + Sync + 'static {
    /// Reads one page of a room, by an index. Messages that share a place are not parted, so there may be some more than
    /// the limit.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the database cannot be asked.
    fn page<'a>(&'a self, room: &'a RoomId, range: PageRange) -> BoxFuture<'a, Result<Page, StoreError>>;
}
