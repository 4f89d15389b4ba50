//! What the tests share: the real binary, a Redis of their own, a proxy that fails on demand, and many clients at once.
//!
//! Nothing sleeps. A test waits for an event, or asks again until a condition holds, always under a deadline.
#![allow(clippy::allow_attributes, reason = "the next line")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::excessive_nesting,
    reason = "a step that fails should fail the test"
)]
#![allow(dead_code, reason = "each test file is a crate of its own and uses its part")]

pub(crate) mod crowd;
pub(crate) mod frames;
pub(crate) mod http;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod server;

use std::{
    future::Future,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hubbub::protocol::RoomId;
use tokio::{
    process::Command,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// Long enough for a busy machine; a test that works never waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome, which must come within [`PATIENCE`].
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("nothing within {PATIENCE:?}, waited for at {caller}"))
    }
}

/// Asks until there is an answer; panics at the deadline. Returns the answer and how long it took.
#[track_caller]
pub(crate) fn eventually<T, F>(deadline: Duration, mut ask: impl FnMut() -> F) -> impl Future<Output = (T, Duration)>
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

/// A room name that no other test uses.
pub(crate) fn room() -> RoomId {
    unique("room").parse().unwrap()
}

/// A name that is unique in all test processes.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Sends a signal, for example `TERM`, to a process started by this test.
pub(crate) async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    assert!(status.await.unwrap().success(), "kill -{name} {pid}");
}
