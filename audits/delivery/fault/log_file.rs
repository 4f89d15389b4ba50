//! What can happen to a log in a file, and to the instance that writes it.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::Scene;
use crate::world::World;

/// How long the instance works before it is killed, at most.
const WORK: Duration = Duration::from_millis(500);
/// A full disk must be noticed by then.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);
/// Without an ack for so long, the log takes nothing.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the disk stays full after that.
const FULLNESS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// Kills the only instance, and starts it again at once.
pub(super) async fn kill(world: &World, rng: &mut StdRng) -> Result<()> {
    let process = &world.any_instance(rng).process;
    sleep(WORK.mul_f64(rng.random())).await;
    let mut server = process.server.lock().await;
    process.lives(&mut server)?;
    world.note(format!("SIGKILL: {}", process.name));
    server.kill().await;
    process.restart(&mut server).await
}

/// Fills the disk until nothing is acked any more, and somewhat longer.
pub(super) async fn fill(scene: &Scene<'_>) -> Result<()> {
    let Scene { world, crowd } = scene;
    let (disk, began) = (world.disk()?, Instant::now());
    let (mut acked, mut since) = (crowd.progress().0, Instant::now());
    while since.elapsed() < SILENCE {
        ensure!(began.elapsed() < NOTICE_LIMIT, "the log took everything although its disk was full");
        disk.fill()?;
        sleep(LOOK).await;
        let now = crowd.progress().0;
        if now != acked {
            (acked, since) = (now, Instant::now());
        }
    }
    world.note("nothing is acked any more".to_owned());
    sleep(FULLNESS).await;
    disk.free()?;
    world.note("the disk has room".to_owned());
    if let Some(postgres) = world.history.as_ref().and_then(|history| history.server.as_ref()) {
        postgres.lock().await.revive().await;
    }
    Ok(())
}
