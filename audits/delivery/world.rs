//! The processes of a trial, and the links between them.

mod disk;
mod instance;
mod needs;
mod process;
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use hubbub_testbed::{Proxy, scratch};
use parking_lot::Mutex as Sync;
use rand::{RngExt, rngs::StdRng};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use crate::kept::{Engine, History};

pub(crate) use disk::SmallDisk;
pub(crate) use instance::Instance;
pub(crate) use needs::{Disk, Needs, Recorders, Storage};
pub(crate) use process::Process;
pub(crate) use store::Store;

/// How far a loss of data and the end of an instance lie apart: what both have lost is out of reach.
const APART: Duration = Duration::from_secs(5);
/// How far two losses of data lie apart: a client that was away while the first one was repaired gets `reset` at the second.
const PUT_BACK: Duration = Duration::from_secs(20);

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) program: PathBuf,
    /// The recorders that ignore the lease do harm, and no instance records beside them.
    pub(crate) hasty: bool,
    /// What keeps the history. None: it is not recorded.
    pub(crate) history: Option<Engine>,
    pub(crate) instances: usize,
    /// Messages that the log keeps.
    pub(crate) retention: usize,
    pub(crate) needs: Needs,
}

impl Blueprint {
    /// The program of a recorder that is a process of its own, and its flags.
    fn recorder(&self) -> (PathBuf, Vec<String>) {
        let flags = |flags: [&str; 2]| flags.map(str::to_owned).to_vec();
        if matches!(self.needs.recorders, Recorders::Apart(_)) {
            return (self.program.clone(), flags(["--roles", "worker"]));
        }
        let hasty = if self.hasty { flags(["--hasty", "true"]) } else { Vec::new() };
        (hubbub_testbed::program().with_file_name("audit-recorder"), hasty)
    }
}

/// A holder of messages that a fault can empty. The other one must be intact at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// What Redis holds.
    Log,
    /// What an instance holds.
    Instance,
}

impl Holder {
    /// How long after this one has lost something the other one may.
    const fn distance(self, other: Self) -> Duration {
        match (self, other) {
            (Self::Log, Self::Log) => PUT_BACK,
            (Self::Instance, Self::Instance) => Duration::ZERO,
            _ => APART,
        }
    }
}

/// What keeps the log, some instances, and proxies on the links.
pub(crate) struct World {
    /// Held while a fault is done to it.
    pub(crate) store: Mutex<Store>,
    pub(crate) history: Option<History>,
    pub(crate) instances: Vec<Instance>,
    /// Processes that only record, each with the way to Redis.
    pub(crate) recorders: Vec<(Process, Proxy)>,
    /// One instance at a time is cut off from Redis.
    pub(crate) link: Mutex<()>,
    /// What is on it, if a fault may fill it.
    pub(crate) disk: Option<SmallDisk>,
    /// What lost something last, and when.
    lost: Mutex<Option<(Holder, Instant)>>,
    journal: Sync<Vec<(Duration, String)>>,
    started: Instant,
    pub(crate) directory: PathBuf,
}

impl World {
    pub(crate) async fn start(blueprint: &Blueprint) -> Result<Self> {
        let Blueprint { needs, .. } = blueprint;
        let directory = scratch("audit");
        let disk = if needs.disk == Disk::Small { Some(SmallDisk::mount()?) } else { None };
        let data = disk.as_ref().map_or(directory.as_path(), SmallDisk::folder);
        let store = Store::start(needs.storage).await;
        let history = match (blueprint.history, &disk) {
            (Some(engine), None) => Some(History::start(engine, &directory).await),
            (Some(engine), Some(disk)) => Some(History::start_on(engine, disk.folder()).await),
            (None, _) => None,
        };
        let common = Common { blueprint, store: &store, data, history: history.as_ref(), directory: &directory };
        let instances = if needs.storage == Storage::File { 1 } else { blueprint.instances };
        let records = match needs.recorders {
            Recorders::Inside => true,
            Recorders::Apart(_) => false,
            Recorders::Forced(_) => !blueprint.hasty,
        };
        let mut started = Vec::new();
        for number in 0..instances {
            let roles = if records { "gateway,api,worker" } else { "gateway,api" };
            let flags = vec!["--roles".to_owned(), roles.to_owned()];
            let (process, back) = common.start(&format!("instance-{number}"), &blueprint.program, flags).await;
            started.push(Instance::behind(process, back).await);
        }
        let count = needs.recorders.apart();
        let mut recorders = Vec::new();
        for number in 0..count {
            let (program, flags) = blueprint.recorder();
            recorders.push(common.start(&format!("recorder-{number}"), &program, flags).await);
        }
        Ok(Self {
            store: Mutex::new(store),
            history,
            instances: started,
            recorders,
            link: Mutex::default(),
            disk,
            lost: Mutex::default(),
            journal: Sync::default(),
            started: Instant::now(),
            directory,
        })
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Any instance.
    pub(crate) fn any_instance(&self, rng: &mut StdRng) -> &Instance {
        &self.instances[rng.random_range(0..self.instances.len())]
    }

    /// The database.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn history(&self) -> Result<&History> {
        self.history.as_ref().context("this world keeps no history")
    }

