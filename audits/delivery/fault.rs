//! What can go wrong, and how each of it is done and undone.

mod clients;
mod clock;
mod cluster;
mod database;
mod instance;
mod link;
mod log_file;
mod recorder;
mod redis;
mod restore;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use hubbub_testbed::{can_turn_clocks, ledger::Breach};
use rand::rngs::StdRng;

use crate::{
    crowd::Crowd,
    kept::Engine,
    world::{Disk, Holder, Needs, Recorders, SmallDisk, Storage, World},
};

/// Messages of a log that is shorter than a backup is old, and longer than what a receiver misses.
const SHORT_LOG: usize = 8000;

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
    /// A third of the receivers cannot read for 3 s, or only 2 kB a second.
    SlowReaders,
    /// The database is killed, and started again after 2 s. With `--history postgres`.
    DatabaseKill,
    /// The database is stopped (SIGSTOP) for 10 s. With `--history postgres`.
    DatabaseStop,
    /// The database is stopped as an operator would, and started again after 2 s. With `--history postgres`.
    DatabaseRestart,
    /// The disk of the database is full for some seconds. Alone only.
    DatabaseFull,
    /// A backup of the database that is 26 s old is put back, and `hubbub restored` runs. The log has lost some of what is
    /// missing. Alone only.
    DatabaseRestore,
    /// The process that records is killed, 20 times. Alone only.
    RecorderKill,
    /// Two recorders ignore the lease, beside the one that has it, and are killed, 20 times. Alone only.
    LeaseIgnored,
    /// A second cluster gets the same database, and has to end. Alone only.
    SecondCluster,
    /// Redis loses an epoch that the database has, and its clock goes back before that. Alone only.
    ClockBack,
    /// The only instance, with its log in a file, is killed and started again. Alone only.
    LogKill,
    /// The disk of the log in a file, and of the database beside it, is full for some seconds. Alone only.
    LogFull,
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
    pub(crate) const fn needs(self) -> Needs {
        let usual = Needs::USUAL;
        match self {
            Self::Failover => Needs { storage: Storage::Sentinel, ..usual },
            Self::DatabaseFull => Needs { disk: Disk::Small, ..usual },
            Self::DatabaseRestore => Needs { retention: Some(SHORT_LOG), ..usual },
            Self::RecorderKill => Needs { recorders: Recorders::Apart(2), ..usual },
            Self::LeaseIgnored => Needs { recorders: Recorders::Forced(2), ..usual },
            Self::LogKill => Needs { storage: Storage::File, ..usual },
            Self::LogFull => Needs { storage: Storage::File, disk: Disk::Small, ..usual },
            _ => usual,
        }
    }

    /// Whether it can happen where this keeps the history.
    pub(crate) fn fits(self, history: Option<Engine>) -> bool {
        match self {
            Self::DatabaseKill | Self::DatabaseStop | Self::DatabaseRestart => history == Some(Engine::Postgres),
            Self::DatabaseFull
            | Self::DatabaseRestore
            | Self::RecorderKill
            | Self::LeaseIgnored
            | Self::SecondCluster
            | Self::ClockBack => history.is_some(),
            _ => true,
        }
    }

    /// Whether it can happen among others.
    pub(crate) fn can_be_mixed(self) -> bool {
        self.needs() == Needs::USUAL && !matches!(self, Self::SecondCluster | Self::ClockBack)
    }

    /// What it lacks on this machine, if it lacks anything.
    pub(crate) fn lacks(self) -> Option<&'static str> {
        match self {
            Self::ClockBack if !can_turn_clocks() => Some("libfaketime is not installed"),
            _ if self.needs().disk == Disk::Small && SmallDisk::mount().is_err() => {
                Some("this user may not mount a disk")
            }
            _ => None,
        }
    }

    /// What it may break, as `docs/delivery.md` says: only the database is judged then.
    pub(crate) const fn may_break(self) -> &'static [Breach] {
        match self {
            Self::ClockBack => &[Breach::Lost, Breach::Reset],
            _ => &[],
        }
    }

    /// Whether the database loses messages that it had.
    pub(crate) const fn loses_rows(self) -> bool {
        matches!(self, Self::DatabaseRestore)
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
            | Self::ClockBack
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
            let outcome = Box::pin(self.act(scene, &mut rng)).await;
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
            Self::DatabaseRestart => database::restart(world).await,
            Self::DatabaseFull => database::fill(world).await,
            Self::DatabaseRestore => restore::restore(world).await,
            Self::RecorderKill => recorder::kill_the_working_one(world, rng).await,
            Self::LeaseIgnored => recorder::kill_any(world, rng).await,
            Self::SecondCluster => cluster::meet(world).await,
            Self::ClockBack => clock::go_back(world, rng).await,
            Self::LogKill => log_file::kill(world, rng).await,
            Self::LogFull => log_file::fill(scene).await,
            Self::CutMidFrame => clients::cut_mid_frame(world, rng).await,
            Self::SlowReaders => clients::slow_down(world, rng).await,
        }
    }
}
