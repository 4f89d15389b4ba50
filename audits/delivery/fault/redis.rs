//! What can happen to Redis itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::Fault;
use crate::world::World;

/// Bytes a power failure takes from the append-only file at most.
const CUT_BYTES: u64 = 300_000;
/// A command must have done something by then: instances that have lost Redis are back.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);
const FREEZE: Duration = Duration::from_secs(6);
/// How old a snapshot is, and how far a replica lags.
const AGE: Duration = Duration::from_secs(2);

/// A command that must do something; again until it does, for what it takes away may just not be there.
pub(super) async fn command(world: &World, words: &[&str]) -> Result<()> {
    let mut store = world.store.lock().await;
    let redis = store.alone()?;
    let began = Instant::now();
    loop {
        let answer = redis.command(words).await.concat();
        if answer == "OK" || answer.parse().is_ok_and(|count: u64| count > 0) {
            return Ok(());
        }
        ensure!(began.elapsed() < COMMAND_LIMIT, "{words:?}: {answer}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn pause(world: &World) -> Result<()> {
    command(world, &["CLIENT", "PAUSE", &PAUSE.as_millis().to_string()]).await?;
    sleep(PAUSE).await;
    Ok(())
}

pub(super) async fn freeze(world: &World) -> Result<()> {
    let mut store = world.store.lock().await;
    let redis = store.alone()?;
    redis.signal("STOP").await;
    sleep(FREEZE).await;
    redis.signal("CONT").await;
    Ok(())
}

pub(super) async fn fail_over(world: &World) -> Result<()> {
    world.store.lock().await.sentinel()?.fail_over_to_lagging_replica(AGE).await;
    Ok(())
}

pub(super) async fn restart(world: &World, fault: Fault) -> Result<()> {
    let mut store = world.store.lock().await;
    let redis = store.alone()?;
    if fault == Fault::RestartOldRdb {
        redis.command(&["SAVE"]).await;
        sleep(AGE).await;
    }
    redis.kill().await;
    match fault {
        Fault::RestartOldRdb => {
            redis.resume_from_save().await;
            return Ok(());
        }
        Fault::RestartEmpty => redis.forget(),
        Fault::RestartCutAof => ensure!(redis.cut_append_only_file(CUT_BYTES) > 0, "there was nothing to cut"),
        _ => {}
    }
    redis.resume().await;
    Ok(())
}
