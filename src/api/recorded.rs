//! The history of an instance with a database.
//!
//! The newest part of the log may not be recorded yet, so a page is folded from the database and from the ring: first
//! rows and cursor in one snapshot of the database, then what the ring has above that cursor. So nothing is missing, and
//! nothing stands twice.

use std::{
    cmp,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt};
use hubbub_edge::node::Node;
use hubbub_http::{
    history::{History, HistoryHealth, Past, Range, unavailable},
    problem::Problem,
};
use hubbub_log::ring::Recent;
use hubbub_messenger::{
    StoreError,
    message::{Archive, Page, PageRange},
    recording::RecordingState,
};
use hubbub_protocol::{Frame, RoomId, Seq};
use tokio::sync::watch;
use tracing::debug;

use crate::said::{Said, fold};

/// The pause before a client should ask again for what cannot be read now, in milliseconds.
const RETRY_MS: u64 = 2000;

/// History from the ring and the database.
#[derive(Debug)]
pub struct RecordedPast {
    node: Node,
    archive: Arc<dyn Archive>,
    /// None: this instance does not record.
    recording: Option<watch::Receiver<RecordingState>>,
    /// Whether the last page could be read.
    answers: AtomicBool,
}

impl RecordedPast {
    /// The history of this node in this database. `recording` is what the recorder of this instance does, if it has one.
    pub fn new(node: Node, archive: Arc<dyn Archive>, recording: Option<watch::Receiver<RecordingState>>) -> Self {
        Self { node, archive, recording, answers: AtomicBool::new(true) }
    }

    async fn read(&self, room: &RoomId, range: Range) -> Result<History, Problem> {
        let rows = PageRange { before: range.before, after: range.after, limit: range.limit };
        let page = self.archive.page(room, rows).await;
        self.answers.store(page.is_ok(), Ordering::Relaxed);
        match page {
            Ok(page) => combine(&self.node.recent(room, page.recorded), page, range),
            Err(error) => {
                debug!(%error, "a page of history is answered without the database");
                without_database(&self.node.recent(room, 0), range, &error)
            }
        }
    }
}

impl Past for RecordedPast {
    fn page<'a>(&'a self, room: &'a RoomId, range: Range) -> BoxFuture<'a, Result<History, Problem>> {
        self.read(room, range).boxed()
    }

    fn health(&self) -> Option<HistoryHealth> {
        let state = self.recording.as_ref().map(|recording| *recording.borrow());
        let is_away = state == Some(RecordingState::DatabaseAway) || !self.answers.load(Ordering::Relaxed);
        let database = if is_away { "away" } else { "ready" };
        Some(HistoryHealth { database, recording: state.map_or("elsewhere", RecordingState::name) })
    }
}

fn combine(recent: &Recent, page: Page, range: Range) -> Result<History, Problem> {
    if page.recorded < recent.complete_above
        && !lies_below(range, page.recorded.min(recent.lowest_cut.unwrap_or(Seq::MAX)))
    {
        let detail = "recording_behind: what was said lately is not in the database yet, and no longer in memory";
        return Err(unavailable(detail, RETRY_MS));
    }
    let unrecorded = recent.entries.iter().filter_map(Said::of_entry);
    // what lies below the oldest row comes with the next page, also if the ring has some of it
    let oldest_row = page.messages.first().filter(|_| page.has_more).map(|message| message.place);
    let range = Range { after: range.after.max(oldest_row.map(|place| place.saturating_sub(1))), ..range };
    let (said, is_cut) = fold(unrecorded.chain(page.messages.into_iter().map(Said::of_row)), range);
    let next = if is_cut { said.first().map(|oldest| oldest.place) } else { oldest_row };
    Ok(History { messages: frames(said), next, seq: cmp::max(recent.seq, page.recorded), gaps: page.gaps })
}

/// Whether every place of the range is at most this one.
fn lies_below(range: Range, place: Seq) -> bool {
    range.before.is_some_and(|before| before <= place.saturating_add(1))
}

/// While the database is away, those who are connected still get what the ring has. It cannot know what is older.
fn without_database(recent: &Recent, range: Range, error: &StoreError) -> Result<History, Problem> {
    let range = Range { after: range.after.max(Some(recent.complete_above)), ..range };
    let (said, _) = fold(recent.entries.iter().filter_map(Said::of_entry), range);
    let Some(next) = said.first().map(|oldest| oldest.place) else {
        return Err(unavailable(format!("older messages cannot be read now: {error}"), RETRY_MS));
    };
    Ok(History { messages: frames(said), next: Some(next), seq: recent.seq, gaps: Vec::new() })
}

fn frames(said: Vec<Said>) -> Vec<(Seq, Frame)> {
    said.into_iter().map(|said| (said.place, said.frame)).collect()
}
