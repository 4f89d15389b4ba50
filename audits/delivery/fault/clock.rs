//! A clock that goes back together with what Redis has.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use hubbub_testbed::{PATIENCE, eventually};
use rand::{RngExt, rngs::StdRng};
use tokio::time::{Instant, sleep};

use crate::world::World;

/// How long the epoch goes on that Redis comes back to.
const FORMER_EPOCH: Duration = Duration::from_secs(6);
/// How long the epoch is in use that Redis loses.
const LOST_EPOCH: Duration = Duration::from_secs(2);
/// So long after the snapshot the clock stands when Redis comes back: the clock counts in whole seconds.
const LATER: Duration = Duration::from_secs(1);
/// The recorder must have turned back by then.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
const TURNED_BACK: &str = "hubbub_recorder_turned_back_total";

/// Lets an instance open an epoch below what the database has: it has not seen the epoch that Redis loses, and the clock
/// stands before its beginning.
pub(super) async fn go_back(world: &World, rng: &mut StdRng) -> Result<()> {
    let _alone = world.link.lock().await;
    let mut store = world.store.lock().await;
    let redis = store.alone()?;
    let turned = world.metric(TURNED_BACK).await;
    let unaware = rng.random_range(0..world.instances.len());
    let back = |number: usize| &world.instances[number].back;
    world.note(format!("cut off: {}", world.instances[unaware].process.name));
    back(unaware).cut();
    redis.command(&["SAVE"]).await;
    let saved_at = SystemTime::now();
    let former = world.history()?.cursor().await?.base;
    sleep(FORMER_EPOCH).await;

    redis.turn_clock_back(Duration::ZERO);
    redis.kill().await;
    redis.resume().await;
    let began = Instant::now();
    while world.history()?.cursor().await?.base <= former {
        ensure!(began.elapsed() < NOTICE_LIMIT, "the database does not follow into another epoch");
        sleep(LOOK).await;
    }
    sleep(LOST_EPOCH).await;
    world.note("the database has the epoch that Redis loses".to_owned());

    let aware: Vec<_> = (0..world.instances.len()).filter(|number| *number != unaware).collect();
    for number in &aware {
        back(*number).cut();
    }
    redis.kill().await;
    let behind = saved_at.elapsed().context("a clock that nobody has turned")?.saturating_sub(LATER);
    redis.turn_clock_back(Duration::from_secs(behind.as_secs()));
    redis.resume_from_save().await;
    world.note(format!("Redis is back, {} s behind", behind.as_secs()));
    back(unaware).restore();
    let server = world.instances[unaware].process.server.lock().await;
    eventually(PATIENCE, async || (server.metric("hubbub_relay_live", "").await > 0.0).then_some(())).await;
    drop(server);
    for number in aware {
        back(number).restore();
    }

    let began = Instant::now();
    while world.metric(TURNED_BACK).await <= turned {
        ensure!(began.elapsed() < NOTICE_LIMIT, "no recorder has turned back: the epoch has opened above the database");
        sleep(LOOK).await;
    }
    Ok(())
}
