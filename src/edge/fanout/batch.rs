//! Whole frames in one buffer, written with one call.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hubbub_lifecycle::metric;
use hubbub_log::ring::Entry;
use hubbub_protocol::Seq;
use metrics::Counter;

use crate::socket::{Link, Sent, Transport};

/// What was written, over all connections.
struct Written {
    frames: Counter,
    bytes: Counter,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| Written {
    frames: metrics::counter!(metric::FRAMES_OUT),
    bytes: metrics::counter!(metric::BYTES_OUT),
});

/// Frames for one audience, in `seq` order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Bytes,
    ends: Vec<usize>,
    seqs: Vec<Seq>,
}

/// How far a batch got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// All of it.
    Done,
    /// The cursor up to which everything is sent, or will be before anything else.
    Cut(Seq),
    /// The connection is closed or closing.
    Closed,
}

impl Batch {
    /// The frames of these entries. One entry shares its frame, several are copied into one buffer.
    pub(super) fn of<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Self {
        let mut entries = entries.into_iter();
        let Some(first) = entries.next() else { return Self::default() };
        let mut batch =
            Self { bytes: first.frame.bytes().clone(), ends: vec![first.frame.len()], seqs: vec![first.seq] };
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

    /// Writes the batch to a connection whose cursor is `before`. Never blocks.
    pub(super) fn write(&self, link: &Link<impl Transport>, before: Seq) -> Delivery {
        if self.ends.is_empty() {
            return Delivery::Done;
        }
        match link.write(&self.bytes, &self.ends) {
            Sent::All => {
                WRITTEN.frames.increment(metric::count(self.ends.len()));
                WRITTEN.bytes.increment(metric::count(self.bytes.len()));
                Delivery::Done
            }
            Sent::Cut(frames) => {
                WRITTEN.frames.increment(metric::count(frames));
                let sent = frames.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
                WRITTEN.bytes.increment(metric::count(sent));
                let last = frames.checked_sub(1).and_then(|last| self.seqs.get(last));
                Delivery::Cut(last.copied().unwrap_or(before))
            }
            Sent::Closed => Delivery::Closed,
        }
    }
}
