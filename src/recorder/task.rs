//! The task: one round after another, each of which asks the log, decides, and commits at most one batch.
//!
//! A round that fails changes nothing that the next one relies on: it reads the log anew. So every future may be dropped
//! at any await.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::{
    Throttle,
    metric::{RECORDER_FAILURES, RECORDER_TRANSACTION, RECORDER_TURNED_BACK},
};
use hubbub_log::{ClaimStep, Lease};
use hubbub_messenger::{
    StoreError,
    journal::{Batch, Cursor, Journal, Recorded, Recording},
};
use metrics::{counter, histogram};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    Outlet, RecorderOptions, RecordingState, Source,
    answer::within,
    attempts::Attempts,
    epochs::{pending, turning_point},
    outbox::Outbox,
    outcome::{Next, Trouble},
    pruner::Pruner,
    report::{Report, count_recorded},
    standing::{OtherLog, Standing, TOUCH_INTERVAL, judge, lags},
    walk::{Refusal, Unknown, Walk, walk},
};

/// The longest pause between two rounds, and so between two renewals of the lease.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// What the row was when it was last read or written.
#[derive(Clone, Debug)]
struct Position {
    log_id: String,
    cursor: Cursor,
    /// The log has been told that it is recorded up to here. Once is enough: said again, it would undo `hubbub restored`.
    is_told: bool,
}

/// One recorder, from its start to its end or its first panic.
#[derive(Debug)]
pub(crate) struct Task {
    journal: Arc<dyn Journal>,
    source: Arc<dyn Source>,
    options: RecorderOptions,
    report: Report,
    /// None: it has to be found out.
    position: Option<Position>,
    other_log: OtherLog,
    attempts: Attempts,
    jitter: StdRng,
    /// The next event is of an unknown kind.
    is_blocked: bool,
    /// The database fails this instance, and another one may have the lease.
    yields: bool,
    touched_at: Option<Instant>,
    pruner: Pruner,
    outbox: Outbox,
}

