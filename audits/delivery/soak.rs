//! Whether the instances grow in a long run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hubbub_testbed::growth::Series;
use tokio::time::interval;

use crate::{fault::Scene, world::World};

/// Between two samples.
const SAMPLING: Duration = Duration::from_secs(5);
/// Resident memory may rise by so much over the time observed, in bytes: what an allocator keeps after a fault.
const MEMORY_BOUND: f64 = 16.0 * 1024.0 * 1024.0;
/// Open descriptors may rise by so many: clients that moved over from another instance.
const DESCRIPTOR_BOUND: f64 = 40.0;

/// When the log is full.
const FULL_AFTER: Duration = Duration::from_mins(3);

/// Messages that a log keeps, at this many a second. It is full soon, so that what grows later is a leak; and it has room
/// for all of the last two minutes, which may be offered again at once, or a loss would push out the marker that receivers need to resume.
pub(crate) fn retention(rate: u32) -> usize {
    usize::try_from(FULL_AFTER.as_secs() * u64::from(rate)).unwrap_or(usize::MAX)
}

/// Samples of the processes, by instance and process id: one that was started again begins anew.
#[derive(Default)]
pub(crate) struct Growth {
    series: BTreeMap<(String, u32), [Series; 2]>,
}

impl Growth {
    /// Takes samples for ever.
    #[expect(clippy::infinite_loop, reason = "the caller ends it")]
    #[expect(clippy::print_stderr, reason = "a soak takes long")]
    pub(crate) async fn watch(&mut self, scene: &Scene<'_>) {
        let mut ticks = interval(SAMPLING);
        loop {
            ticks.tick().await;
            self.sample(scene);
            let (acked, unsettled) = scene.crowd.progress();
            eprintln!("{:6} s  {acked} acked, {unsettled} on their way", scene.world.now().as_secs());
        }
    }

    fn sample(&mut self, scene: &Scene<'_>) {
        // Until then the log grows, as it should.
        if scene.world.now() < FULL_AFTER {
            return;
        }
        for instance in &scene.world.instances {
            // A process that is being ended or started gives no sample.
            let Ok(mut server) = instance.process.server.try_lock() else { continue };
            if instance.process.lives(&mut server).is_err() {
                continue;
            }
            let [memory, descriptors] = self.series.entry((instance.process.name.clone(), server.pid())).or_default();
            memory.add(scene.world.now(), server.resident_bytes());
            descriptors.add(scene.world.now(), u64::try_from(server.open_descriptors()).unwrap_or(u64::MAX));
        }
    }

    /// Prints the trends; returns what clearly grows.
    #[expect(clippy::print_stdout, reason = "this is the report")]
    pub(crate) fn judge(&self, world: &World) -> Vec<String> {
        let (mut troubles, mut observed) = (Vec::new(), BTreeSet::new());
        for ((name, pid), series) in &self.series {
            let quantities = [("resident bytes", MEMORY_BOUND), ("open descriptors", DESCRIPTOR_BOUND)];
            for (series, (what, bound)) in series.iter().zip(quantities) {
                let Some(trend) = series.trend() else { continue };
                observed.insert(name.as_str());
                let line = format!(
                    "{name} (process {pid}): {what} {:.0} on average, {:+.0} an hour, {:+.0} over the time observed",
                    trend.mean, trend.hourly, trend.rise,
                );
                println!("{line}");
                if trend.grows_above(bound) {
                    troubles.push(format!("growth: {line}"));
                }
            }
        }
        for name in world.instances.iter().map(|instance| instance.process.name.as_str()) {
            if !observed.contains(name) {
                println!("{name}: not observed, no process of it lived long enough");
            }
        }
        if observed.is_empty() {
            troubles.push("growth: no instance was observed, the soak is too short".to_owned());
        }
        troubles
    }
}
