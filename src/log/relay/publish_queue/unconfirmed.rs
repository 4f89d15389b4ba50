//! Messages that have a place in the log, but that the channel has not shown yet.

use std::collections::{BTreeMap, btree_map::Entry};

use hubbub_protocol::Seq;

use crate::backend::Submission;

/// In the order of their places. The place of each is in [`Submission::was`], as it is offered if the log loses it.
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

    /// Holds a message unless the ring has it. A repetition of one that is held already changes nothing: it may have
    /// another body.
    pub(super) fn hold(&mut self, seq: Seq, submission: Submission) {
        if seq > self.applied
            && let Entry::Vacant(free) = self.by_seq.entry(seq)
        {
            self.bytes += submission.record.len();
            free.insert(Submission { was: seq, ..submission });
        }
    }

    /// Drops the messages up to `seq`: the ring has them.
    pub(super) fn confirm(&mut self, seq: Seq) {
        self.applied = seq;
        while let Some(first) = self.by_seq.first_entry().filter(|first| *first.key() <= seq) {
            self.bytes -= first.remove().record.len();
        }
    }

    /// Empties it, and returns the messages above `cut` in order. The log has the others.
    pub(super) fn take_above(&mut self, cut: Seq) -> impl Iterator<Item = Submission> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.by_seq).split_off(&(cut + 1)).into_values()
    }
}