impl Task {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        source: Arc<dyn Source>,
        outlet: Option<Arc<dyn Outlet>>,
        options: RecorderOptions,
        report: Report,
        seed: u64,
    ) -> Self {
        Self {
            pruner: Pruner::new(Arc::clone(&journal), options.keep),
            outbox: Outbox::new(Arc::clone(&journal), outlet),
            journal,
            source,
            options,
            report,
            position: None,
            other_log: OtherLog::default(),
            attempts: Attempts::new(),
            jitter: StdRng::seed_from_u64(seed),
            is_blocked: false,
            yields: false,
            touched_at: None,
        }
    }

    /// Records until `closing`, and then what the log still has. Returns early if two clusters have one database.
    pub(crate) async fn run(mut self, closing: &CancellationToken) {
        loop {
            match self.round().await {
                Next::Now => (),
                Next::End => return,
                _ if closing.is_cancelled() => return,
                Next::Growth(seq) => select! {
                    biased;
                    () = closing.cancelled() => (),
                    () = self.source.grown(seq) => (),
                    () = sleep(TICK) => (),
                },
                Next::After(pause) => select! {
                    biased;
                    () = closing.cancelled() => (),
                    () = sleep(pause.min(TICK)) => (),
                },
            }
        }
    }

    async fn round(&mut self) -> Next {
        let outcome = match (self.attempts.pause(Instant::now()), self.position.clone()) {
            (Some(pause), _) => self.wait(pause).await,
            (None, Some(position)) => self.advance(&position).await,
            (None, None) => self.find_place().await,
        };
        self.report.age();
        match outcome {
            Ok(next) => next,
            Err(Trouble::Log(error)) => {
                debug!(%error, "the recorder does not reach the log");
                Next::After(TICK)
            }
            Err(Trouble::Database(error)) => self.fail(&error),
        }
    }

    /// One round of a pause after a failure.
    async fn wait(&mut self, pause: Duration) -> Result<Next, Trouble> {
        self.source.lease(self.claim()).await?;
        Ok(Next::After(pause))
    }

    fn fail(&mut self, error: &StoreError) -> Next {
        static THROTTLE: Throttle = Throttle::new();
        if let Some(more) = THROTTLE.pass() {
            warn!(%error, more, "nothing can be recorded now; the log keeps everything. `more` failures since the last such line");
        }
        counter!(RECORDER_FAILURES).increment(1);
        self.report.enter(RecordingState::DatabaseAway);
        self.attempts.failed(Instant::now(), self.jitter.random());
        self.yields = self.attempts.is_out_of_patience();
        Next::Now
    }

    const fn claim(&self) -> ClaimStep {
        if self.yields || self.is_blocked { ClaimStep::Release } else { ClaimStep::RENEW }
    }

    /// Finds out whether this instance records, and from where.
    async fn find_place(&mut self) -> Result<Next, Trouble> {
        // the order counts: see `judge`
        let lease = self.source.lease(self.claim()).await?;
        let row = within(self.journal.recording()).await?;
        if std::mem::take(&mut self.yields) {
            return Ok(Next::Now);
        }
        let standing = judge(&lease, row.as_ref(), &mut self.other_log, self.options.own_folder, Instant::now());
        if let Some(row) = row.as_ref().filter(|row| *row.log_id == *lease.log_id) {
            self.report.stand_at(row.cursor.seq);
        }
        self.is_blocked &= matches!(standing, Standing::InStep(_));
        let state = match (standing, row) {
            (Standing::Begin, _) if lease.is_held => return self.begin(&lease).await,
            (Standing::TakeOver, Some(row)) if lease.is_held => return self.take_over(&row, &lease).await,
            (Standing::InStep(cursor), _) if self.is_blocked => return self.look_again(&cursor).await,
            (Standing::InStep(cursor), _) if lease.is_held => {
                self.position = Some(Position { log_id: lease.log_id.to_string(), cursor, is_told: false });
                return Ok(Next::Now);
            }
            (Standing::TwoClusters, _) => {
                self.report.enter(RecordingState::TwoClusters);
                return Ok(Next::End);
            }
            (Standing::WentBack, _) => {
                self.touch(&lease).await?;
                RecordingState::WentBack
            }
            (Standing::OtherLog | Standing::TakeOver, _) => RecordingState::OtherLog,
            (Standing::Begin | Standing::InStep(_), _) => RecordingState::Standby,
        };
        self.attempts.works();
        self.report.enter(state);
        Ok(Next::After(TICK))
    }

    async fn begin(&self, lease: &Lease) -> Result<Next, Trouble> {
        let has_begun = within(self.journal.begin(&lease.log_id)).await?;
        info!(log.id = %lease.log_id, has_begun, "the database records no log yet: begin with this one");
        Ok(if has_begun { Next::Now } else { Next::After(TICK) })
    }

    async fn take_over(&self, row: &Recording, lease: &Lease) -> Result<Next, Trouble> {
        // what this log was recorded up to before, if ever, counts no more: the row begins at 0
        self.source.rewind(0).await?;
        let is_ours = within(self.journal.take_over(row, &lease.log_id)).await?;
        warn!(
            log.id = %lease.log_id, former = row.log_id, is_ours,
            "the database recorded another log, which nobody uses any more: it records this one from now on"
        );
        Ok(if is_ours { Next::Now } else { Next::After(TICK) })
    }

    /// Whether the event that could not be recorded is still the next one: another instance may have recorded it, or the
    /// log may have lost it.
    async fn look_again(&mut self, cursor: &Cursor) -> Result<Next, Trouble> {
        let snapshot = self.source.read(cursor.seq, 1).await?;
        self.is_blocked = walk(cursor, &snapshot, None).unknown.is_some();
        self.attempts.works();
        if !self.is_blocked {
            return Ok(Next::Now);
        }
        self.report.enter(RecordingState::UnknownKind);
        Ok(Next::After(TICK))
    }

    /// Shows in the row that this log is in use. Call it with the answer to a renewal of the lease, never without. False:
    /// the row names another log.
    async fn touch(&mut self, lease: &Lease) -> Result<bool, Trouble> {
        let is_due = self.touched_at.is_none_or(|at| at.elapsed() >= TOUCH_INTERVAL);
        if !is_due || !lease.is_held {
            return Ok(true);
        }
        let is_ours = within(self.journal.touch(&lease.log_id)).await?;
        self.touched_at = Some(Instant::now());
        Ok(is_ours)
    }

    /// Reads the log above the cursor, and records it.
    async fn advance(&mut self, position: &Position) -> Result<Next, Trouble> {
        let Position { log_id, cursor, is_told } = position;
        let snapshot = self.source.read(cursor.seq, self.attempts.size()).await?;
        let told = ClaimStep::Hold { recorded: cursor.seq, base: cursor.base };
        let lease = self.source.lease(if *is_told { ClaimStep::RENEW } else { told }).await?;
        if let Some(position) = &mut self.position {
            position.is_told |= lease.is_held;
        }
        let is_in_step = lease.is_held && *lease.log_id == **log_id && !lags(cursor, &lease);
        if !is_in_step || !self.is_alive(&lease, cursor).await? {
            return Ok(self.lose_place());
        }
        if let Some(to) = turning_point(cursor, lease.recorded, &snapshot.markers) {
            return self.turn_back(position, &to).await;
        }
        let walk = walk(cursor, &snapshot, self.attempts.refused());
        let pending = pending(&snapshot);
        self.report.waits_since(walk.oldest);
        if walk.entries > 0 {
            return self.record(log_id, walk, pending).await;
        }
        self.attempts.works();
        if let Some(unknown) = &walk.unknown {
            return self.block(unknown).await;
        }
        self.report.enter(RecordingState::Recording { behind: 0 });
        self.outbox.flush().await;
        let has_more = self.pruner.prune().await;
        Ok(if has_more { Next::Now } else { Next::Growth(cursor.seq) })
    }

    /// Touches the row when it is due, and then looks whether it still stands at the cursor.
    async fn is_alive(&mut self, lease: &Lease, cursor: &Cursor) -> Result<bool, Trouble> {
        let touched_at = self.touched_at;
        if !self.touch(lease).await? {
            return Ok(false);
        }
        if self.touched_at == touched_at {
            return Ok(true);
        }
        let row = within(self.journal.recording()).await?;
        Ok(row.is_some_and(|row| *row.log_id == *lease.log_id && row.cursor == *cursor))
    }

    /// The log has entries below the cursor that were not recorded: a clock went back. Reading above the cursor has opened
    /// an epoch above both, unless the log was there already. So it is enough to go back to where the ways part.
    async fn turn_back(
        &mut self,
        Position { log_id, cursor: from, .. }: &Position,
        to: &Cursor,
    ) -> Result<Next, Trouble> {
        let has_turned = within(self.journal.skip(log_id, from, to)).await?;
        counter!(RECORDER_TURNED_BACK).increment(1);
        warn!(
            ?from,
            ?to,
            has_turned,
            "a clock went back: the log has another way below what the database has, which is recorded now"
        );
        Ok(self.lose_place())
    }

    async fn record(&mut self, log_id: &str, walk: Walk, pending: u64) -> Result<Next, Trouble> {
        let started = Instant::now();
        let outcome = self.commit(log_id, &walk.batch).await;
        histogram!(RECORDER_TRANSACTION).record(started.elapsed());
        match outcome {
            Ok(Recorded::Committed { new, repeated }) => {
                self.committed(&walk, pending);
                count_recorded(&walk, new, repeated);
                self.pruner.prune().await;
                Ok(Next::Now)
            }
            Ok(Recorded::Moved) => Ok(self.lose_place()),
            Err(error) => self.divide(&walk, error),
        }
    }

    /// Renews the lease while the database works.
    async fn commit(&self, log_id: &str, batch: &Batch) -> Result<Recorded, StoreError> {
        let mut commit = std::pin::pin!(within(self.journal.record(log_id, batch)));
        loop {
            let renewal = async {
                sleep(TICK).await;
                self.source.lease(ClaimStep::RENEW).await
            };
            select! {
                biased;
                outcome = &mut commit => return outcome,
                renewed = renewal => drop(renewed),
            }
        }
    }

    fn committed(&mut self, walk: &Walk, pending: u64) {
        let Batch { to, gaps, dead_letters, .. } = &walk.batch;
        if !gaps.is_empty() {
            error!(?gaps, "the log lost entries before they were recorded: pages of history show a gap there");
        }
        for dead in dead_letters {
            debug!(seq = dead.seq, error = dead.error, "a dead letter");
        }
        self.attempts.committed(to.seq);
        if let Some(position) = &mut self.position {
            (position.cursor, position.is_told) = (to.clone(), false);
        }
        self.report.stand_at(to.seq);
        let walked = u64::try_from(walk.entries).unwrap_or(u64::MAX);
        self.report.enter(RecordingState::Recording { behind: pending.saturating_sub(walked) });
    }

    fn divide(&mut self, walk: &Walk, error: StoreError) -> Result<Next, Trouble> {
        self.attempts.divide(walk, error)?;
        if let Some(refusal) = self.attempts.refused() {
            warn_of(refusal);
        }
        Ok(Next::Now)
    }

    /// Gives up the lease, so that an instance of a newer release records what this one cannot.
    async fn block(&mut self, Unknown { seq, kind }: &Unknown) -> Result<Next, Trouble> {
        warn!(
            seq,
            kind = kind.name(),
            "this event is of a kind that only a newer release knows: this instance records no further"
        );
        self.is_blocked = true;
        self.lose_place();
        self.report.enter(RecordingState::UnknownKind);
        self.source.lease(ClaimStep::Release).await?;
        Ok(Next::After(TICK))
    }

    fn lose_place(&mut self) -> Next {
        self.position = None;
        self.attempts.forget_refusal();
        Next::Now
    }
}

fn warn_of(Refusal { error, .. }: &Refusal) {
    static THROTTLE: Throttle = Throttle::new();
    if let Some(more) = THROTTLE.pass() {
        warn!(
            error,
            more, "an event cannot be recorded: it goes to dead_letters. `more` such events since the last such line"
        );
    }
}
