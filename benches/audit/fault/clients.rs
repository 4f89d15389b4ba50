//! What can happen between an instance and its clients.

use std::time::Duration;

use anyhow::Result;
use hubbub_testbed::Flow;
use rand::{RngExt, rngs::StdRng};
use tokio::time::sleep;

use crate::world::World;

const STALL: Duration = Duration::from_secs(3);
const BYTES_A_SECOND: usize = 2000;
/// How often another number of bytes is drawn, and for how long it holds.
const DRAWS: usize = 6;
const DRAW: Duration = Duration::from_millis(500);
/// A connection lives for less than so many bytes.
const MOST_BYTES: usize = 20_000;

pub(super) async fn cut_mid_frame(world: &World, rng: &mut StdRng) -> Result<()> {
    for _ in 0..DRAWS {
        for instance in &world.instances {
            instance.front.set(Flow::CutAfter(rng.random_range(1..MOST_BYTES)));
            instance.slow_front.set(Flow::CutAfter(rng.random_range(1..MOST_BYTES)));
        }
        sleep(DRAW).await;
    }
    for instance in &world.instances {
        instance.front.set(Flow::Free);
        instance.slow_front.set(Flow::Free);
    }
    Ok(())
}

pub(super) async fn slow_down(world: &World, rng: &mut StdRng) -> Result<()> {
    let flow = if rng.random() { Flow::Stalled } else { Flow::Throttled(BYTES_A_SECOND) };
    world.note(format!("slow-readers: {flow:?}"));
    for instance in &world.instances {
        instance.slow_front.set(flow);
    }
    sleep(STALL).await;
    for instance in &world.instances {
        instance.slow_front.set(Flow::Free);
    }
    Ok(())
}
