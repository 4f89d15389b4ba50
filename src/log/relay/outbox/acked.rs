//! Messages that have their place, which the channel has not shown yet.

use std::collections::{BTreeMap, btree_map::Entry};

use hubbub_protocol::Seq;

use super::offer::Offer;

/// In the order of their places, with their size in sum.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    places: BTreeMap<Seq, Offer>,
    bytes: usize,
}

impl Acked {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of records.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Offer> {
        self.places.values()
    }

    /// Holds a message. A repetition of one that is held already changes nothing: it may have another body.
    pub(crate) fn hold(&mut self, offer: Offer) {
        if let Entry::Vacant(free) = self.places.entry(offer.place) {
            self.bytes += offer.size();
            free.insert(offer);
        }
    }

    /// Lets go of everything up to here.
    pub(crate) fn shown(&mut self, seq: Seq) {
        while let Some(first) = self.places.first_entry().filter(|first| *first.key() <= seq) {
            self.bytes -= first.remove().size();
        }
    }

    /// Gives out what lies above `cut`, in order. The rest the log has.
    pub(crate) fn take_above(&mut self, cut: Seq) -> impl Iterator<Item = Offer> + use<> {
        let Self { mut places, .. } = std::mem::take(self);
        places.split_off(&(cut + 1)).into_values()
    }
}
