//! A lost message that waits to be appended again.

use std::sync::Arc;

use hubbub_protocol::{Seq, UnixMillis};

use crate::{Submission, ring::Entry};

#[derive(Debug)]
pub(super) enum Offer {
    /// From the ring. Becomes a submission only when its turn comes: another instance appends most of them first.
    Entry(Arc<Entry>),
    /// Had not come through the channel when the log lost it.
    Unconfirmed(Submission),
}

impl Offer {
    /// A lost entry of the ring. None: it is no event.
    pub(super) fn from_ring(entry: Arc<Entry>) -> Option<Self> {
        entry.kind()?;
        Some(Self::Entry(entry))
    }

    /// Its former `seq`. Identifies it: no `seq` is given out twice.
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
            Self::Entry(entry) => Submission::of_kind(entry.kind()?, entry.record()?, entry.seq, entry.stamp()),
            Self::Unconfirmed(submission) => Some(submission.clone()),
        }
    }
}
