//! How fast one connection may publish: a token bucket.

use std::time::{Duration, Instant};

/// How long a client may go on although it is told to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Refusals further apart than this do not belong together.
const RESPITE: Duration = Duration::from_secs(2);

/// The rate that a connection is granted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishRate {
    /// Publishes a second, on average.
    pub per_second: f64,
    /// Publishes at once.
    pub burst: f64,
}

/// What a connection has used of its rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: PublishRate,
    tokens: f64,
    refilled_at: Instant,
    refusals: Option<Refusals>,
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    first: Instant,
    last: Instant,
}

/// A publish came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFast {
    /// When the next one will be taken.
    pub(super) wait: Duration,
    /// The client has gone on for too long although it was told.
    pub(super) is_hopeless: bool,
}

impl Pace {
    pub(super) const fn new(rate: PublishRate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, refilled_at: now, refusals: None }
    }

    /// Takes one publish out of the bucket.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), TooFast> {
        let elapsed = now.saturating_duration_since(self.refilled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate.per_second).min(self.rate.burst);
        self.refilled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let before = self.refusals.filter(|refusals| now.saturating_duration_since(refusals.last) < RESPITE);
        let first = before.map_or(now, |refusals| refusals.first);
        self.refusals = Some(Refusals { first, last: now });
        let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / self.rate.per_second).unwrap_or(Duration::MAX);
        Err(TooFast { wait, is_hopeless: now.saturating_duration_since(first) >= PATIENCE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: PublishRate = PublishRate { per_second: 10.0, burst: 2.0 };

    #[test]
    fn a_burst_passes_and_then_one_must_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        assert_eq!(pace.take(start), Ok(()));
        assert_eq!(pace.take(start), Ok(()));
        let refused = pace.take(start).unwrap_err();
        assert_eq!((refused.wait.as_millis(), refused.is_hopeless), (100, false));
        assert_eq!(pace.take(start + refused.wait), Ok(()));
    }

    #[test]
    fn who_never_stops_is_hopeless_after_ten_seconds_and_who_pauses_is_not() {
        let start = Instant::now();
        let is_given_up = |per_second: f64, pause: Duration| {
            let mut pace = Pace::new(PublishRate { per_second, burst: 1.0 }, start);
            (0..200).any(|n| pace.take(start + pause * n).is_err_and(|refused| refused.is_hopeless))
        };
        assert!(is_given_up(1.0, Duration::from_millis(100)));
        assert!(!is_given_up(0.1, Duration::from_secs(3)));
    }
}
