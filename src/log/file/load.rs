//! Reads from the file what must be known of it.

use hubbub_lifecycle::clock::{millis, unix_millis};
use hubbub_protocol::{DEDUPE_WINDOW, Seq, UnixMillis};
use parking_lot::Mutex;
use sqlx::SqliteConnection;

use super::{
    known::{Known, Recorded},
    table::{self, KeyRow},
};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The name of the log, and what is known of a file that was just opened.
pub(super) async fn everything(connection: &mut SqliteConnection) -> Result<(String, Known)> {
    let state = table::state(connection).await?;
    let markers = table::markers(connection, 0).await?;
    let (last, written) = table::last(connection).await?.unwrap_or_default();
    let mut known = Known::found(&state, markers, last, written);
    let bytes = table::total_up_to(connection, state.recorded).await?.unwrap_or(written);
    known.set_recorded(Recorded { seq: state.recorded, bytes });
    let now = unix_millis();
    known.take_keys(young_keys(connection, 0, now).await?, now);
    Ok((state.log_id, known))
}

/// Reads what a statement has changed whose answer is missing.
pub(super) async fn doubtful(connection: &mut SqliteConnection, known: &Mutex<Known>) -> Result<()> {
    let Some(seq) = Some(known.lock()).filter(|known| known.is_in_doubt()).map(|known| known.seq()) else {
        return Ok(());
    };
    let markers = table::markers(connection, seq).await?;
    let last = table::last(connection).await?;
    let now = unix_millis();
    let keys = young_keys(connection, seq, now).await?;
    let mut known = known.lock();
    for marker in markers {
        known.open(marker);
    }
    let (last, written) = last.unwrap_or_default();
    known.settle(last, written);
    known.take_keys(keys, now);
    Ok(())
}

/// The keys within the dedupe window, of the rows above a place, ascending.
async fn young_keys(connection: &mut SqliteConnection, after: Seq, now: UnixMillis) -> Result<Vec<KeyRow>> {
    let oldest = now.saturating_sub(millis(DEDUPE_WINDOW));
    let (mut keys, mut before) = (Vec::<KeyRow>::new(), Seq::MAX);
    loop {
        let rows = table::keys(connection, after, before).await?;
        before = rows.last().map_or(0, |(seq, ..)| *seq);
        let (length, read) = (keys.len(), rows.len());
        keys.extend(rows.into_iter().take_while(|(_, at, ..)| *at > oldest));
        // the rest is older, or there is none
        if read == 0 || keys.len() - length < read {
            break;
        }
    }
    keys.reverse();
    Ok(keys)
}
