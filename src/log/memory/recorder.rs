//! Who may record the log, with the rules of lease.lua.

use std::sync::Arc;

use tokio::time::Instant;

use crate::backend::{Claim, ClaimStep, RECORDING_LEASE};

#[derive(Debug, Default)]
pub(super) struct Recorder(Option<(Arc<str>, Instant)>);

impl Recorder {
    /// Takes, renews or gives up the right. True: the claimant has it now.
    pub(super) fn claim(&mut self, Claim { holder, step }: &Claim) -> bool {
        let now = Instant::now();
        let is_anothers = self.0.as_ref().is_some_and(|(other, until)| other != holder && now < *until);
        if is_anothers {
            return false;
        }
        let is_held = matches!(step, ClaimStep::Hold { .. });
        self.0 = is_held.then(|| (Arc::clone(holder), now + RECORDING_LEASE));
        is_held
    }
}
