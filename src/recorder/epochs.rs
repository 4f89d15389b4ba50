//! What the markers of the log say about a cursor. Pure: no clock, no I/O.

use hubbub_log::{LogEntry, Marker, Snapshot};
use hubbub_messenger::journal::Cursor;
use hubbub_protocol::Seq;

/// Where the recorder has to go on instead, if the log has entries at or below the cursor that were not walked: it lost
/// its tail, and an instance whose clock went back opened an epoch below what the database has. `recorded` is what the log
/// knows to be in this database.
///
/// Such an epoch need not be the open one: an instance that knows the cursor may have opened another one above it. If the
/// log does not know the epoch of the cursor, everything above `recorded` is walked again: the database knows what it has.
/// The answer is never below `recorded`: else the database would seem to have gone back, also if the log falls back to an
/// earlier state later. Three faults at once are not told apart: the log lost the epoch, a clock went back so that the
/// next one opened lower, and a database was restored that knows the lost epoch and not the next.
pub(crate) fn turning_point(cursor: &Cursor, recorded: Seq, markers: &[Marker]) -> Option<Cursor> {
    let first = markers.first()?.base;
    // older epochs than those of the oldest marker kept are not named
    let is_known = first > cursor.base || markers.iter().any(|marker| marker.base == cursor.base);
    if !is_known {
        return Some(cursor_at(recorded, markers));
    }
    let unwalked = markers.iter().find(|marker| marker.base > cursor.base && marker.base <= cursor.seq);
    unwalked.map(|marker| cursor_at(marker.base.saturating_sub(1), markers))
}

/// The cursor of a reader that stands at this `seq`.
pub(crate) fn cursor_at(seq: Seq, markers: &[Marker]) -> Cursor {
    let bases = markers.iter().map(|marker| marker.base).filter(|base| *base <= seq);
    Cursor { seq, base: bases.max().unwrap_or_default() }
}

/// How many entries the log has from the first one of the snapshot on.
pub(crate) fn pending(Snapshot { seq, markers, entries, .. }: &Snapshot) -> u64 {
    let Some(first) = entries.first() else { return 0 };
    let (mut count, mut at) = (0, first.seq().saturating_sub(1));
    for marker in markers {
        if marker.base > at {
            count += marker.cut.saturating_sub(at) + 1;
            at = marker.base;
        }
    }
    count + seq.saturating_sub(at)
}

/// Where the log begins: the base of its first epoch, or 0 if that is not named any more.
pub(crate) fn beginning(markers: &[Marker]) -> Seq {
    markers.first().filter(|marker| marker.cut == 0).map_or(0, |marker| marker.base)
}

