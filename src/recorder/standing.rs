//! Whether this recorder may record: what log and row say together. Pure: the caller gives the time.

use std::time::Duration;

use hubbub_log::Lease;
use hubbub_messenger::journal::{Cursor, Recording};
use hubbub_protocol::UnixMillis;
use tokio::time::Instant;

/// How often a recorder shows in the row that it works.
pub(crate) const TOUCH_INTERVAL: Duration = Duration::from_secs(10);
/// Touches within this time may be the last ones of a recorder of this cluster, whose log was lost in between.
const LAST_TOUCHES: Duration = Duration::from_secs(5);
/// A row that nobody has touched for so long belongs to nobody.
const ABANDONED: Duration = Duration::from_mins(1);

/// What to do about the row of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none: begin with this log.
    Begin,
    /// It records this log, up to here.
    InStep(Cursor),
    /// It has less than the log counts as recorded.
    WentBack,
    /// It records another log, which may be in use.
    OtherLog,
    /// It records another log, which is in use.
    TwoClusters,
    /// It records another log, which is abandoned.
    TakeOver,
}

/// Judges the row. `lease` must have been answered before the row was read: else another recorder could commit and tell
/// the log in between, and the row would seem to have less than the log.
pub(crate) fn judge(
    lease: &Lease,
    row: Option<&Recording>,
    other_log: &mut OtherLog,
    owns_folder: bool,
    now: Instant,
) -> Standing {
    let Some(row) = row else {
        // a database that is being restored must not find a row that the backup has too
        return if lease.recorded > 0 { Standing::WentBack } else { Standing::Begin };
    };
    if *row.log_id != *lease.log_id {
        return if owns_folder { Standing::TakeOver } else { other_log.seen(row, now) };
    }
    other_log.forget();
    if lags(&row.cursor, lease) { Standing::WentBack } else { Standing::InStep(row.cursor.clone()) }
}

/// Whether the log counts more as recorded than a row with this cursor has: entries above it, or of a later epoch, which
/// may have opened below it.
pub(crate) const fn lags(cursor: &Cursor, lease: &Lease) -> bool {
    lease.recorded > cursor.seq || lease.base > cursor.base
}

/// What was seen of a row that names another log.
#[derive(Debug, Default)]
pub(crate) struct OtherLog(Option<Sighting>);

#[derive(Debug)]
struct Sighting {
    log_id: String,
    touched: UnixMillis,
    first_touch_at: Option<Instant>,
    unchanged_since: Instant,
}

impl OtherLog {
    fn seen(&mut self, row: &Recording, now: Instant) -> Standing {
        let known = self.0.take().filter(|sighting| sighting.log_id == row.log_id);
        let mut sighting = known.unwrap_or_else(|| Sighting {
            log_id: row.log_id.clone(),
            touched: row.touched,
            first_touch_at: None,
            unchanged_since: now,
        });
        let mut is_in_use = false;
        if sighting.touched != row.touched {
            (sighting.touched, sighting.unchanged_since) = (row.touched, now);
            let first = *sighting.first_touch_at.get_or_insert(now);
            is_in_use = now.saturating_duration_since(first) >= LAST_TOUCHES;
        }
        let watched = now.saturating_duration_since(sighting.unchanged_since);
        // the clock of the database counts only beside a watch over two touches: it may have jumped
        let untouched = if watched >= 2 * TOUCH_INTERVAL { watched.max(row.untouched_for) } else { watched };
        let standing = if is_in_use {
            Standing::TwoClusters
        } else if untouched >= ABANDONED {
            Standing::TakeOver
        } else {
            Standing::OtherLog
        };
        self.0 = Some(sighting);
        standing
    }

    fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(log_id: &str, recorded: u64) -> Lease {
        Lease { is_held: true, log_id: log_id.into(), recorded, base: recorded.min(1) }
    }

    fn row(log_id: &str, seq: u64, touched: u64, untouched_for: u64) -> Recording {
        let untouched_for = Duration::from_secs(untouched_for);
        Recording { log_id: log_id.into(), cursor: Cursor { seq, base: 1 }, untouched_for, touched }
    }

    #[test]
    fn a_row_below_what_the_log_counts_as_recorded_went_back() {
        let judged = |recorded| {
            judge(&lease("a", recorded), Some(&row("a", 7, 0, 0)), &mut OtherLog::default(), false, Instant::now())
        };
        assert_eq!(judged(7), Standing::InStep(Cursor { seq: 7, base: 1 }));
        assert_eq!(judged(0), Standing::InStep(Cursor { seq: 7, base: 1 }));
        assert_eq!(judged(8), Standing::WentBack);
        let elsewhere = Lease { base: 2, ..lease("a", 6) };
        let judged = judge(&elsewhere, Some(&row("a", 7, 0, 0)), &mut OtherLog::default(), false, Instant::now());
        assert_eq!(judged, Standing::WentBack, "what is recorded is of a later epoch, below the cursor");
        assert_eq!(judge(&lease("a", 0), None, &mut OtherLog::default(), false, Instant::now()), Standing::Begin);
        assert_eq!(judge(&lease("a", 9), None, &mut OtherLog::default(), false, Instant::now()), Standing::WentBack);
    }

    #[test]
    fn another_log_is_in_use_once_its_row_was_touched_twice_and_not_just_at_the_end() {
        let (mut other, start) = (OtherLog::default(), Instant::now());
        let mut judged = |touched, seconds| {
            let now = start + Duration::from_secs(seconds);
            judge(&lease("b", 0), Some(&row("a", 7, touched, 0)), &mut other, false, now)
        };
        assert_eq!(judged(5, 0), Standing::OtherLog);
        assert_eq!(judged(6, 50), Standing::OtherLog);
        assert_eq!(judged(7, 54), Standing::OtherLog);
        assert_eq!(judged(7, 109), Standing::OtherLog);
        assert_eq!(judged(8, 109), Standing::TwoClusters);
    }

    #[test]
    fn another_log_is_abandoned_after_a_minute_by_this_clock_or_by_that_of_the_database() {
        let start = Instant::now();
        let abandoned_after = |untouched_for| {
            let mut other = OtherLog::default();
            (0..200).find(|seconds| {
                let row = row("a", 7, 5, untouched_for + seconds);
                let now = start + Duration::from_secs(*seconds);
                judge(&lease("b", 0), Some(&row), &mut other, false, now) == Standing::TakeOver
            })
        };
        assert_eq!(abandoned_after(0), Some(60));
        assert_eq!(abandoned_after(35), Some(25));
        assert_eq!(abandoned_after(3600), Some(20));
    }

    #[test]
    fn a_row_in_a_locked_folder_of_its_own_belongs_to_nobody_else() {
        let judged = judge(&lease("b", 0), Some(&row("a", 7, 5, 0)), &mut OtherLog::default(), true, Instant::now());
        assert_eq!(judged, Standing::TakeOver);
    }
}
