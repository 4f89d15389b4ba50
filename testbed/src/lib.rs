//! What the tests, the audit and the load generator share: the real binary, a Redis of their own, and a network that
//! fails on demand.
//!
//! Nothing sleeps, except where the caller asks for a fault of some duration. Callers wait for an event, or ask again
//! until a condition holds, always under a deadline. A step that fails panics, for neither a test nor a measurement can
//! go on without it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a step that fails should fail the test"
)]
#![expect(clippy::missing_panics_doc, reason = "everything here panics when it fails")]

pub mod growth;
pub mod http;
pub mod ledger;
pub mod memory;
mod proxy;
mod redis;
mod server;

use std::{
    fs,
    future::Future,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hubbub_protocol::RoomId;
use tokio::{
    process::Command,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

pub use proxy::{Flow, Proxy};
pub use redis::{Cluster, Redis, Sentinel};
pub use server::{Server, command, example};

/// Long enough for a busy machine; a test that works never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome, which must come within [`PATIENCE`].
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("nothing within {PATIENCE:?}, waited for at {caller}"))
    }
}

/// Asks until there is an answer; panics at the deadline. Returns the answer and how long it took.
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

/// A room name that no other test uses.
pub fn room() -> RoomId {
    unique("room").parse().unwrap()
}

/// A name that is unique in all test processes.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Sends a signal, for example `TERM`, to a process started here.
pub async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    assert!(status.await.unwrap().success(), "kill -{name} {pid}");
}

/// The server that cargo has built with this.
pub fn program() -> PathBuf {
    binaries().join("hubbub")
}

/// Where cargo puts the binaries of the profile that this one was built with.
fn binaries() -> PathBuf {
    let running = std::env::current_exe().unwrap();
    // tests, examples and benches each lie in a directory of their own below it
    running.ancestors().nth(2).unwrap().to_owned()
}

/// A new directory for the files of one process. It stays until somebody removes it.
pub fn scratch(what: &str) -> PathBuf {
    let directory = binaries().with_file_name("tmp").join(unique(what));
    fs::create_dir_all(&directory).unwrap();
    directory
}
