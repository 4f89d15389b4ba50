//! Messages that have a `seq`, but have not come through the channel yet.

use std::collections::{BTreeMap, btree_map::Entry};

use hubbub_protocol::Seq;

use crate::backend::{Placement, Submission};

/// Ordered by `seq`. Each has its `seq` in [`Submission::was`] already, as it is needed if the log loses it.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    by_seq: BTreeMap<Seq, Submission>,
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
    pub(super) fn iter(&self) -> impl Iterator<Item = &Submission> {
        self.by_seq.values()
    }

    /// Keeps a message that the log has, unless the ring has it too. A duplicate of one that is kept already changes
    /// nothing.
    pub(super) fn insert(&mut self, placement: Placement, submission: Submission) {
        if let Placement::Appended(seq) | Placement::Duplicate(seq) = placement
            && seq > self.applied
            && let Entry::Vacant(free) = self.by_seq.entry(seq)
        {
            self.bytes += submission.record.len();
            free.insert(Submission { was: seq, ..submission });
        }
    }

    /// The ring has applied everything up to `seq`. Drops these messages.
    pub(super) fn confirm(&mut self, seq: Seq) {
        self.applied = seq;
        while let Some(first) = self.by_seq.first_entry().filter(|first| *first.key() <= seq) {
            self.bytes -= first.remove().record.len();
        }
    }

    /// Removes all messages. Returns those above `cut`, in order: the log has lost them. It still has the others.
    pub(super) fn take_above(&mut self, cut: Seq) -> impl Iterator<Item = Submission> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.by_seq).split_off(&(cut + 1)).into_values()
    }
}
