//! The rate limit of one client: a token bucket.

use std::time::{Duration, Instant};

/// How long a client may keep sending too fast, despite errors, before it is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A pause of this length between two refusals restarts [`PATIENCE`].
const RESPITE: Duration = Duration::from_secs(2);

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Frames per second, on average.
    pub per_second: f64,
    /// Frames that may come at once after a pause.
    pub burst: f64,
}

/// A token bucket: one frame takes one token.
#[derive(Debug)]
pub(super) struct TokenBucket {
    rate: Rate,
    tokens: f64,
    refilled_at: Instant,
    refusals: Option<Refusals>,
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    first: Instant,
    last: Instant,
}

/// A frame exceeds the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFast {
    /// Time until the next token.
    pub(super) wait: Duration,
    /// The client has sent too fast for [`PATIENCE`], despite errors.
    pub(super) should_close: bool,
}

impl TokenBucket {
    pub(super) const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, refilled_at: now, refusals: None }
    }

    /// Takes one token out of the bucket.
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
        Err(TooFast { wait, should_close: now.saturating_duration_since(first) >= PATIENCE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 2.0 };

    #[test]
    fn a_burst_passes_and_the_next_frame_must_wait() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Ok(()));
        let refused = bucket.take(start).unwrap_err();
        assert_eq!((refused.wait.as_millis(), refused.should_close), (100, false));
        assert_eq!(bucket.take(start + refused.wait), Ok(()));
    }

    #[test]
    fn a_client_that_never_pauses_is_closed_after_ten_seconds_and_one_that_pauses_is_not() {
        let start = Instant::now();
        let is_closed = |per_second: f64, pause: Duration| {
            let mut bucket = TokenBucket::new(Rate { per_second, burst: 1.0 }, start);
            (0..200).any(|n| bucket.take(start + pause * n).is_err_and(|refused| refused.should_close))
        };
        assert!(is_closed(1.0, Duration::from_millis(100)));
        assert!(!is_closed(0.1, Duration::from_secs(3)));
    }
}
