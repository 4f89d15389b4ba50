//! A message that the log has lost, to be offered to it again.

use std::sync::Arc;

use hubbub_protocol::{Seq, UnixMillis};

use crate::{Submission, ring::Entry, wire};

#[derive(Debug)]
pub(super) enum Offer {
    /// Taken out of the ring. Becomes a submission when its turn comes, since most are offered by another instance.
    Entry(Arc<Entry>),
    /// The channel had not shown it yet.
    Unconfirmed(Submission),
}

impl Offer {
    /// An entry that a marker took out of the ring. None: it is no message.
    pub(super) fn from_ring(entry: Arc<Entry>) -> Option<Self> {
        entry.room()?;
        Some(Self::Entry(entry))
    }

    /// The `seq` that it had. Identifies it: no `seq` is given out twice.
    pub(super) fn seq(&self) -> Seq {
        match self {
            Self::Entry(entry) => entry.seq,
            Self::Unconfirmed(submission) => submission.was,
        }
    }

    /// When it was accepted.
    pub(super) fn at(&self) -> UnixMillis {
        match self {
            Self::Entry(entry) => entry.stamp(),
            Self::Unconfirmed(submission) => submission.at,
        }
    }

    /// As the log takes it. None: its record comes from another release and cannot be read.
    pub(super) fn submission(&self) -> Option<Submission> {
        match self {
            Self::Entry(entry) => {
                let record = entry.record()?;
                let key = wire::key_of(&record)?;
                Some(Submission { key, record: record.into(), was: entry.seq, at: entry.stamp() })
            }
            Self::Unconfirmed(submission) => Some(submission.clone()),
        }
    }
}
