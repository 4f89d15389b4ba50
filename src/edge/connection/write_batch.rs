//! Whole frames in one buffer, written with one call.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hubbub_lifecycle::metric;
use hubbub_log::ring::Entry;
use hubbub_protocol::Seq;
use metrics::Counter;

use crate::socket::{Link, Sent, Transport};

/// Frames and bytes written, over all connections.
struct Totals {
    frames: Counter,
    bytes: Counter,
}

static TOTALS: LazyLock<Totals> = LazyLock::new(|| Totals {
    frames: metrics::counter!(metric::FRAMES_OUT),
    bytes: metrics::counter!(metric::BYTES_OUT),
});

/// Frames of the log for one audience, in `seq` order.
#[derive(Debug, Default)]
pub(crate) struct WriteBatch {
    bytes: Bytes,
    ends: Vec<usize>,
    seqs: Vec<Seq>,
    /// The former seq of a single re-appended message. Otherwise 0.
    was: Seq,
}

/// How far a batch was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Completely.
    All,
    /// Everything up to this cursor is sent, or waits first in the write buffer.
    UpTo(Seq),
    /// The connection is closed or closing.
    Closed,
}

impl WriteBatch {
    /// The frames of these entries. One entry shares its frame, several are copied into one buffer.
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Self {
        let mut entries = entries.into_iter();
        let Some(first) = entries.next() else { return Self::default() };
        let mut batch =
            Self { bytes: first.frame.bytes().clone(), ends: vec![first.frame.len()], seqs: vec![first.seq], was: 0 };
        let Some(second) = entries.next() else { return batch };
        let mut buffer = batch.bytes.to_vec();
        for entry in std::iter::once(second).chain(entries) {
            buffer.extend_from_slice(entry.frame.bytes());
            batch.ends.push(buffer.len());
            batch.seqs.push(entry.seq);
        }
        batch.bytes = buffer.into();
        batch
    }

    /// One entry, which may be a re-appended message.
    pub(crate) fn single(entry: &Arc<Entry>) -> Self {
        Self { was: entry.was, ..Self::of([entry]) }
    }

    /// Whether it is a re-appended message that was sent before. `crossed_at` is the connection's cursor when it
    /// crossed the last marker.
    pub(super) const fn was_delivered_before(&self, crossed_at: Seq) -> bool {
        self.was != 0 && self.was <= crossed_at
    }

    /// Writes the batch to a connection whose cursor is `before`. Never blocks.
    pub(super) fn write(&self, link: &Link<impl Transport>, before: Seq) -> Written {
        if self.ends.is_empty() {
            return Written::All;
        }
        match link.write(&self.bytes, &self.ends) {
            Sent::All => {
                self.count(self.ends.len());
                Written::All
            }
            Sent::Cut(frames) => {
                self.count(frames);
                Written::UpTo(frames.checked_sub(1).and_then(|last| self.seqs.get(last)).copied().unwrap_or(before))
            }
            Sent::Closed => Written::Closed,
        }
    }

    fn count(&self, frames: usize) {
        let bytes = frames.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        TOTALS.frames.increment(metric::count(frames));
        TOTALS.bytes.increment(metric::count(bytes));
    }
}
