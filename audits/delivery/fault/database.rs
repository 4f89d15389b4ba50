//! What can happen to the database.

use std::time::Duration;

use anyhow::{Context, Result};
use hubbub_testbed::Postgres;
use tokio::{sync::MutexGuard, time::sleep};

use crate::world::World;

const ABSENCE: Duration = Duration::from_secs(2);
const STILLNESS: Duration = Duration::from_secs(10);

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

async fn server(world: &World) -> Result<MutexGuard<'_, Postgres>> {
    let history = world.history.as_ref().and_then(|history| history.server.as_ref());
    Ok(history.context("this world has no Postgres")?.lock().await)
}
