//! What can happen to the database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hubbub_testbed::Postgres;
use tokio::{
    sync::MutexGuard,
    time::{Instant, sleep},
};

use crate::world::World;

const ABSENCE: Duration = Duration::from_secs(2);
const STILLNESS: Duration = Duration::from_secs(10);
/// A full disk must be noticed by then.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);
/// How long it stays full after that.
const FULLNESS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn kill(world: &World) -> Result<()> {
    let mut postgres = server(world).await?;
    postgres.kill().await;
    sleep(ABSENCE).await;
    postgres.resume().await;
    Ok(())
}

pub(super) async fn stop(world: &World) -> Result<()> {
    let postgres = server(world).await?;
    postgres.signal("STOP").await;
    sleep(STILLNESS).await;
    postgres.signal("CONT").await;
    Ok(())
}

pub(super) async fn restart(world: &World) -> Result<()> {
    let mut postgres = server(world).await?;
    postgres.stop().await;
    sleep(ABSENCE).await;
    postgres.resume().await;
    Ok(())
}

/// Fills the disk until a recorder has failed, and somewhat longer.
pub(super) async fn fill(world: &World) -> Result<()> {
    let disk = world.disk()?;
    let failures = "hubbub_recorder_failures_total";
    let (before, began) = (world.metric(failures).await, Instant::now());
    while world.metric(failures).await <= before {
        ensure!(began.elapsed() < NOTICE_LIMIT, "the database took everything although its disk was full");
        // what a checkpoint frees is taken, too
        disk.fill()?;
        sleep(LOOK).await;
    }
    world.note("the disk is full".to_owned());
    sleep(FULLNESS).await;
    disk.free()?;
    world.note("the disk has room".to_owned());
    if let Some(postgres) = &world.history()?.server {
        // without room for its write-ahead log it ends
        postgres.lock().await.revive().await;
    }
    Ok(())
}

async fn server(world: &World) -> Result<MutexGuard<'_, Postgres>> {
    let history = world.history.as_ref().and_then(|history| history.server.as_ref());
    Ok(history.context("this world has no Postgres")?.lock().await)
}
