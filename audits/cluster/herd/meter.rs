//! What Redis was asked for.

use std::{collections::BTreeMap, time::Duration};

use hubbub_testbed::Redis;
use tokio::time::Instant;

/// The calls between two moments, those in scripts included.
pub(super) struct Work {
    pub(super) lasted: Duration,
    calls: BTreeMap<String, u64>,
}

/// What Redis does while something else is done.
pub(super) async fn during<T>(redis: &Redis, what: impl Future<Output = T>) -> (Work, T) {
    let (before, began) = (calls(redis).await, Instant::now());
    let outcome = what.await;
    let (after, lasted) = (calls(redis).await, began.elapsed());
    let new = |(name, calls): (String, u64)| {
        let known = before.get(&name).copied().unwrap_or_default();
        (name, calls - known)
    };
    (Work { lasted, calls: after.into_iter().map(new).collect() }, outcome)
}

/// Calls since it was started, by command.
async fn calls(redis: &Redis) -> BTreeMap<String, u64> {
    let lines = redis.command(&["INFO", "commandstats"]).await;
    let calls = lines.iter().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    calls.collect()
}

impl Work {
    /// Calls of this command.
    pub(super) fn calls(&self, command: &str) -> f64 {
        let calls = self.calls.get(command).copied().unwrap_or_default();
        u32::try_from(calls).map_or(f64::INFINITY, f64::from)
    }

    /// Calls of this command a second.
    pub(super) fn a_second(&self, command: &str) -> f64 {
        self.calls(command) / self.lasted.as_secs_f64()
    }
}
