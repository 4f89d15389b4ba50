//! What can happen between an instance and its clients.

use std::time::Duration;

use anyhow::Result;
use hubbub_testbed::{Flow, Proxy};
use rand::{RngExt, rngs::StdRng};
use tokio::time::sleep;

use crate::world::World;

const STALL: Duration = Duration::from_secs(3);
const BYTES_A_SECOND: usize = 2000;
/// How often another number of bytes is drawn, and for how long it holds.
const DRAWS: usize = 6;
const DRAW: Duration = Duration::from_millis(500);
/// A connection lives for less than so many bytes from its instance, and so many to it.
const MOST_BYTES: [usize; 2] = [20_000, 4000];

pub(super) async fn cut_mid_frame(world: &World, rng: &mut StdRng) -> Result<()> {
    for _ in 0..DRAWS {
        for front in fronts(world) {
            let [from_instance, to_instance] = MOST_BYTES.map(|most| Flow::CutAfter(rng.random_range(1..most)));
            front.set(from_instance);
            front.set_from_client(to_instance);
        }
        sleep(DRAW).await;
    }
    for front in fronts(world) {
        front.set(Flow::Free);
        front.set_from_client(Flow::Free);
    }
    Ok(())
}

/// The ways of all clients.
fn fronts(world: &World) -> impl Iterator<Item = &Proxy> {
    world.instances.iter().flat_map(|instance| [&instance.front, &instance.slow_front])
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