/// The entries, first to last `seq`, that the log has lost between an entry that was walked and this one. A reader
/// without one (0) begins where the log begins.
pub(crate) fn lost_between(last: Seq, entry: &LogEntry, markers: &[Marker]) -> Option<(Seq, Seq)> {
    let last = last.max(beginning(markers));
    let end = match entry {
        LogEntry::Marker(marker) => marker.cut,
        LogEntry::Message { seq, .. } | LogEntry::Event { seq, .. } => seq.saturating_sub(1),
    };
    (end > last).then(|| (last + 1, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn marker(base: Seq, cut: Seq) -> Marker {
        Marker { base, cut, low: base }
    }

    const fn cursor(seq: Seq, base: Seq) -> Cursor {
        Cursor { seq, base }
    }

    fn message(seq: Seq) -> LogEntry {
        LogEntry::Message { seq, was: 0, record: "{}".into() }
    }

    #[test]
    fn a_reader_follows_an_epoch_above_it_also_when_it_knows_more_of_the_lost_tail() {
        let markers = [marker(100, 0), marker(200, 150)];
        for (seq, base) in [(0, 0), (120, 100), (150, 100), (180, 100), (200, 200), (230, 200)] {
            assert_eq!(turning_point(&cursor(seq, base), 0, &markers), None, "{seq}");
        }
        assert_eq!(turning_point(&cursor(7, 0), 0, &[]), None);
    }

    #[test]
    fn an_epoch_below_the_cursor_was_not_walked() {
        let turned = Some(cursor(949, 900));
        assert_eq!(turning_point(&cursor(1000, 900), 930, &[marker(900, 0), marker(950, 940)]), turned);
        let reopened = [marker(900, 0), marker(950, 940), marker(2000, 960)];
        assert_eq!(turning_point(&cursor(1000, 900), 930, &reopened), turned);
    }

    #[test]
    fn a_log_that_does_not_know_the_epoch_is_walked_again_from_what_it_knows_to_be_recorded() {
        for markers in [[marker(500, 0), marker(700, 600)], [marker(500, 0), marker(2000, 600)]] {
            for recorded in [cursor(0, 0), cursor(550, 500)] {
                assert_eq!(turning_point(&cursor(1000, 900), recorded.seq, &markers), Some(recorded));
            }
        }
    }

    #[test]
    fn an_epoch_that_is_older_than_every_marker_kept_is_known() {
        assert_eq!(turning_point(&cursor(80, 50), 0, &[marker(100, 80), marker(200, 150)]), None);
        assert_eq!(turning_point(&cursor(80, 0), 0, &[marker(100, 80)]), None);
    }

    #[test]
    fn who_has_turned_back_need_not_turn_again() {
        let markers = [marker(500, 0), marker(700, 600), marker(2000, 750)];
        for seq in [0, 510, 600, 699, 740, 1999, 2000] {
            assert_eq!(turning_point(&cursor_at(seq, &markers), 0, &markers), None, "{seq}");
        }
    }

    #[test]
    fn entries_are_missing_unless_they_follow_or_a_marker_cut_them_off() {
        let markers = [marker(90, 5)];
        assert_eq!(lost_between(7, &message(8), &markers), None);
        assert_eq!(lost_between(7, &message(10), &markers), Some((8, 9)));
        assert_eq!(lost_between(7, &LogEntry::Marker(marker(100, 7)), &markers), None);
        assert_eq!(lost_between(9, &LogEntry::Marker(marker(100, 7)), &markers), None);
        assert_eq!(lost_between(5, &LogEntry::Marker(marker(100, 7)), &markers), Some((6, 7)));
    }

    #[test]
    fn a_reader_from_the_beginning_misses_what_is_trimmed_and_nothing_from_before_the_log() {
        let markers = [marker(100, 0), marker(200, 150)];
        assert_eq!(lost_between(0, &LogEntry::Marker(markers[0]), &markers), None);
        assert_eq!(lost_between(0, &message(101), &markers), None);
        assert_eq!(lost_between(0, &message(120), &markers), Some((101, 119)));
        assert_eq!(lost_between(0, &LogEntry::Marker(markers[1]), &markers), Some((101, 150)));
        assert_eq!(
            lost_between(0, &message(220), &markers[1..]),
            Some((1, 219)),
            "older epochs are not named any more"
        );
    }

    #[test]
    fn what_is_pending_is_counted_in_entries_also_over_epochs() {
        let snapshot = |seq, markers: &[Marker], entries: Vec<LogEntry>| Snapshot {
            base: 0,
            seq,
            markers: markers.to_vec(),
            entries,
        };
        let markers = [marker(100, 0), marker(200, 110)];
        assert_eq!(pending(&snapshot(105, &[], vec![])), 0);
        assert_eq!(pending(&snapshot(110, &markers[..1], vec![message(106)])), 5);
        assert_eq!(pending(&snapshot(203, &markers, vec![message(106)])), 5 + 1 + 3);
        assert_eq!(pending(&snapshot(203, &markers, vec![LogEntry::Marker(markers[1])])), 1 + 3);
        assert_eq!(pending(&snapshot(203, &markers, vec![message(108)])), 3 + 1 + 3);
    }
}
