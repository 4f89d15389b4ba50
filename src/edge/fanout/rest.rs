//! How long a worker rests after a pass.
//!
//! Under load the cost of a delivery is the write. While a worker rests, messages gather in the ring, and the next pass
//! sends all of them in as many writes.

use std::time::Duration;

/// The timer's resolution: a shorter rest is none.
const SHORTEST: Duration = Duration::from_millis(1);

/// A rest in proportion to the writes of the pass before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// For each write. By default 40 µs, a few times what the kernel takes for one.
    pub per_write: Duration,
    /// What it adds to the latency at most, beside the timer's resolution. By default 10 ms.
    pub longest: Duration,
}

impl Rest {
    /// Never.
    pub const NONE: Self = Self { per_write: Duration::ZERO, longest: Duration::ZERO };

    /// The rest after so many writes. None after a short pass: what is said in small rooms does not wait.
    pub(super) fn after(self, writes: u32) -> Option<Duration> {
        let rest = self.per_write.saturating_mul(writes).min(self.longest);
        (rest >= SHORTEST).then_some(rest)
    }
}

impl Default for Rest {
    fn default() -> Self {
        Self { per_write: Duration::from_micros(40), longest: Duration::from_millis(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_pass_is_followed_by_the_next_at_once_and_a_long_one_by_a_bounded_rest() {
        let after = |writes| Rest::default().after(writes);
        assert_eq!((after(0), after(24)), (None, None));
        assert_eq!((after(25), after(100)), (Some(Duration::from_millis(1)), Some(Duration::from_millis(4))));
        assert_eq!((after(250), after(u32::MAX)), (Some(Duration::from_millis(10)), Some(Duration::from_millis(10))));
        assert_eq!(Rest::NONE.after(u32::MAX), None);
    }
}
