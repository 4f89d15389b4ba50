//! What an epoch marker says about cursors. Pure: no clock, no lock.

use hubbub_protocol::Seq;

/// An epoch opened at `base` because the log may have lost its tail.
///
/// A `seq` strictly between `cut` and `base` is a place that the log does not have (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Where the marker stands; messages of the epoch stand above it.
    pub base: Seq,
    /// The last entry that survived; 0 when the log was empty.
    pub cut: Seq,
    /// The lowest cursor that can be completed by what is offered again; `base` when the opener held nothing.
    pub low: Seq,
}

impl Marker {
    /// Whether messages between `cut` and `low` are known to be gone for good.
    pub const fn has_hole(&self) -> bool {
        self.cut < self.low && self.low < self.base
    }

    /// Whether a reader that has everything up to `cursor`, somewhere before this marker, may read on behind it.
    pub const fn admits(&self, cursor: Seq) -> bool {
        if cursor > self.cut { cursor >= self.low } else { !self.has_hole() }
    }

    /// Whether an instance that has walked up to here, and no further, lacks what this marker knows to be gone for good.
    pub(crate) const fn outruns(&self, walked: Seq) -> bool {
        walked != 0 && walked < self.low && self.low < self.base
    }

    /// The lowest cursor that this marker lets through, as the next one to open an epoch may promise it.
    pub(crate) fn floor(&self) -> Seq {
        self.cut.max(self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_passes_and_a_lost_cursor_passes_from_low_on() {
        let marker = Marker { base: 100, cut: 12, low: 5 };
        for cursor in [10, 12, 13, 99] {
            assert!(marker.admits(cursor), "{cursor}");
        }
        let flushed = Marker { base: 100, cut: 0, low: 40 };
        assert!(flushed.admits(40) && flushed.admits(60));
        assert!(!flushed.admits(39) && !flushed.admits(0));
    }

    #[test]
    fn an_opener_that_held_nothing_admits_survivors_only() {
        let marker = Marker { base: 100, cut: 12, low: 100 };
        assert!(!marker.has_hole());
        assert!(marker.admits(12));
        assert!(!marker.admits(13));
    }
}
