//! Waiting for events, always under a deadline.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Deadline for everything that should happen at once. Long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome of a future, which must come within [`PATIENCE`].
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("nothing within {PATIENCE:?}, waited for at {caller}"))
    }
}

/// Asks every 20 ms until there is an answer; panics at the deadline. Returns the answer and how long it took.
#[track_caller]
pub fn eventually<T, F>(deadline: Duration, mut ask: impl FnMut() -> F) -> impl Future<Output = (T, Duration)>
where
    F: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        let mut ticks = interval(Duration::from_millis(20));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return (answer, started.elapsed());
            }
            assert!(started.elapsed() < deadline, "not within {deadline:?}, asked for at {caller}");
        }
    }
}
