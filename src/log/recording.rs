//! Who may record a log inside this process.

use std::sync::Arc;

use tokio::time::Instant;

use crate::backend::{Claim, ClaimStep, RECORDING_LEASE};

/// The right to record a log. One holder at a time has it.
#[derive(Debug, Default)]
pub(crate) struct RecordingRight(Option<(Arc<str>, Instant)>);

impl RecordingRight {
    /// Takes, renews or gives up the right. Whether the claimant has it now.
    pub(crate) fn claim(&mut self, claim: &Claim) -> bool {
        let now = Instant::now();
        if self.0.as_ref().is_some_and(|(holder, until)| *until > now && *holder != claim.holder) {
            return false;
        }
        let holds = matches!(claim.step, ClaimStep::Hold { .. });
        self.0 = holds.then(|| (Arc::clone(&claim.holder), now + RECORDING_LEASE));
        holds
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_holder_has_the_right_until_it_gives_it_up_or_is_silent() {
        let mut right = RecordingRight::default();
        let mut claim = |holder: &str, step| right.claim(&Claim { holder: holder.into(), step });
        let hold = ClaimStep::RENEW;
        assert!(claim("a", hold) && claim("a", hold) && !claim("b", hold));
        assert!(!claim("b", ClaimStep::Release) && !claim("b", hold), "who does not hold it cannot give it up");
        assert!(!claim("a", ClaimStep::Release) && claim("b", hold) && !claim("a", hold));
        advance(RECORDING_LEASE.saturating_sub(Duration::from_millis(1))).await;
        assert!(!claim("a", hold));
        advance(Duration::from_millis(1)).await;
        assert!(claim("a", hold) && !claim("b", hold));
    }
}
