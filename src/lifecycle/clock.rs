//! The wall clock of this machine, in the units of the protocol, and a clock that nobody sets.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since 1970 (UTC); 0 if the clock is set before that.
pub fn unix_millis() -> u64 {
    millis(since_1970())
}

/// Milliseconds of a clock that shows the time of the wall clock when it is asked first, and never leaps afterwards. For
/// ages and limits.
pub fn steady_millis() -> u64 {
    static START: LazyLock<(u64, Instant)> = LazyLock::new(|| (unix_millis(), Instant::now()));
    let (shown, at) = *START;
    shown.saturating_add(millis(at.elapsed()))
}

/// Microseconds since 1970 (UTC); 0 if the clock is set before that.
pub fn unix_micros() -> u64 {
    u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX)
}

/// A duration in whole milliseconds, rounded down.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
