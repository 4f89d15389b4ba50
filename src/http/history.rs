//! Where the pages of a room's history come from.

use std::fmt;

use axum::http::StatusCode;
use futures_util::future::{BoxFuture, FutureExt, ready};
use hubbub_edge::node::Node;
use hubbub_protocol::{Frame, RoomId, Seq};
use serde::Serialize;

use super::problem::Problem;

/// Which messages of a room a page has: the newest ones in a range of places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Only those below this place.
    pub before: Option<Seq>,
    /// Only those above this place.
    pub after: Option<Seq>,
    /// The most messages.
    pub limit: usize,
}

/// A page of history: messages in the order of their places.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Each with its place, as the frame that clients get.
    pub messages: Vec<(Seq, Frame)>,
    /// `before` of the next older page, if there is one.
    pub next: Option<Seq>,
    /// How far the answering instance knows the log.
    pub seq: Seq,
    /// Parts of the log, first to last `seq`, that are lost and that the page touches.
    pub gaps: Vec<(Seq, Seq)>,
}

/// What `/health/ready` says of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryHealth {
    /// Whether the database answers: `ready` or `away`.
    pub database: &'static str,
    /// What the recorder of this instance is doing.
    pub recording: &'static str,
}

/// Reads the history of rooms.
pub trait Past: fmt::Debug + Send + Sync + 'static {
    /// Reads one page. Cancel safe.
    ///
    /// # Errors
    ///
    /// The answer for the client: what lies in the range cannot be read now.
    fn page<'a>(&'a self, room: &'a RoomId, range: Range) -> BoxFuture<'a, Result<History, Problem>>;

    /// How the history is. None: none is kept.
    fn health(&self) -> Option<HistoryHealth> {
        None
    }
}

/// 503: a part of the history cannot be read now. `retry_after_ms` is the pause before the client should ask again.
pub fn unavailable(detail: impl Into<String>, retry_after_ms: u64) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_ms(retry_after_ms)
}

/// The history of an instance without a database: what its ring has.
#[derive(Clone, Debug)]
pub struct RingPast(pub Node);

impl Past for RingPast {
    fn page<'a>(&'a self, room: &'a RoomId, range: Range) -> BoxFuture<'a, Result<History, Problem>> {
        let found = self.0.history(room, range.before, range.after, range.limit);
        let messages = found.entries.iter().map(|entry| (entry.seq, entry.frame.clone())).collect();
        ready(Ok(History { messages, next: found.next, seq: found.seq, gaps: Vec::new() })).boxed()
    }
}
