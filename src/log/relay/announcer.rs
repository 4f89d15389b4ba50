//! Sends what is ephemeral, and a probe through the channel each second.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::RelayState;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::debug;

use super::Shared;
use crate::wire::{self, Announcement};

/// Announcements that may wait while one is on its way.
pub(super) const QUEUE: usize = 256;

/// How often an instance listens for itself.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the relay ends.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Announcement>) {
    let mut probe = interval(PROBE_INTERVAL);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut number, mut state) = (0, shared.health.state());
    loop {
        let payload = tokio::select! {
            biased;
            () = shared.closed.cancelled() => return,
            // a probe from before the subscription was lost
            Ok(()) = state.changed() => {
                probe.reset_immediately();
                continue;
            }
            _ = probe.tick() => {
                number += 1;
                shared.health.probing(number);
                wire::probe(&shared.instance, number)
            }
            Some(announcement) = queue.recv() => {
                if *shared.health.state().borrow() == RelayState::Degraded {
                    continue;
                }
                wire::announcement(&announcement)
            }
        };
        // the backend bounds the wait, and its futures must not be dropped
        if let Err(error) = shared.backend.announce(payload).await {
            debug!(%error, "an announcement was lost");
        }
    }
}
