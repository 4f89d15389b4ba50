//! What can happen to an instance.

use std::time::Duration;

use anyhow::{Result, ensure};
use hubbub_testbed::signal;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::world::World;

const ABSENCE: Duration = Duration::from_secs(1);
const STILLNESS: Duration = Duration::from_secs(5);

pub(super) async fn kill(world: &World, rng: &mut StdRng) -> Result<()> {
    let instance = world.any_instance(rng);
    let mut server = instance.process.server.lock().await;
    instance.process.lives(&mut server)?;
    world.note(format!("SIGKILL: {}", instance.process.name));
    server.kill().await;
    sleep(ABSENCE).await;
    instance.process.restart(&mut server).await
}

/// A rolling deploy.
pub(super) async fn roll(world: &World) -> Result<()> {
    for instance in &world.instances {
        let mut server = instance.process.server.lock().await;
        instance.process.lives(&mut server)?;
        world.note(format!("SIGTERM: {}", instance.process.name));
        server.terminate().await;
        let status = server.ended().await;
        instance.process.restart(&mut server).await?;
        ensure!(status.success(), "{} ended with {status}", instance.process.name);
    }
    Ok(())
}

pub(super) async fn stop(world: &World, rng: &mut StdRng) -> Result<()> {
    let instance = world.any_instance(rng);
    let mut server = instance.process.server.lock().await;
    instance.process.lives(&mut server)?;
    world.note(format!("SIGSTOP: {}", instance.process.name));
    signal(server.pid(), "STOP").await;
    sleep(STILLNESS).await;
    signal(server.pid(), "CONT").await;
    Ok(())
}
