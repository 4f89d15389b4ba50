//! What can go wrong, and how each of it is done and undone.

use std::{fmt, time::Duration};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use hubbub_testbed::{Flow, Redis, signal};
use rand::{RngExt, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    crowd::Crowd,
    world::{Holder, Instance, World},
};

/// Bytes a power failure takes from the append-only file at most.
const CUT_BYTES: u64 = 300_000;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Redis closes every subscriber.
    KillPubsub,
    /// Redis closes every other connection.
    KillNormal,
    /// Redis answers nobody for 2 s.
    Pause,
    /// Redis is killed and comes back with its append-only file.
    RestartAof,
    /// Redis is killed and comes back empty.
    RestartEmpty,
    /// Redis is killed and comes back without the last 300 kB of its append-only file.
    RestartCutAof,
    /// Redis is killed and comes back with a snapshot that is 2 s old.
    RestartOldRdb,
    /// Redis forgets everything.
    Flushall,
    /// Redis forgets what it knows about the log.
    DeleteMeta,
    /// Redis forgets the log.
    DeleteLog,
    /// Redis stands still for 6 s.
    Freeze,
    /// Redis closes a subscriber that reads too slowly.
    OutputBuffer,
    /// The connections between an instance and Redis fall silent for 8 s, while new ones work.
    HalfOpen,
    /// An instance cannot reach Redis for 3 s.
    CutLink,
    /// The way between an instance and Redis is slow for 4 s: 50 ms each way, or 100 kB a second.
    SlowLink,
    /// An instance is killed, and started again after 1 s.
    InstanceKill,
    /// One instance after the other is told to end, and is started again.
    InstanceTerm,
    /// An instance stands still for 5 s.
    InstanceStop,
    /// For 3 s, connections of clients are cut after a random number of bytes.
    CutMidFrame,
    /// A third of the receivers cannot read for 3 s, or only 2 kB a second.
    SlowReaders,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// Where a fault happens.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) crowd: &'a Crowd,
}

impl Fault {
    /// What it is, in a sentence.
    pub(crate) fn describe(self) -> String {
        self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Whose memory it takes away.
    pub(crate) const fn takes(self) -> Option<Holder> {
        match self {
            Self::RestartAof
            | Self::RestartEmpty
            | Self::RestartCutAof
            | Self::RestartOldRdb
            | Self::Flushall
            | Self::DeleteMeta
            | Self::DeleteLog => Some(Holder::Log),
            Self::InstanceKill | Self::InstanceTerm => Some(Holder::Instance),
            _ => None,
        }
    }

    /// Does it and, if it lasts, undoes it.
    ///
    /// # Errors
    ///
    /// It did not do what it says.
    pub(crate) async fn happen(self, scene: &Scene<'_>, mut rng: StdRng) -> Result<()> {
        let act = async {
            scene.world.note(format!("{self} begins"));
            let outcome = self.act(scene, &mut rng).await;
            scene.world.note(format!("{self} is over"));
            outcome
        };
        match self.takes() {
            Some(holder) => scene.world.losing(holder, act).await,
            None => act.await,
        }
    }

    async fn act(self, scene: &Scene<'_>, rng: &mut StdRng) -> Result<()> {
        let world = scene.world;
        match self {
            Self::KillPubsub
            | Self::KillNormal
            | Self::Pause
            | Self::Flushall
            | Self::DeleteMeta
            | Self::DeleteLog
            | Self::Freeze => self.disturb(&*world.redis.lock().await).await,
            Self::RestartAof | Self::RestartEmpty | Self::RestartCutAof | Self::RestartOldRdb => {
                self.restart(&mut *world.redis.lock().await).await
            }
            Self::OutputBuffer => overflow(scene, rng).await,
            Self::HalfOpen | Self::CutLink | Self::SlowLink => {
                let _alone = world.link.lock().await;
                self.disturb_link(one(world, rng), world, rng).await;
                Ok(())
            }
            Self::InstanceKill => kill(one(world, rng), world).await,
            Self::InstanceTerm => roll(world).await,
            Self::InstanceStop => {
                stop(one(world, rng), world).await;
                Ok(())
            }
            Self::CutMidFrame => {
                cut_mid_frame(world, rng).await;
                Ok(())
            }
            Self::SlowReaders => {
                slow_down(world, rng).await;
                Ok(())
            }
        }
    }

    /// What is done to a Redis that goes on.
    async fn disturb(self, redis: &Redis) -> Result<()> {
        let command: &[&str] = match self {
            Self::KillPubsub => &["CLIENT", "KILL", "TYPE", "pubsub"],
            Self::KillNormal => &["CLIENT", "KILL", "TYPE", "normal"],
            Self::Pause => &["CLIENT", "PAUSE", "2000"],
            Self::Flushall => &["FLUSHALL"],
            Self::DeleteMeta => &["DEL", "{hubbub}:meta"],
            Self::DeleteLog => &["DEL", "{hubbub}:log"],
            _ => {
                signal(redis.pid(), "STOP").await;
                sleep(Duration::from_secs(6)).await;
                signal(redis.pid(), "CONT").await;
                return Ok(());
            }
        };
        let answer = redis.command(command).await.concat();
        ensure!(answer == "OK" || answer.parse().is_ok_and(|count: u64| count > 0), "{command:?}: {answer}");
        if self == Self::Pause {
            sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    }

    async fn restart(self, redis: &mut Redis) -> Result<()> {
        if self == Self::RestartOldRdb {
            redis.command(&["SAVE"]).await;
            sleep(Duration::from_secs(2)).await;
        }
        redis.kill().await;
        match self {
            Self::RestartOldRdb => {
                redis.resume_from_save().await;
                return Ok(());
            }
            Self::RestartEmpty => redis.forget(),
            Self::RestartCutAof => ensure!(redis.cut_append_only_file(CUT_BYTES) > 0, "there was nothing to cut"),
            _ => {}
        }
        redis.resume().await;
        Ok(())
    }

    async fn disturb_link(self, instance: &Instance, world: &World, rng: &mut StdRng) {
        let back = &instance.back;
        world.note(format!("{self}: {}", instance.name));
        match self {
            Self::HalfOpen => {
                back.freeze();
                sleep(Duration::from_secs(8)).await;
                back.thaw();
            }
            Self::CutLink => {
                back.cut();
                sleep(Duration::from_secs(3)).await;
                back.restore();
            }
            _ => {
                let flow =
                    if rng.random() { Flow::Delayed(Duration::from_millis(50)) } else { Flow::Throttled(100_000) };
                back.set(flow);
                back.set_from_client(flow);
                sleep(Duration::from_secs(4)).await;
                back.set(Flow::Free);
                back.set_from_client(Flow::Free);
            }
        }
    }
}

/// Any instance.
fn one<'a>(world: &'a World, rng: &mut StdRng) -> &'a Instance {
    &world.instances[rng.random_range(0..world.instances.len())]
}

