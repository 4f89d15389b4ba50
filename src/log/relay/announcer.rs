//! Publishes ephemeral announcements, and each second a probe that shows whether the channel delivers.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::RelayState;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::liveness::Liveness;
use crate::{
    backend::Backend,
    wire::{self, Announcement},
};

/// Announcements that may wait while one is being published.
pub(super) const QUEUE: usize = 256;

/// How often an instance sends itself a probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Announcer {
    pub(super) instance: Arc<str>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) liveness: Arc<Liveness>,
    pub(super) outgoing: mpsc::Receiver<Announcement>,
    pub(super) closed: CancellationToken,
}

impl Announcer {
    /// Runs until the relay closes.
    pub(super) async fn run(mut self) {
        let mut probe = interval(PROBE_INTERVAL);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut number, mut state) = (0, self.liveness.state());
        loop {
            let payload = tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                // the last probe may have been sent before the subscription was lost
                Ok(()) = state.changed() => {
                    probe.reset_immediately();
                    continue;
                }
                _ = probe.tick() => {
                    number += 1;
                    self.liveness.probe_sent(number);
                    wire::probe(&self.instance, number)
                }
                Some(announcement) = self.outgoing.recv() => {
                    if *self.liveness.state().borrow() == RelayState::Degraded {
                        continue;
                    }
                    wire::announcement(&announcement)
                }
            };
            // the backend bounds the wait, and its futures are not cancel safe
            if let Err(error) = self.backend.announce(payload).await {
                debug!(%error, "an announcement was lost");
            }
        }
    }
}
