//! Which places of the log the file has. Pure: no file, no clock.

use std::collections::VecDeque;

use hubbub_protocol::Seq;

use crate::marker::Marker;

/// The places that the log has, as runs without a gap: one for each epoch.
#[derive(Debug, Default)]
pub(super) struct Extent {
    runs: VecDeque<Run>,
    entries: u64,
    trimmed: Seq,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    first: Seq,
    last: Seq,
    /// The marker at `first`; None if it has been trimmed.
    marker: Option<Marker>,
}

impl Run {
    const fn length(self) -> u64 {
        self.last + 1 - self.first
    }
}

impl Extent {
    /// An epoch has begun.
    pub(super) fn begin(&mut self, marker: Marker) {
        self.runs.push_back(Run { first: marker.base, last: marker.base, marker: Some(marker) });
        self.entries += 1;
    }

    /// The open epoch has entries up to here.
    pub(super) fn grow_to(&mut self, seq: Seq) {
        if let Some(run) = self.runs.back_mut().filter(|run| run.last < seq) {
            self.entries += seq - run.last;
            run.last = seq;
        }
    }

    /// The highest place that has been trimmed; 0 for none.
    pub(super) const fn trimmed(&self) -> Seq {
        self.trimmed
    }

    /// Below which place there are no more than `count` of the newest entries, and at least one.
    pub(super) fn bound_of(&self, count: usize) -> Seq {
        let mut rest = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        if self.entries <= rest {
            return self.trimmed;
        }
        for run in self.runs.iter().rev() {
            if run.length() >= rest {
                return run.last - rest;
            }
            rest -= run.length();
        }
        self.trimmed
    }

    /// How many entries are above this place.
    pub(super) fn count_above(&self, seq: Seq) -> u64 {
        let above = self.runs.iter().rev().take_while(|run| run.last > seq);
        above.map(|run| run.last - seq.max(run.first - 1)).sum()
    }

    /// Trims everything up to this place. Returns how many entries that were.
    pub(super) fn trim(&mut self, bound: Seq) -> u64 {
        let before = self.entries;
        self.trimmed = self.trimmed.max(bound);
        while let Some(run) = self.runs.pop_front_if(|run| run.last <= bound) {
            self.entries -= run.length();
        }
        if let Some(run) = self.runs.front_mut().filter(|run| run.first <= bound) {
            self.entries -= bound + 1 - run.first;
            (run.first, run.marker) = (bound + 1, None);
        }
        before - self.entries
    }

    /// The markers above `after`, up to `last`, ascending.
    pub(super) fn markers(&self, after: Seq, last: Seq) -> impl Iterator<Item = Marker> {
        let start = self.runs.partition_point(|run| run.first <= after);
        let within = self.runs.range(start..).take_while(move |run| run.first <= last);
        within.filter_map(|run| run.marker)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Epochs 100 to 103, 200 and 300 to 310.
    fn extent() -> Extent {
        let mut extent = Extent::default();
        for (base, cut, last) in [(100, 0, 103), (200, 103, 200), (300, 200, 310)] {
            extent.begin(Marker { base, cut, low: base });
            extent.grow_to(last);
        }
        extent
    }

    #[test]
    fn entries_are_counted_over_epochs() {
        let extent = extent();
        for (seq, above) in
            [(0, 16), (99, 16), (100, 15), (103, 12), (150, 12), (200, 11), (309, 1), (310, 0), (400, 0)]
        {
            assert_eq!(extent.count_above(seq), above, "{seq}");
        }
        for (count, bound) in [(0, 309), (1, 309), (11, 299), (12, 199), (13, 102), (16, 0), (99, 0)] {
            assert_eq!(extent.bound_of(count), bound, "{count}");
        }
    }

    #[test]
    fn what_is_trimmed_is_not_counted_and_its_markers_are_gone() {
        let mut extent = extent();
        assert_eq!(extent.trim(101), 2);
        assert_eq!((extent.trimmed(), extent.count_above(0), extent.bound_of(99)), (101, 14, 101));
        let bases =
            |extent: &Extent, after, last| extent.markers(after, last).map(|marker| marker.base).collect::<Vec<_>>();
        assert_eq!(bases(&extent, 0, 310), [200, 300]);
        assert_eq!(bases(&extent, 200, 310), [300]);
        assert_eq!(bases(&extent, 0, 299), [200]);
        assert_eq!(extent.trim(50), 0);
        assert_eq!(extent.trim(310), 14);
        assert_eq!((extent.trimmed(), extent.count_above(0)), (310, 0));
    }

    proptest! {
        #[test]
        fn a_bound_leaves_as_many_entries_as_asked_for(epochs in prop::collection::vec((1..9_u64, 0..9_u64), 1..6), keep in 1..40_usize) {
            let (mut extent, mut last) = (Extent::default(), 0);
            for (leap, messages) in epochs {
                extent.begin(Marker { base: last + leap, cut: last, low: last + leap });
                last += leap + messages;
                extent.grow_to(last);
            }
            let all = extent.count_above(0);
            let trimmed = extent.trim(extent.bound_of(keep));
            prop_assert_eq!(extent.count_above(0), all.min(keep.try_into().unwrap()));
            prop_assert_eq!(trimmed, all - extent.count_above(0));
        }
    }
}
