//! What whoever restored the database from a backup has to tell: `hubbub restored`.

use hubbub_log::{BackendError, ClaimStep, Snapshot};
use hubbub_messenger::{
    StoreError,
    journal::{Cursor, Journal},
};
use hubbub_protocol::Seq;

use crate::{
    Source,
    epochs::{beginning, lost_between, turning_point},
    standing::lags,
};

/// How far above the log a reader must be for an epoch to open, however much is published meanwhile.
const LEAP: Seq = 1 << 20;

/// What was done about a database that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Up to here the log was recorded before.
    pub before: Seq,
    /// From here on it is recorded again.
    pub recorded: Seq,
    /// What neither the log nor the database has any more, first to last `seq`. Not all of these numbers were given out.
    pub gaps: Vec<(Seq, Seq)>,
}

/// The database cannot go on from where it is.
#[derive(Debug, thiserror::Error)]
pub enum RestoredError {
    /// The log did not answer or refused. The call may be repeated.
    #[error(transparent)]
    Log(#[from] BackendError),
    /// The database did not answer or refused. The call may be repeated.
    #[error(transparent)]
    Database(#[from] StoreError),
    /// The database records another log than this one.
    #[error("the database records another log: is this the log that was used with this backup?")]
    OtherLog,
}

/// Makes the recorder go on after the database was restored: notes what is lost, sets the log back to what the database
/// has, and opens an epoch, by which every instance reads anew what it knows of the database.
///
/// The gaps come before the log is set back, so that nothing is missing without a note. What the log trims in between is
/// a gap that the recorder notes itself. They are noted also if the log does not count more as recorded: it was set back
/// before, and then the same backup was restored once more.
///
/// # Errors
///
/// [`RestoredError`]. The call may be repeated.
pub async fn restored(journal: &dyn Journal, source: &dyn Source) -> Result<Restored, RestoredError> {
    // by releasing a lease that it does not have, it asks without taking it from the recorder
    let lease = source.lease(ClaimStep::Release).await?;
    let cursor = match journal.recording().await? {
        Some(row) if *row.log_id != *lease.log_id => return Err(RestoredError::OtherLog),
        Some(row) => row.cursor,
        None if journal.begin(&lease.log_id).await? => Cursor { seq: 0, base: 0 },
        None => return Err(RestoredError::OtherLog),
    };
    let mut snapshot = source.read(cursor.seq, 1).await?;
    // the recorder will turn back to here, if the log has taken another way than the backup
    let turned = turning_point(&cursor, 0, &snapshot.markers);
    if let Some(turned) = &turned {
        snapshot = source.read(turned.seq, 1).await?;
    }
    let recorded = turned.map_or(cursor.seq, |turned| turned.seq);
    let gaps = gaps(recorded, &snapshot);
    journal.restored(&gaps).await?;
    if lags(&cursor, &lease) {
        source.rewind(recorded).await?;
    }
    open_epoch(source, &snapshot).await?;
    Ok(Restored { before: lease.recorded, recorded, gaps })
}

async fn open_epoch(source: &dyn Source, known: &Snapshot) -> Result<(), BackendError> {
    let opened = source.read(known.seq.saturating_add(LEAP), 1).await?;
    if opened.base > known.base { Ok(()) } else { Err(BackendError("it has opened no epoch".into())) }
}

/// What the log may have had above the cursor and has no more: what is trimmed, and the tails that it lost. Part of a lost
/// tail may have come back or may never have been there; that cannot be known.
fn gaps(cursor: Seq, Snapshot { seq, markers, entries, .. }: &Snapshot) -> Vec<(Seq, Seq)> {
    let trimmed = match entries.first() {
        Some(first) => lost_between(cursor, first, markers).filter(|_| first.seq() > cursor + 1),
        None => (*seq > cursor).then_some((cursor + 1, *seq)),
    };
    let start = cursor.max(beginning(markers));
    let tails = markers.iter().map(|marker| (marker.cut.max(start) + 1, marker.base.saturating_sub(1)));
    let mut lost: Vec<(Seq, Seq)> = trimmed.into_iter().chain(tails).filter(|(first, last)| first <= last).collect();
    lost.sort_unstable();
    let mut gaps: Vec<(Seq, Seq)> = Vec::new();
    for (first, last) in lost {
        match gaps.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => gaps.push((first, last)),
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use hubbub_log::{LogEntry, Marker};

    use super::*;

    fn message(seq: Seq) -> LogEntry {
        LogEntry::Message { seq, was: 0, record: "{}".into() }
    }

    const fn marker(base: Seq, cut: Seq) -> Marker {
        Marker { base, cut, low: base }
    }

    fn snapshot(seq: Seq, markers: &[Marker], first: Option<LogEntry>) -> Snapshot {
        Snapshot { base: 100, seq, markers: markers.to_vec(), entries: first.into_iter().collect() }
    }

    #[test]
    fn what_the_log_still_has_is_no_gap() {
        assert_eq!(gaps(120, &snapshot(150, &[marker(100, 0)], Some(message(121)))), []);
        assert_eq!(gaps(150, &snapshot(150, &[marker(100, 0)], None)), []);
    }

    #[test]
    fn what_is_trimmed_is_a_gap() {
        assert_eq!(gaps(120, &snapshot(150, &[marker(100, 0)], Some(message(140)))), [(121, 139)]);
        assert_eq!(gaps(120, &snapshot(150, &[marker(100, 0)], None)), [(121, 150)]);
    }

    #[test]
    fn a_lost_tail_is_a_gap_since_the_old_database_may_have_had_it() {
        let markers = [marker(100, 0), marker(200, 130)];
        assert_eq!(gaps(120, &snapshot(210, &markers, Some(message(121)))), [(131, 199)]);
        assert_eq!(gaps(140, &snapshot(210, &markers, Some(LogEntry::Marker(markers[1])))), [(141, 199)]);
        assert_eq!(gaps(120, &snapshot(210, &markers, Some(message(205)))), [(121, 204)]);
        assert_eq!(gaps(205, &snapshot(210, &markers, Some(message(206)))), []);
    }
}
