//! What a recorder tells of itself: its state, its cursor, its metrics.

use std::mem::discriminant;

use hubbub_lifecycle::{
    clock::unix_millis,
    metric::{
        RECORDED_EVENTS, RECORDED_MESSAGES, RECORDED_REPEATED, RECORDER_DEAD_LETTERS, RECORDER_GAPS, RECORDER_LAG,
        RECORDER_LAG_SECONDS, RECORDER_WENT_BACK, count,
    },
};
use hubbub_protocol::{Seq, UnixMillis};
use metrics::{counter, gauge};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{RecordingState, walk::Walk};

/// The sending half of a recorder's handle.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    state: watch::Sender<RecordingState>,
    cursor: watch::Sender<Seq>,
    oldest: watch::Sender<Option<UnixMillis>>,
}

impl Report {
    pub(crate) fn new() -> Self {
        let (state, cursor) = (watch::Sender::new(RecordingState::Starting), watch::Sender::new(0));
        Self { state, cursor, oldest: watch::Sender::new(None) }
    }

    pub(crate) fn state(&self) -> watch::Receiver<RecordingState> {
        self.state.subscribe()
    }

    pub(crate) fn cursor(&self) -> watch::Receiver<Seq> {
        self.cursor.subscribe()
    }

    /// Tells the state, and logs it when it is another one.
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a gauge is a float")]
    pub(crate) fn enter(&self, state: RecordingState) {
        let former = self.state.send_replace(state);
        if discriminant(&former) != discriminant(&state) {
            log(former, state);
            gauge!(RECORDER_WENT_BACK).set(if state == RecordingState::WentBack { 1.0 } else { 0.0 });
        }
        match state {
            RecordingState::Recording { behind } => gauge!(RECORDER_LAG).set(behind as f64),
            RecordingState::DatabaseAway => return,
            _ => gauge!(RECORDER_LAG).set(0.0),
        }
        if !matches!(state, RecordingState::Recording { behind: 1.. }) {
            self.oldest.send_replace(None);
        }
    }

    /// Tells how far the database has recorded the log.
    pub(crate) fn stand_at(&self, seq: Seq) {
        self.cursor.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }

    /// Notes when the oldest message that waits was accepted.
    pub(crate) fn waits_since(&self, oldest: Option<UnixMillis>) {
        self.oldest.send_replace(oldest);
    }

    /// Tells the age of the oldest message that waits.
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a gauge is a float")]
    pub(crate) fn age(&self) {
        let oldest = *self.oldest.borrow();
        let millis = oldest.map_or(0, |oldest| unix_millis().saturating_sub(oldest));
        gauge!(RECORDER_LAG_SECONDS).set(millis as f64 / 1000.0);
    }
}

/// Counts what was committed. `new` and `repeated` are the answer of the database.
pub(crate) fn count_recorded(walk: &Walk, new: u64, repeated: u64) {
    counter!(RECORDED_EVENTS).increment(walk.events);
    counter!(RECORDED_MESSAGES).increment(new);
    counter!(RECORDED_REPEATED).increment(repeated + walk.repeated);
    counter!(RECORDER_DEAD_LETTERS).increment(count(walk.batch.dead_letters.len()));
    counter!(RECORDER_GAPS).increment(count(walk.batch.gaps.len()));
}

fn log(former: RecordingState, state: RecordingState) {
    use RecordingState::{DatabaseAway, OtherLog, Recording, Standby, Starting, TwoClusters, UnknownKind, WentBack};
    match state {
        WentBack => error!(
            "the database has less than the log counts as recorded: was it restored from a backup, or has a replica that \
             lagged taken over? Nothing is recorded until `hubbub restored` has run. The chat goes on, and the log keeps \
             everything"
        ),
        TwoClusters => error!("two clusters have one database: it records another log, which is in use"),
        OtherLog => warn!(
            "the database records another log. If nobody uses it for a minute, this log takes its place; until then \
             nothing is recorded"
        ),
        Recording { .. } if former == DatabaseAway => info!("the database answers: recording goes on"),
        Recording { .. } => info!("recording"),
        Standby => info!("another instance records"),
        Starting | DatabaseAway | UnknownKind => (),
    }
}
