//! Whether messages flow between the instances, judged from all signs of life together.

use std::time::Duration;

use hubbub_lifecycle::metric::{RELAY_LIVE, RELAY_ROUND_TRIP};
use hubbub_protocol::RelayState;
use metrics::{Gauge, Histogram, gauge, histogram};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

/// A probe that takes longer counts as lost.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a log line repeats that the relay is degraded.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// The signs of life of one relay. The tasks report them; the state follows.
pub(crate) struct Liveness {
    signs: Mutex<Signs>,
    state: watch::Sender<RelayState>,
    live: Gauge,
    round_trip: Histogram,
}

#[derive(Debug, Default)]
struct Signs {
    /// When the subscription was confirmed; None while there is no connection.
    subscribed: Option<Instant>,
    /// The last sync has applied the log to its end.
    synced: bool,
    /// Since when the log has answered every sync.
    answered: Option<Instant>,
    /// The last append failed, and is repeated.
    append_failed: bool,
    /// When a probe came back last.
    probe_returned: Option<Instant>,
    /// The last probe sent, and when.
    probe: Option<(u64, Instant)>,
    was_ever_live: bool,
    /// The state in the last log line, and when. None before the first success or failure.
    logged: Option<(RelayState, Instant)>,
}

impl Signs {
    fn receives_probes(&self) -> bool {
        self.probe_returned.is_some_and(|returned| returned.elapsed() < PROBE_TIMEOUT)
    }

    fn is_deaf(&self) -> bool {
        self.answered.is_some_and(|since| since.elapsed() >= PROBE_TIMEOUT) && !self.receives_probes()
    }

    fn is_live(&self) -> bool {
        let subscribed = |since: Instant| self.receives_probes() || since.elapsed() < PROBE_TIMEOUT;
        self.synced && !self.append_failed && self.subscribed.is_some_and(subscribed)
    }
}

impl Liveness {
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

    /// The subscription is confirmed.
    pub(super) fn subscribed(&self) {
        self.signs.lock().subscribed = Some(Instant::now());
    }

    /// The connection is lost.
    pub(super) fn disconnected(&self, reason: &str) {
        let mut signs = self.signs.lock();
        signs.subscribed = None;
        signs.synced = false;
        self.judge(&mut signs, reason);
    }

    /// A sync has applied the log to its end.
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

    /// Appends succeed again.
    pub(super) fn append_recovered(&self) {
        self.signs.lock().append_failed = false;
        self.check();
    }

    /// Judges again, since time has passed.
    pub(super) fn check(&self) {
        self.check_signs(&mut self.signs.lock());
    }

    /// A probe of this instance is about to be published.
    pub(super) fn probe_sent(&self, number: u64) {
        self.signs.lock().probe = Some((number, Instant::now()));
    }

    /// A probe of this instance came back.
    pub(super) fn probe_returned(&self, number: u64) {
        let mut signs = self.signs.lock();
        signs.probe_returned = Some(Instant::now());
        if let Some((_, sent)) = signs.probe.take_if(|(sent, _)| *sent == number) {
            self.round_trip.record(sent.elapsed().as_secs_f64());
        }
    }

    /// Before the first success or failure there is nothing to judge: a start is no outage.
    fn check_signs(&self, signs: &mut Signs) {
        if signs.logged.is_some() || signs.is_live() {
            self.judge(signs, "the channel does not deliver");
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

impl std::fmt::Debug for Liveness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Liveness").field("signs", &*self.signs.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_deaf_when_the_log_answers_and_no_probe_returns() {
        let liveness = Liveness::new();
        liveness.subscribed();
        liveness.synced();
        liveness.probe_returned(1);
        assert_eq!(*liveness.state().borrow(), RelayState::Live);

        tokio::time::advance(PROBE_TIMEOUT).await;
        assert!(liveness.is_deaf());
        liveness.check();
        assert_eq!(*liveness.state().borrow(), RelayState::Degraded);

        liveness.probe_returned(2);
        assert!(!liveness.is_deaf());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_not_deaf_while_the_log_does_not_answer() {
        let liveness = Liveness::new();
        liveness.subscribed();
        liveness.synced();
        liveness.disconnected("gone");
        liveness.sync_failed("gone");
        tokio::time::advance(PROBE_TIMEOUT * 2).await;
        assert!(!liveness.is_deaf());
        // when it is back, the first probe has its full time
        liveness.synced();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!liveness.is_deaf());
    }
}
