//! What a reader does with the next entry of the log, and where a new epoch opens. Pure: no clock, no I/O.

use hubbub_protocol::Seq;

use crate::marker::Marker;

/// Highest base of an epoch. Leaves room for 2^32 messages below 2^53, the largest integer that JavaScript counts
/// exactly.
const MAX_BASE: Seq = (1 << 53) - (1 << 32);

/// How far above everything known an epoch opens when the clock is behind.
///
/// Other instances may have read more of a lost tail than the one that opens the epoch, and no `seq` may be given out
/// twice.
const MARGIN: Seq = 1 << 20;

/// The base of the next epoch. `known` is the highest `seq` that the log or the caller knows, `now_us` the clock of the
/// store in microseconds since 1970.
///
/// A clock above everything known is used as it is, so that bases follow the clock, whichever instance opens an epoch.
/// None: the clock or `known` is beyond the highest base.
pub(crate) fn open_at(known: Seq, now_us: u64) -> Option<Seq> {
    let base = if now_us > known { now_us } else { known.saturating_add(MARGIN) };
    (base <= MAX_BASE).then_some(base)
}

/// The `seq` of an entry, with what a reader must know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A message.
    Message(Seq),
    /// A marker.
    Marker(Marker),
}

impl Place {
    pub(crate) const fn seq(self) -> Seq {
        match self {
            Self::Message(seq) | Self::Marker(Marker { base: seq, .. }) => seq,
        }
    }
}

/// How the next entry relates to the ones that a reader has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the next one.
    Next,
    /// It was applied before.
    Repeat,
    /// Entries are missing in front of it, up to and including `hole`.
    Gap {
        /// The `seq` of the last missing entry.
        hole: Seq,
    },
}

/// One step of a reader whose last entry was `last`. A reader without one (0) accepts any entry.
pub(crate) fn step(last: Seq, next: Place) -> Step {
    match next {
        _ if next.seq() <= last => Step::Repeat,
        _ if last == 0 => Step::Next,
        Place::Message(seq) if seq > last + 1 => Step::Gap { hole: seq - 1 },
        Place::Marker(marker) if marker.cut > last => Step::Gap { hole: marker.cut },
        Place::Message(_) | Place::Marker(_) => Step::Next,
    }
}

/// Whether the log still has this `seq`: none of these markers has cut it off.
pub(crate) fn survives<'a>(seq: Seq, markers: impl IntoIterator<Item = &'a Marker>) -> bool {
    !markers.into_iter().any(|marker| marker.cut < seq && seq < marker.base)
}

/// Base of the epoch of this `seq`; 0 if it is older than these markers.
pub(crate) fn epoch_of<'a>(seq: Seq, markers: impl IntoIterator<Item = &'a Marker>) -> Seq {
    let bases = markers.into_iter().map(|marker| marker.base).filter(|base| *base <= seq);
    bases.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn marker(base: Seq, cut: Seq) -> Marker {
        Marker { base, cut, low: base }
    }

    #[test]
    fn an_epoch_opens_at_the_clock_or_well_above_everything_known() {
        assert_eq!(open_at(0, 1_790_000_000_000_000), Some(1_790_000_000_000_000));
        assert_eq!(open_at(1_790_000_000_000_005, 1_780_000_000_000_000), Some(1_790_000_000_000_005 + MARGIN));
        assert_eq!(open_at(900, 0), Some(900 + MARGIN));
        assert_eq!(open_at(1 << 53, 0), None);
        assert_eq!(open_at(0, u64::MAX), None);
    }

    #[test]
    fn messages_follow_each_other_without_a_gap() {
        assert_eq!(step(0, Place::Message(7)), Step::Next);
        assert_eq!(step(6, Place::Message(7)), Step::Next);
        assert_eq!(step(7, Place::Message(7)), Step::Repeat);
        assert_eq!(step(4, Place::Message(7)), Step::Gap { hole: 6 });
    }

    #[test]
    fn a_marker_follows_a_surviving_entry_and_a_lost_one() {
        assert_eq!(step(12, Place::Marker(marker(100, 12))), Step::Next);
        assert_eq!(step(15, Place::Marker(marker(100, 12))), Step::Next);
        assert_eq!(step(9, Place::Marker(marker(100, 12))), Step::Gap { hole: 12 });
        assert_eq!(step(100, Place::Marker(marker(100, 12))), Step::Repeat);
    }

    #[test]
    fn a_seq_between_cut_and_base_does_not_survive() {
        let markers = [marker(100, 12), marker(200, 150)];
        for (seq, survived) in [(12, true), (13, false), (99, false), (100, true), (150, true), (151, false)] {
            assert_eq!(survives(seq, &markers), survived, "{seq}");
        }
    }

    #[test]
    fn a_seq_is_of_the_last_epoch_that_opened_at_or_below_it() {
        let markers = [marker(100, 0), marker(200, 120)];
        let epochs = [7, 100, 150, 199, 200, 250].map(|seq| epoch_of(seq, &markers));
        assert_eq!(epochs, [0, 100, 100, 100, 200, 200]);
    }

    /// A log with several epochs. Of each: its messages, how many entries were lost before it opened, and how far above
    /// the last `seq` it opened.
    fn log(epochs: &[(u64, usize, u64)]) -> Vec<Place> {
        let (mut log, mut last) = (Vec::<Place>::new(), 0);
        for (messages, lost, leap) in epochs {
            log.truncate(log.len().saturating_sub(*lost));
            let base = last + leap;
            log.push(Place::Marker(marker(base, log.last().map_or(0, |place| place.seq()))));
            last = base + messages;
            log.extend((base + 1..=last).map(Place::Message));
        }
        log
    }

    proptest! {
        #[test]
        fn a_reader_distinguishes_next_repeat_and_gap(
            epochs in prop::collection::vec((0..6_u64, 0..8_usize, 1..5_u64), 1..6),
        ) {
            let log = log(&epochs);
            for (n, entry) in log.iter().enumerate() {
                let before = n.checked_sub(1).map_or(0, |n| log[n].seq());
                for last in 1..log.last().unwrap().seq() + 2 {
                    let expected = match entry {
                        _ if last >= entry.seq() => Step::Repeat,
                        // a reader at a lost place misses nothing in front of the marker
                        Place::Marker(_) if last >= before => Step::Next,
                        Place::Message(_) if last == before => Step::Next,
                        _ => Step::Gap { hole: before },
                    };
                    prop_assert_eq!(step(last, *entry), expected, "{} before {:?} in {:?}", last, entry, log);
                }
            }
        }

        #[test]
        fn an_epoch_opens_above_every_seq_that_an_instance_can_have_read(known in 0..1_u64 << 52, unseen in 0..1_u64 << 20, now in 0..1_u64 << 53) {
            if let Some(base) = open_at(known, now) {
                prop_assert!(base > known && base <= MAX_BASE);
                prop_assert!(base > known + unseen || (now > known && base == now), "{} reaches into {}", base, known);
            }
        }
    }
}
