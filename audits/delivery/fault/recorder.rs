//! What can happen to a recorder.

use std::time::Duration;

use anyhow::{Context, Result};
use hubbub_testbed::{PATIENCE, eventually};
use rand::{RngExt, rngs::StdRng};
use tokio::time::sleep;

use crate::world::{Process, World};

/// How often one is killed.
const KILLS: usize = 20;
/// How long one may work before that, at most.
const WORK: Duration = Duration::from_millis(400);

/// Kills the process that records, each time at a random moment after it has begun.
pub(super) async fn kill_the_working_one(world: &World, rng: &mut StdRng) -> Result<()> {
    for _ in 0..KILLS {
        // the lease of the last one has to end before another one begins
        let (working, _) = eventually(PATIENCE, async || {
            for (process, _) in &world.recorders {
                if process.server.lock().await.metric("hubbub_recorded_events_total", "").await > 0.0 {
                    return Some(process);
                }
            }
            None
        })
        .await;
        kill(world, working, rng).await?;
    }
    Ok(())
}

/// Kills any of those that record at once.
pub(super) async fn kill_any(world: &World, rng: &mut StdRng) -> Result<()> {
    for _ in 0..KILLS {
        let any = rng.random_range(0..world.recorders.len().max(1));
        let (process, _) = world.recorders.get(any).context("this world has no recorders of its own")?;
        kill(world, process, rng).await?;
    }
    Ok(())
}

async fn kill(world: &World, process: &Process, rng: &mut StdRng) -> Result<()> {
    sleep(WORK.mul_f64(rng.random())).await;
    let mut server = process.server.lock().await;
    process.lives(&mut server)?;
    world.note(format!("SIGKILL: {}", process.name));
    server.kill().await;
    process.restart(&mut server).await
}
