//! How the next batch is tried after what became of the last ones. Pure: the caller gives time and chance.

use std::time::Duration;

use hubbub_messenger::StoreError;
use hubbub_protocol::Seq;
use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    walk::{Refusal, Walk},
};

/// The most entries in one batch.
const MAX_ENTRIES: usize = 1000;
/// Failures in a row after which another instance may try.
const PATIENCE: u32 = 3;

/// The size of the next batch, the pause before it, and the event of it that the database refuses.
#[derive(Debug)]
pub(crate) struct Attempts {
    size: usize,
    backoff: Backoff,
    retry_at: Option<Instant>,
    refused: Option<Refusal>,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { size: MAX_ENTRIES, backoff: Backoff::default(), retry_at: None, refused: None }
    }

    /// The most entries in the next batch.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// The event that becomes a dead letter.
    pub(crate) const fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// How long the next attempt has to wait. None: it has not.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let pause = self.retry_at?.saturating_duration_since(now);
        (!pause.is_zero()).then_some(pause)
    }

    /// A call to the database failed.
    pub(crate) fn failed(&mut self, now: Instant, chance: f64) {
        self.retry_at = Some(now + self.backoff.next(chance));
    }

    /// Whether it has failed so often that another instance may try.
    pub(crate) const fn is_out_of_patience(&self) -> bool {
        self.backoff.failures() >= PATIENCE
    }

    /// The database works.
    pub(crate) const fn works(&mut self) {
        self.backoff.reset();
        self.retry_at = None;
    }

    /// A batch up to this `seq` is committed.
    pub(crate) fn committed(&mut self, to: Seq) {
        self.works();
        self.size = self.size.saturating_mul(2).min(MAX_ENTRIES);
        self.refused.take_if(|refusal| refusal.seq <= to);
    }

    /// A batch failed. It is tried once more as it is, unless its content is refused, and then in halves. A single event
    /// that is refused becomes a dead letter.
    ///
    /// # Errors
    ///
    /// The same error, if it is no use to try again at once.
    pub(crate) fn divide(&mut self, walk: &Walk, error: StoreError) -> Result<(), StoreError> {
        let is_refused = matches!(error, StoreError::Refused(_));
        if is_refused || self.backoff.failures() > 0 {
            self.size = (walk.entries / 2).max(1);
        }
        if !is_refused {
            return Err(error);
        }
        if walk.entries == 1 {
            let has_message = !walk.batch.messages.is_empty();
            let refusal = Refusal { seq: walk.batch.to.seq, error: error.to_string() };
            // a dead letter that is refused too is no fault of its content
            self.refused = Some(if has_message { refusal } else { return Err(error) });
        }
        Ok(())
    }

    /// The cursor is somewhere else: what was refused is another event there.
    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests {
    use hubbub_log::{LogEntry, Snapshot};
    use hubbub_messenger::journal::Cursor;

    use super::*;
    use crate::walk::walk;

    fn walked(count: u64) -> Walk {
        let record = |seq| format!(r#"{{"room":"a","id":"m{seq}","from":{{"id":"u","name":"x"}},"body":"","at":7}}"#);
        let entries = (1..=count).map(|seq| LogEntry::Message { seq, was: 0, record: record(seq).into() }).collect();
        walk(&Cursor { seq: 0, base: 0 }, &Snapshot { base: 0, seq: count, markers: vec![], entries }, None)
    }

    #[test]
    fn a_batch_that_fails_is_tried_whole_and_then_in_halves() {
        let (mut attempts, away) = (Attempts::new(), || StoreError::Passing("away".into()));
        let mut sizes = Vec::new();
        let mut size = 6;
        for _ in 0..5 {
            assert_eq!(attempts.divide(&walked(size), away()), Err(away()));
            attempts.failed(Instant::now(), 1.0);
            size = size.min(u64::try_from(attempts.size()).unwrap());
            sizes.push(size);
        }
        assert_eq!(sizes, [6, 3, 1, 1, 1]);
        assert!(attempts.is_out_of_patience() && attempts.pause(Instant::now()).is_some());
        attempts.committed(1);
        assert_eq!((attempts.size(), attempts.pause(Instant::now())), (2, None));
    }

    #[test]
    fn a_refused_batch_is_halved_at_once_down_to_the_dead_letter() {
        let (mut attempts, refused) = (Attempts::new(), || StoreError::Refused("no".into()));
        assert_eq!(attempts.divide(&walked(3), refused()), Ok(()));
        assert_eq!((attempts.size(), attempts.refused()), (1, None));
        assert_eq!(attempts.divide(&walked(1), refused()), Ok(()));
        assert_eq!(attempts.refused().map(|refusal| refusal.seq), Some(1));
        attempts.committed(1);
        assert_eq!((attempts.size(), attempts.refused()), (2, None));
    }

    #[test]
    fn a_dead_letter_that_is_refused_too_waits() {
        let (mut attempts, refused) = (Attempts::new(), || StoreError::Refused("no".into()));
        let mut walk = walked(1);
        walk.batch.messages.clear();
        assert_eq!(attempts.divide(&walk, refused()), Err(refused()));
        assert_eq!(attempts.refused(), None);
    }
}
