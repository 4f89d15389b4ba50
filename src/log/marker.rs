//! The marker of an epoch, and which cursors may cross it. Pure: no clock, no lock.

use hubbub_protocol::Seq;

/// The beginning of an epoch, which opens when the log may have lost its tail.
///
/// The log has nothing with a `seq` strictly between `cut` and `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its own `seq`; the messages of the epoch have higher ones.
    pub base: Seq,
    /// The `seq` of the last entry that survived; 0 when the log was empty.
    pub cut: Seq,
    /// The lowest lost cursor for which the re-appended messages make a complete replay; `base` if the instance that
    /// opened the epoch had no messages.
    pub low: Seq,
}

impl Marker {
    /// Whether messages between `cut` and `low` are known to be gone for good.
    pub const fn has_hole(&self) -> bool {
        self.cut < self.low && self.low < self.base
    }

    /// Whether a reader that has everything up to `cursor`, which is below this marker, may go on after it.
    pub const fn admits(&self, cursor: Seq) -> bool {
        if cursor > self.cut { cursor >= self.low } else { !self.has_hole() }
    }

    /// Whether an instance that has applied the log up to here lacks messages that are gone for good.
    pub(crate) const fn leaves_hole_after(&self, applied: Seq) -> bool {
        applied != 0 && applied < self.low && self.low < self.base
    }

    /// The lowest cursor that may cross this marker, and so the lowest that the `low` of the next marker can be.
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
    fn a_marker_of_an_instance_without_messages_admits_survivors_only() {
        let marker = Marker { base: 100, cut: 12, low: 100 };
        assert!(!marker.has_hole());
        assert!(marker.admits(12));
        assert!(!marker.admits(13));
    }
}
