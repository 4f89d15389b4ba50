//! A lost message that waits to be appended again.

use std::sync::Arc;

use hubbub_protocol::Seq;

use crate::{Submission, ring::Entry};

#[derive(Clone, Debug)]
pub(super) enum Offer {
    /// From the ring. Becomes a submission only when its turn comes: another instance appends most of them first.
    Entry(Arc<Entry>),
    /// Had not come through the channel when the log lost it. With the time when it was placed.
    Unconfirmed(Submission, u64),
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
            Self::Unconfirmed(submission, _) => submission.was,
        }
    }

    /// When it got its former `seq`, by the steady clock.
    pub(super) fn placed(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.stamp(),
            Self::Unconfirmed(_, placed) => *placed,
        }
    }

    /// About how many bytes its record has.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.frame.len(),
            Self::Unconfirmed(submission, _) => submission.record.len(),
        }
    }

    /// As the log takes it. Takes time: the record is parsed and hashed. None: its record comes from another release and cannot be read.
    pub(super) fn submission(&self) -> Option<Submission> {
        match self {
            Self::Entry(entry) => {
                let event = Submission::of_kind(entry.kind()?, entry.record()?, entry.former(), entry.at)?;
                Some(event.lost_at(entry.seq))
            }
            Self::Unconfirmed(submission, _) => Some(submission.clone()),
        }
    }
}
