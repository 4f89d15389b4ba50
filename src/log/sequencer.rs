//! What a walk over the log means, and where a new epoch opens. Pure: no clock, no I/O.

use hubbub_protocol::Seq;

use crate::ring::Marker;

/// No epoch opens above this: room for 2^32 more messages below 2^53, which a JavaScript number still counts.
const MAX_BASE: Seq = (1 << 53) - (1 << 32);

/// How far above everything known an epoch opens when the clock is behind.
///
/// The opener may have seen less of a lost tail than others have; their places must not be given out again.
const MARGIN: Seq = 1 << 20;

/// Where the next epoch opens, when `known` is the highest place that the log or the caller knows.
///
/// A clock ahead of everything known is taken as it is, so that bases grow with the clock alone, whoever opens them.
/// None: the clock or the caller is absurd.
pub(crate) fn open_at(known: Seq, now_us: u64) -> Option<Seq> {
    let base = if now_us > known { now_us } else { known.saturating_add(MARGIN) };
    (base <= MAX_BASE).then_some(base)
}

/// What stands at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A message.
    Message(Seq),
    /// A marker.
    Marker(Marker),
}

/// What a reader makes of the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It follows.
    Next,
    /// It was walked before.
    Known,
    /// Something is missing in front of it, up to and including `hole`.
    Gap {
        /// The last missing place.
        hole: Seq,
    },
}

/// One step of a reader whose last entry was `last`; 0 for a reader without one, which takes what comes.
pub(crate) fn step(last: Seq, next: Place) -> Step {
    match next {
        Place::Message(seq) | Place::Marker(Marker { base: seq, .. }) if seq <= last => Step::Known,
        _ if last == 0 => Step::Next,
        Place::Message(seq) if seq > last + 1 => Step::Gap { hole: seq - 1 },
        Place::Marker(marker) if marker.cut > last => Step::Gap { hole: marker.cut },
        Place::Message(_) | Place::Marker(_) => Step::Next,
    }
}

/// Whether a place is still in the log after these markers.
pub(crate) fn survives<'a>(seq: Seq, markers: impl IntoIterator<Item = &'a Marker>) -> bool {
    !markers.into_iter().any(|marker| marker.cut < seq && seq < marker.base)
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
        assert_eq!(step(7, Place::Message(7)), Step::Known);
        assert_eq!(step(4, Place::Message(7)), Step::Gap { hole: 6 });
    }

    #[test]
    fn a_marker_follows_what_survived_and_what_was_lost() {
        assert_eq!(step(12, Place::Marker(marker(100, 12))), Step::Next);
        assert_eq!(step(15, Place::Marker(marker(100, 12))), Step::Next);
        assert_eq!(step(9, Place::Marker(marker(100, 12))), Step::Gap { hole: 12 });
        assert_eq!(step(100, Place::Marker(marker(100, 12))), Step::Known);
    }

    #[test]
    fn a_place_between_cut_and_base_did_not_survive() {
        let markers = [marker(100, 12), marker(200, 150)];
        for (seq, survived) in [(12, true), (13, false), (99, false), (100, true), (150, true), (151, false)] {
            assert_eq!(survives(seq, &markers), survived, "{seq}");
        }
    }

    /// A log through which epochs went: each has some messages, of which the next one's marker found only so many, and
    /// opened so far above the last.
    fn log(epochs: &[(u64, usize, u64)]) -> Vec<Place> {
        let (mut log, mut last) = (Vec::new(), 0);
        for (messages, lost, leap) in epochs {
            log.truncate(log.len().saturating_sub(*lost));
            let base = last + leap;
            log.push(Place::Marker(marker(base, log.last().map_or(0, place))));
            last = base + messages;
            log.extend((base + 1..=last).map(Place::Message));
        }
        log
    }

    const fn place(place: &Place) -> Seq {
        match *place {
            Place::Message(seq) | Place::Marker(Marker { base: seq, .. }) => seq,
        }
    }

    proptest! {
        #[test]
        fn a_reader_takes_what_follows_and_tells_everything_else_apart(
            epochs in prop::collection::vec((0..6_u64, 0..8_usize, 1..5_u64), 1..6),
        ) {
            let log = log(&epochs);
            for (n, entry) in log.iter().enumerate() {
                let before = n.checked_sub(1).map_or(0, |n| place(&log[n]));
                for last in 1..place(log.last().unwrap()) + 2 {
                    let expected = match entry {
                        _ if last >= place(entry) => Step::Known,
                        // whoever stands at a place that the log has lost misses nothing in front of the marker
                        Place::Marker(_) if last >= before => Step::Next,
                        Place::Message(_) if last == before => Step::Next,
                        _ => Step::Gap { hole: before },
                    };
                    prop_assert_eq!(step(last, *entry), expected, "{} before {:?} in {:?}", last, entry, log);
                }
            }
        }

        #[test]
        fn an_epoch_opens_above_all_that_anybody_can_have_seen(known in 0..1_u64 << 52, unseen in 0..1_u64 << 20, now in 0..1_u64 << 53) {
            if let Some(base) = open_at(known, now) {
                prop_assert!(base > known && base <= MAX_BASE);
                prop_assert!(base > known + unseen || (now > known && base == now), "{} reaches into {}", base, known);
            }
        }
    }
}
