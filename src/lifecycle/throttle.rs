//! A log line that an attacker or a broken client could cause at any rate is written once a minute.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const PERIOD: Duration = Duration::from_mins(1);

/// Passes one event a minute and counts the others. Use it as a `static` beside the log line.
#[derive(Debug)]
pub struct Throttle(Mutex<State>);

#[derive(Debug)]
struct State {
    passed_at: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// A throttle that passes its first event.
    pub const fn new() -> Self {
        Self(Mutex::new(State { passed_at: None, held_back: 0 }))
    }

    /// Some if this event passes, with the number of events held back since the last one that passed. None if it is
    /// held back.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.passed_at.is_some_and(|at| now.saturating_duration_since(at) < PERIOD) {
            state.held_back += 1;
            return None;
        }
        state.passed_at = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_a_minute_passes_and_the_others_are_counted() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        assert_eq!(throttle.pass_at(start), Some(0));
        assert_eq!(throttle.pass_at(start), None);
        assert_eq!(throttle.pass_at(start + Duration::from_secs(59)), None);
        assert_eq!(throttle.pass_at(start + PERIOD), Some(2));
        assert_eq!(throttle.pass_at(start + PERIOD), None);
    }
}
