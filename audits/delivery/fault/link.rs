//! What can happen between Redis and an instance.

use std::time::Duration;

use anyhow::{Result, ensure};
use hubbub_testbed::{Flow, PATIENCE, Redis, eventually};
use rand::{RngExt, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{Fault, Scene};
use crate::world::World;

const SILENCE: Duration = Duration::from_secs(8);
const ABSENCE: Duration = Duration::from_secs(3);
const SLOWNESS: Duration = Duration::from_secs(4);
const DELAY: Duration = Duration::from_millis(50);
/// Half of what a subscriber receives, and more than an instance sends, at 400 messages a second.
const BYTES_A_SECOND: usize = 60_000;

/// Bytes of bodies that fill what the kernel holds for a subscriber.
const LOUD_BODY_BYTES: usize = 7000;
/// What Redis logs when it closes one.
const CLOSED: &str = "overcoming of output buffer limits";
/// It must have done so by then.
const OVERFLOW_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn disturb(world: &World, fault: Fault, rng: &mut StdRng) -> Result<()> {
    let _alone = world.link.lock().await;
    let instance = world.any_instance(rng);
    let back = &instance.back;
    world.note(format!("{fault}: {}", instance.process.name));
    match fault {
        Fault::HalfOpen => {
            back.freeze();
            sleep(SILENCE).await;
            back.thaw();
        }
        Fault::CutLink => {
            back.cut();
            sleep(ABSENCE).await;
            back.restore();
        }
        _ => {
            let flow = if rng.random() { Flow::Delayed(DELAY) } else { Flow::Throttled(BYTES_A_SECOND) };
            back.set(flow);
            back.set_from_client(flow);
            sleep(SLOWNESS).await;
            back.set(Flow::Free);
            back.set_from_client(Flow::Free);
        }
    }
    Ok(())
}

/// Stalls a link while Redis has much to send and a low output limit.
pub(super) async fn overflow(scene: &Scene<'_>, rng: &mut StdRng) -> Result<()> {
    let Scene { world, crowd } = scene;
    let _alone = world.link.lock().await;
    let mut store = world.store.lock().await;
    let redis = store.alone()?;
    let instance = world.any_instance(rng);
    // The lock keeps other faults from ending it meanwhile.
    let mut server = instance.process.server.lock().await;
    instance.process.lives(&mut server)?;
    // One that has just lost its connection is no subscriber.
    eventually(PATIENCE, async || (server.metric("hubbub_relay_live", "").await > 0.0).then_some(())).await;
    world.note(format!("output-buffer: {}", instance.process.name));
    let before = closed(redis);
    limit(redis, "pubsub 65536 32768 1").await;
    crowd.set_body_bytes(Some(LOUD_BODY_BYTES));
    instance.back.set(Flow::Stalled);
    let began = Instant::now();
    while closed(redis) == before && began.elapsed() < OVERFLOW_LIMIT {
        sleep(Duration::from_millis(100)).await;
    }
    crowd.set_body_bytes(None);
    instance.back.set(Flow::Free);
    // What Redis comes with.
    limit(redis, "pubsub 33554432 8388608 60").await;
    ensure!(closed(redis) > before, "Redis kept the slow subscriber");
    Ok(())
}

/// Subscribers that Redis has closed for their slowness.
fn closed(redis: &Redis) -> usize {
    redis.log().matches(CLOSED).count()
}

async fn limit(redis: &Redis, limit: &str) {
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", limit]).await;
}