    /// The disk that a fault may fill.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn disk(&self) -> Result<&SmallDisk> {
        self.disk.as_ref().context("this world has no small disk")
    }

    /// A metric, over all processes that run.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        let recorders = self.recorders.iter().map(|(process, _)| process);
        for process in self.instances.iter().map(|instance| &instance.process).chain(recorders) {
            let mut server = process.server.lock().await;
            if process.lives(&mut server).is_ok() {
                sum += server.metric(name, "").await;
            }
        }
        sum
    }

    /// Writes down what is being done.
    pub(crate) fn note(&self, what: String) {
        self.journal.lock().push((self.now(), what));
    }

    /// What was done from `from` to `to`.
    pub(crate) fn journal(&self, from: Duration, to: Duration) -> Vec<String> {
        let journal = self.journal.lock();
        let range = journal.iter().filter(|(at, _)| (from..=to).contains(at));
        range.map(|(at, what)| format!("{:8.3} s  {what}", at.as_secs_f64())).collect()
    }

    /// Runs what makes `holder` lose something, at a distance from when another one did.
    pub(crate) async fn losing<T>(&self, holder: Holder, act: impl Future<Output = T>) -> T {
        let mut lost = self.lost.lock().await;
        if let Some((other, at)) = *lost {
            sleep_until(at + other.distance(holder)).await;
        }
        let outcome = act.await;
        *lost = Some((holder, Instant::now()));
        outcome
    }

    /// Ends all processes. Keeps their logs; returns where, and what was wrong with the instances.
    pub(crate) async fn end(self) -> Result<(PathBuf, Vec<String>)> {
        let store = self.store.into_inner();
        if let Some(redis) = store.primary() {
            fs::write(self.directory.join("redis.log"), redis.log()).context("the log of Redis")?;
        }
        let mut troubles = Vec::new();
        for (process, _) in &self.recorders {
            troubles.extend(process.end().await);
        }
        for instance in &self.instances {
            troubles.extend(instance.process.end().await);
        }
        Ok((self.directory, troubles))
    }
}

/// What the processes of a world have in common.
struct Common<'a> {
    blueprint: &'a Blueprint,
    store: &'a Store,
    /// Where a data folder is.
    data: &'a Path,
    history: Option<&'a History>,
    /// For the logs.
    directory: &'a Path,
}

impl Common<'_> {
    /// Starts a process, with the way to its Redis.
    async fn start(&self, name: &str, program: &Path, mut flags: Vec<String>) -> (Process, Proxy) {
        let Self { blueprint: Blueprint { retention, needs, .. }, .. } = self;
        // without a Redis the proxy leads nowhere
        let port = self.store.primary().map_or(1, hubbub_testbed::Redis::port);
        let back = Proxy::wide(&format!("127.0.0.1:{port}")).await;
        let [place, value] = match self.store {
            Store::Redis(_) => ["--redis-url".to_owned(), format!("redis://{}", back.address())],
            Store::Sentinel(sentinel) => ["--redis-url".to_owned(), sentinel.url().to_owned()],
            Store::File => ["--data".to_owned(), self.data.display().to_string()],
        };
        let database = self.history.map_or("none", |history| history.url.as_str());
        let retention = needs.retention.unwrap_or(*retention).to_string();
        let pairs = [
            [&*place, &*value],
            ["--database-url", database],
            ["--instance", name],
            ["--log-retention", &retention],
            ["--admin-listen", "127.0.0.1:0"],
            ["--publish-rate", "100000"],
            ["--publish-burst", "100000"],
            ["--drain-window", "1s"],
        ];
        flags.extend(pairs.as_flattened().iter().map(ToString::to_string));
        (Process::start(name, program, flags, self.directory).await, back)
    }
}
