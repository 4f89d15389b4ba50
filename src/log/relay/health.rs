//! Whether messages flow: what each sign of life says, put together.

use std::time::Duration;

use hubbub_lifecycle::metric::{RELAY_LIVE, RELAY_ROUND_TRIP};
use hubbub_protocol::RelayState;
use metrics::{Gauge, Histogram, gauge, histogram};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

/// A probe that takes longer is none.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a log line tells that the relay is still degraded.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// The signs of life of one relay.
pub(crate) struct Health {
    signs: Mutex<Signs>,
    state: watch::Sender<RelayState>,
    live: Gauge,
    round_trip: Histogram,
}

#[derive(Debug, Default)]
struct Signs {
    /// When the subscription was confirmed, while the connection stands.
    subscribed: Option<Instant>,
    /// The last sync walked the log to its end.
    synced: bool,
    /// Since when every sync was answered.
    answered: Option<Instant>,
    /// The last append failed. It is tried again until it does not.
    append_failed: bool,
    /// When the last probe came back.
    heard: Option<Instant>,
    /// The last probe sent, and when.
    probe: Option<(u64, Instant)>,
    was_ever_live: bool,
    /// What the log line said last, and when. Nothing before the first success or failure.
    logged: Option<(RelayState, Instant)>,
}

impl Signs {
    fn hears_itself(&self) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() < PROBE_TIMEOUT)
    }

    fn is_deaf(&self) -> bool {
        self.answered.is_some_and(|since| since.elapsed() >= PROBE_TIMEOUT) && !self.hears_itself()
    }

    fn is_live(&self) -> bool {
        let subscribed = |since: Instant| self.hears_itself() || since.elapsed() < PROBE_TIMEOUT;
        self.synced && !self.append_failed && self.subscribed.is_some_and(subscribed)
    }
}

impl Health {
    pub(super) fn new() -> Self {
        let live = gauge!(RELAY_LIVE);
        live.set(0.0);
        Self {
            signs: Mutex::default(),
            state: watch::Sender::new(RelayState::Degraded),
            live,
            round_trip: histogram!(RELAY_ROUND_TRIP),
        }
    }

    pub(super) fn state(&self) -> watch::Receiver<RelayState> {
        self.state.subscribe()
    }

    pub(super) fn was_ever_live(&self) -> bool {
        self.signs.lock().was_ever_live
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.signs.lock().is_deaf()
    }

    /// The subscription stands.
    pub(super) fn subscribed(&self) {
        self.signs.lock().subscribed = Some(Instant::now());
    }

    /// The connection is gone.
    pub(super) fn lost(&self, reason: &str) {
        let mut signs = self.signs.lock();
        signs.subscribed = None;
        signs.synced = false;
        self.judge(&mut signs, reason);
    }

    /// A sync walked the log to its end.
    pub(super) fn synced(&self) {
        let mut signs = self.signs.lock();
        signs.synced = true;
        signs.answered.get_or_insert_with(Instant::now);
        self.check_signs(&mut signs);
    }

    /// A sync failed.
    pub(super) fn sync_failed(&self, reason: &str) {
        let mut signs = self.signs.lock();
        signs.synced = false;
        signs.answered = None;
        self.judge(&mut signs, reason);
    }

    /// An append failed.
    pub(super) fn append_failed(&self, reason: &str) {
        let mut signs = self.signs.lock();
        signs.append_failed = true;
        self.judge(&mut signs, reason);
    }

    /// The log answers to appends again.
    pub(super) fn append_recovered(&self) {
        self.signs.lock().append_failed = false;
        self.check();
    }

    /// Time has passed.
    pub(super) fn check(&self) {
        self.check_signs(&mut self.signs.lock());
    }

    /// A probe is on its way.
    pub(super) fn probing(&self, number: u64) {
        self.signs.lock().probe = Some((number, Instant::now()));
    }

    /// A probe of this instance came back.
    pub(super) fn heard(&self, number: u64) {
        let mut signs = self.signs.lock();
        signs.heard = Some(Instant::now());
        if let Some((_, sent)) = signs.probe.take_if(|(sent, _)| *sent == number) {
            self.round_trip.record(sent.elapsed().as_secs_f64());
        }
    }

    /// A start is no outage: before the first success or failure there is nothing to judge.
    fn check_signs(&self, signs: &mut Signs) {
        if signs.logged.is_some() || signs.is_live() {
            self.judge(signs, "the channel does not carry");
        }
    }

    fn judge(&self, signs: &mut Signs, reason: &str) {
        let state = if signs.is_live() { RelayState::Live } else { RelayState::Degraded };
        signs.was_ever_live |= state == RelayState::Live;
        self.state.send_if_modified(|known| std::mem::replace(known, state) != state);
        self.live.set(if state == RelayState::Live { 1.0 } else { 0.0 });
        match signs.logged {
            Some((logged, at)) if logged == state => {
                if state == RelayState::Live || at.elapsed() < PROGRESS_INTERVAL {
                    return;
                }
                warn!(reason, "relay.degraded: still trying");
            }
            _ if state == RelayState::Live => info!("relay.live: messages flow between the instances"),
            _ => warn!(reason, "relay.degraded: publishes wait, connections stay"),
        }
        signs.logged = Some((state, Instant::now()));
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("signs", &*self.signs.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_that_answers_while_the_channel_is_silent_means_deaf() {
        let health = Health::new();
        health.subscribed();
        health.synced();
        health.heard(1);
        assert_eq!(*health.state().borrow(), RelayState::Live);

        tokio::time::advance(PROBE_TIMEOUT).await;
        assert!(health.is_deaf());
        health.check();
        assert_eq!(*health.state().borrow(), RelayState::Degraded);

        health.heard(2);
        assert!(!health.is_deaf());
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_answer_does_not_mean_deaf() {
        let health = Health::new();
        health.subscribed();
        health.synced();
        health.lost("gone");
        health.sync_failed("gone");
        tokio::time::advance(PROBE_TIMEOUT * 2).await;
        assert!(!health.is_deaf());
        // and when it is back, the first probe gets its time
        health.synced();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.is_deaf());
    }
}
