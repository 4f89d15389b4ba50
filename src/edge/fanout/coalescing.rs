//! How long a worker pauses after a pass.
//!
//! Under load a delivery costs mainly its write. While a worker pauses, messages collect in the ring. The next pass
//! sends all of them to a connection in one write.

use std::time::Duration;

/// The timer's resolution. A shorter pause is skipped.
const SHORTEST: Duration = Duration::from_millis(1);

/// A pause in proportion to the writes of the previous pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// Pause for each write. Default 40 µs, a few times the cost of one write.
    pub per_write: Duration,
    /// Upper bound of the pause, and so of the added latency (plus the timer's resolution). Default 10 ms.
    pub longest: Duration,
}

impl Coalescing {
    /// No pause.
    pub const OFF: Self = Self { per_write: Duration::ZERO, longest: Duration::ZERO };

    /// The pause after a pass with this many writes. None after a short pass: messages of small rooms do not wait.
    pub(super) fn pause_after(self, writes: u32) -> Option<Duration> {
        let pause = self.per_write.saturating_mul(writes).min(self.longest);
        (pause >= SHORTEST).then_some(pause)
    }
}

impl Default for Coalescing {
    fn default() -> Self {
        Self { per_write: Duration::from_micros(40), longest: Duration::from_millis(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_pass_is_followed_by_the_next_at_once_and_a_long_one_by_a_bounded_pause() {
        let after = |writes| Coalescing::default().pause_after(writes);
        assert_eq!((after(0), after(24)), (None, None));
        assert_eq!((after(25), after(100)), (Some(Duration::from_millis(1)), Some(Duration::from_millis(4))));
        assert_eq!((after(250), after(u32::MAX)), (Some(Duration::from_millis(10)), Some(Duration::from_millis(10))));
        assert_eq!(Coalescing::OFF.pause_after(u32::MAX), None);
    }
}
