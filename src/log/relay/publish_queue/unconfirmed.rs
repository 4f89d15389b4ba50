//! Messages that have a `seq`, but have not come through the channel yet.

use std::collections::{BTreeMap, btree_map::Entry};

use hubbub_protocol::Seq;

use super::offer::Offer;
use crate::backend::{Placement, Submission};

/// By `seq`, with the time when each was placed.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    by_seq: BTreeMap<Seq, (Submission, u64)>,
    bytes: usize,
    /// The last `seq` applied to the ring.
    applied: Seq,
}

impl Unconfirmed {
    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Bytes of all records.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Offer> {
        self.by_seq.clone().into_iter().map(lost)
    }

    /// Keeps a message that the log has since `placed`, unless the ring has it too. A duplicate of one that is kept already changes
    /// nothing.
    pub(super) fn insert(&mut self, placement: Placement, submission: Submission, placed: u64) {
        if let Placement::Appended(seq) | Placement::Duplicate(seq) = placement
            && seq > self.applied
            && let Entry::Vacant(free) = self.by_seq.entry(seq)
        {
            self.bytes += submission.record.len();
            free.insert((submission, placed));
        }
    }

    /// The ring has applied everything up to `seq`. Drops these messages.
    pub(super) fn confirm(&mut self, seq: Seq) {
        self.applied = seq;
        while let Some(first) = self.by_seq.first_entry().filter(|first| *first.key() <= seq) {
            self.bytes -= first.remove().0.record.len();
        }
    }

    /// Removes all messages. Returns those above `cut`, in order, to be appended again: the log has lost them. It still has
    /// the others.
    pub(super) fn take_above(&mut self, cut: Seq) -> impl Iterator<Item = Offer> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.by_seq).split_off(&(cut + 1)).into_iter().map(lost)
    }
}

/// A message that the log has lost.
fn lost((seq, (submission, placed)): (Seq, (Submission, u64))) -> Offer {
    Offer::Unconfirmed(submission.lost_at(seq), placed)
}
