//! A message that has to be offered to the log again.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_protocol::{Seq, UnixMillis};

use crate::{Submission, ring::Entry, wire};

/// A message that the log lost, or may lose before the channel has shown it.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Where the log had it last, which readers are told. Names it: no place is ever given out twice.
    pub(crate) place: Seq,
    /// When it was accepted.
    pub(crate) at: UnixMillis,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Entry(Arc<Entry>),
    Submission { key: Arc<str>, record: Bytes },
}

impl Offer {
    /// What a marker took out of the ring. None: it is no message.
    pub(crate) fn lost(entry: Arc<Entry>) -> Option<Self> {
        entry.room()?;
        Some(Self { place: entry.seq, at: entry.stamp(), held: Held::Entry(entry) })
    }

    /// What has its place, and no entry in the ring yet.
    pub(crate) fn acked(place: Seq, at: UnixMillis, submission: Submission) -> Self {
        let Submission { key, record, was: _ } = submission;
        Self { place, at, held: Held::Submission { key, record } }
    }

    /// Bytes that it keeps.
    pub(crate) fn size(&self) -> usize {
        match &self.held {
            Held::Entry(entry) => entry.frame.len(),
            Held::Submission { record, .. } => record.len(),
        }
    }

    /// As the log takes it. None: its record is none of this release.
    pub(crate) fn submission(&self) -> Option<Submission> {
        let (key, record) = match &self.held {
            Held::Entry(entry) => {
                let record = entry.record()?;
                (wire::key_of(&record)?, record.into())
            }
            Held::Submission { key, record } => (Arc::clone(key), record.clone()),
        };
        Some(Submission { key, record, was: self.place })
    }
}
