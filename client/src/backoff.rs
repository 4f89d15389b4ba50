//! The wait before the next attempt to connect.

use std::time::Duration;

/// Exponential backoff with full jitter: a random part of a limit that doubles with every failed attempt.
///
/// The jitter spreads the clients that lost the same instance at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Limit of the first wait. Default 100 ms.
    pub base: Duration,
    /// Upper bound of the limit. Default 10 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), cap: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// A random wait, after this number of failed attempts.
    pub fn wait(&self, failed: u32) -> Duration {
        self.limit(failed).mul_f64(rand::random())
    }

    fn limit(&self, failed: u32) -> Duration {
        self.base.saturating_mul(2_u32.saturating_pow(failed)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };
        let limits = [0, 1, 2, 3, 4, 40].map(|failed| backoff.limit(failed).as_millis());
        assert_eq!(limits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn a_wait_never_exceeds_its_limit() {
        let backoff = Backoff::default();
        assert!((0..100).all(|_| backoff.wait(2) <= backoff.limit(2)));
    }
}