/// Stalls a link while Redis has much to say and little patience.
async fn overflow(scene: &Scene<'_>, rng: &mut StdRng) -> Result<()> {
    const DROPPED: &str = "overcoming of output buffer limits";
    let Scene { world, crowd } = scene;
    let redis = world.redis.lock().await;
    let _alone = world.link.lock().await;
    let instance = one(world, rng);
    world.note(format!("output-buffer: {}", instance.name));
    let limit = |value| ["CONFIG", "SET", "client-output-buffer-limit", value];
    let before = redis.log().matches(DROPPED).count();
    redis.command(&limit("pubsub 65536 32768 1")).await;
    crowd.speak(Some(7000));
    instance.back.set(Flow::Stalled);
    let mut patience = 100;
    while redis.log().matches(DROPPED).count() == before && patience > 0 {
        sleep(Duration::from_millis(100)).await;
        patience -= 1;
    }
    let dropped = redis.log().matches(DROPPED).count() > before;
    crowd.speak(None);
    instance.back.set(Flow::Free);
    redis.command(&limit("pubsub 33554432 8388608 60")).await;
    ensure!(dropped, "Redis kept the slow subscriber");
    Ok(())
}

async fn kill(instance: &Instance, world: &World) -> Result<()> {
    let mut server = instance.server.lock().await;
    world.note(format!("SIGKILL: {}", instance.name));
    server.kill().await;
    sleep(Duration::from_secs(1)).await;
    instance.restart(&mut server).await
}

async fn roll(world: &World) -> Result<()> {
    for instance in &world.instances {
        let mut server = instance.server.lock().await;
        world.note(format!("SIGTERM: {}", instance.name));
        server.terminate().await;
        let status = server.ended().await;
        ensure!(status.success(), "{} ended with {status}", instance.name);
        instance.restart(&mut server).await?;
    }
    Ok(())
}

async fn stop(instance: &Instance, world: &World) {
    let server = instance.server.lock().await;
    world.note(format!("SIGSTOP: {}", instance.name));
    signal(server.pid(), "STOP").await;
    sleep(Duration::from_secs(5)).await;
    signal(server.pid(), "CONT").await;
}

async fn cut_mid_frame(world: &World, rng: &mut StdRng) {
    for _ in 0..6 {
        for instance in &world.instances {
            for front in [&instance.front, &instance.slow_front] {
                front.set(Flow::CutAfter(rng.random_range(1..20_000)));
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
    for instance in &world.instances {
        instance.front.set(Flow::Free);
        instance.slow_front.set(Flow::Free);
    }
}

async fn slow_down(world: &World, rng: &mut StdRng) {
    let flow = if rng.random() { Flow::Stalled } else { Flow::Throttled(2000) };
    world.note(format!("slow-readers: {flow:?}"));
    let set = |flow| world.instances.iter().for_each(|instance| instance.slow_front.set(flow));
    set(flow);
    sleep(Duration::from_secs(3)).await;
    set(Flow::Free);
}
