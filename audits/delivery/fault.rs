//! What can go wrong, and how each of it is done and undone.

mod clients;
mod database;
mod instance;
mod link;
mod redis;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use rand::rngs::StdRng;

use crate::{
    crowd::Crowd,
    world::{Holder, Storage, World},
};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Redis closes every subscriber.
    KillPubsub,
    /// Redis closes every other connection.
    KillNormal,
    /// Redis answers no client for 2 s.
    Pause,
    /// Redis is killed and comes back with its append-only file.
    RestartAof,
    /// Redis is killed and comes back empty.
    RestartEmpty,
    /// Redis is killed and comes back without the last 300 kB of its append-only file.
    RestartCutAof,
    /// Redis is killed and comes back with a snapshot that is 2 s old.
    RestartOldRdb,
    /// Redis loses everything (FLUSHALL).
    Flushall,
    /// Redis loses the meta hash of the log.
    DeleteMeta,
    /// Redis loses the log.
    DeleteLog,
    /// The process of Redis is stopped (SIGSTOP) for 6 s.
    Freeze,
    /// A Sentinel makes a replica the primary that has missed the last 2 s. Alone only.
    Failover,
    /// Redis closes a subscriber that reads too slowly.
    OutputBuffer,
    /// The connections between an instance and Redis fall silent for 8 s, while new ones work.
    HalfOpen,
    /// An instance cannot reach Redis for 3 s.
    CutLink,
    /// The way between an instance and Redis is slow for 4 s: 50 ms each way, or 60 kB a second.
    SlowLink,
    /// An instance is killed, and started again after 1 s.
    InstanceKill,
    /// One instance after the other gets SIGTERM, and is started again.
    InstanceTerm,
    /// The process of an instance is stopped (SIGSTOP) for 5 s.
    InstanceStop,
    /// For 3 s, connections of clients are cut after a random number of bytes.
    CutMidFrame,
    /// The database is killed, and started again after 2 s. With `--history postgres`.
    DatabaseKill,
    /// The database is stopped (SIGSTOP) for 10 s. With `--history postgres`.
    DatabaseStop,
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

    /// The world it needs.
    pub(crate) const fn storage(self) -> Storage {
        match self {
            Self::Failover => Storage::Sentinel,
            _ => Storage::Redis,
        }
    }

    /// Whether it needs a database with processes of its own.
    pub(crate) const fn is_of_database(self) -> bool {
        matches!(self, Self::DatabaseKill | Self::DatabaseStop)
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
            | Self::DeleteLog
            | Self::Failover => Some(Holder::Log),
            Self::InstanceKill | Self::InstanceTerm => Some(Holder::Instance),
            _ => None,
        }
    }

    /// Does it and, if it lasts, undoes it.
    ///
    /// # Errors
    ///
    /// It had no effect.
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
            Self::KillPubsub => redis::command(world, &["CLIENT", "KILL", "TYPE", "pubsub"]).await,
            Self::KillNormal => redis::command(world, &["CLIENT", "KILL", "TYPE", "normal"]).await,
            Self::Flushall => redis::command(world, &["FLUSHALL"]).await,
            Self::DeleteMeta => redis::command(world, &["DEL", "{hubbub}:meta"]).await,
            Self::DeleteLog => redis::command(world, &["DEL", "{hubbub}:log"]).await,
            Self::Pause => redis::pause(world).await,
            Self::Freeze => redis::freeze(world).await,
            Self::Failover => redis::fail_over(world).await,
            Self::RestartAof | Self::RestartEmpty | Self::RestartCutAof | Self::RestartOldRdb => {
                redis::restart(world, self).await
            }
            Self::OutputBuffer => link::overflow(scene, rng).await,
            Self::HalfOpen | Self::CutLink | Self::SlowLink => link::disturb(world, self, rng).await,
            Self::InstanceKill => instance::kill(world, rng).await,
            Self::InstanceTerm => instance::roll(world).await,
            Self::InstanceStop => instance::stop(world, rng).await,
            Self::DatabaseKill => database::kill(world).await,
            Self::DatabaseStop => database::stop(world).await,
            Self::CutMidFrame => clients::cut_mid_frame(world, rng).await,
            Self::SlowReaders => clients::slow_down(world, rng).await,
        }
    }
}
