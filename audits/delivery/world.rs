//! The processes of a trial, and the links between them.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hubbub_testbed::{Flow, Proxy, Redis, Sentinel, Server, scratch};
use parking_lot::Mutex as Sync;
use rand::{RngExt, rngs::StdRng};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use crate::kept::{Engine, History};

/// How far a loss of data and the end of an instance lie apart: what both have lost is out of reach.
const APART: Duration = Duration::from_secs(5);
/// How far two losses of data lie apart: a client that was away while the first one was repaired gets `reset` at the second.
const PUT_BACK: Duration = Duration::from_secs(20);

/// What the kernel holds for a client that may become slow.
const SLOW_BUFFER_BYTES: u32 = 64 * 1024;

/// What keeps the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// One Redis with an append-only file, and a proxy between it and each instance.
    Redis,
    /// A primary and a replica under a Sentinel, where the instances look up the primary.
    Sentinel,
}

/// The processes that keep the log.
pub(crate) enum Store {
    Redis(Box<Redis>),
    Sentinel(Box<Sentinel>),
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) program: PathBuf,
    pub(crate) storage: Storage,
    /// What keeps the history. None: it is not recorded.
    pub(crate) history: Option<Engine>,
    pub(crate) instances: usize,
    /// Messages that the log keeps.
    pub(crate) retention: usize,
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
    /// One instance at a time is cut off from Redis.
    pub(crate) link: Mutex<()>,
    /// What lost something last, and when.
    lost: Mutex<Option<(Holder, Instant)>>,
    journal: Sync<Vec<(Duration, String)>>,
    started: Instant,
    directory: PathBuf,
}

/// One instance on its address, whichever process runs there.
pub(crate) struct Instance {
    pub(crate) name: String,
    /// Between it and Redis; leads nowhere if a Sentinel shows the way.
    pub(crate) back: Proxy,
    /// Between most clients and it.
    pub(crate) front: Proxy,
    /// Between those clients and it that may become slow.
    pub(crate) slow_front: Proxy,
    /// Held while a fault is done to the process.
    pub(crate) server: Mutex<Server>,
    program: PathBuf,
    flags: Vec<String>,
    log: PathBuf,
}

impl World {
    pub(crate) async fn start(blueprint: &Blueprint) -> Result<Self> {
        let store = Store::start(blueprint.storage).await;
        let directory = scratch("audit");
        let history = match blueprint.history {
            Some(engine) => Some(History::start(engine, &directory).await),
            None => None,
        };
        let database = history.as_ref().map(|history| history.url.as_str());
        let mut instances = Vec::new();
        for number in 0..blueprint.instances {
            instances.push(Instance::start(number, &store, database, blueprint, &directory).await?);
        }
        Ok(Self {
            store: Mutex::new(store),
            history,
            instances,
            link: Mutex::default(),
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
        fs::write(self.directory.join("redis.log"), store.primary().log()).context("the log of Redis")?;
        let mut troubles = Vec::new();
        for instance in self.instances {
            let mut server = instance.server.lock().await;
            let lived = instance.lives(&mut server);
            server.kill().await;
            let outcomes = [lived, instance.require_no_panic(&server)];
            troubles.extend(outcomes.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")));
        }
        Ok((self.directory, troubles))
    }
}

impl Store {
    async fn start(storage: Storage) -> Self {
        match storage {
            Storage::Redis => Self::Redis(Box::new(Redis::persistent().await)),
            Storage::Sentinel => Self::Sentinel(Box::new(Sentinel::start().await)),
        }
    }

    /// The server that takes writes.
    pub(crate) fn primary(&self) -> &Redis {
        match self {
            Self::Redis(redis) => redis,
            Self::Sentinel(sentinel) => sentinel.primary(),
        }
    }

    /// The Redis that is alone.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(crate) fn alone(&mut self) -> Result<&mut Redis> {
        match self {
            Self::Redis(redis) => Ok(redis),
            Self::Sentinel(_) => bail!("this world has a Sentinel"),
        }
    }

    /// The Sentinel.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn sentinel(&mut self) -> Result<&mut Sentinel> {
        match self {
            Self::Sentinel(sentinel) => Ok(sentinel),
            Self::Redis(_) => bail!("this world has no Sentinel"),
        }
    }
}

impl Instance {
    async fn start(
        number: usize,
        store: &Store,
        database: Option<&str>,
        blueprint: &Blueprint,
        directory: &Path,
    ) -> Result<Self> {
        let back = Proxy::wide(&format!("127.0.0.1:{}", store.primary().port())).await;
        let url = match store {
            Store::Redis(_) => format!("redis://{}", back.address()),
            Store::Sentinel(sentinel) => sentinel.url().to_owned(),
        };
        let name = format!("instance-{number}");
        let mut flags = [
            ["--redis-url", &url],
            ["--instance", &name],
            ["--log-retention", &blueprint.retention.to_string()],
            ["--admin-listen", "127.0.0.1:0"],
            ["--publish-rate", "100000"],
            ["--publish-burst", "100000"],
            ["--drain-window", "1s"],
        ]
        .as_flattened()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
        flags.extend(database.into_iter().flat_map(|url| ["--database-url".to_owned(), url.to_owned()]));
        let program = blueprint.program.clone();
        let server = launch(&program, &flags).await;
        flags.extend(["--listen".to_owned(), server.address().to_owned()]);
        let front = Proxy::wide(server.address()).await;
        let slow_front = Proxy::holding(server.address(), Flow::Free, SLOW_BUFFER_BYTES).await;
        let log = directory.join(&name).with_extension("log");
        Ok(Self { name, back, front, slow_front, server: Mutex::new(server), program, flags, log })
    }

    /// # Errors
    ///
    /// The process has ended, and no fault had ended it.
    pub(crate) fn lives(&self, server: &mut Server) -> Result<()> {
        let status = server.status();
        ensure!(status.is_none(), "{} has ended by itself: {status:?}", self.name);
        Ok(())
    }

    /// Starts the process again, in the place of one that has ended. Returns when it is ready.
    ///
    /// # Errors
    ///
    /// The old process had panicked.
    pub(crate) async fn restart(&self, server: &mut Server) -> Result<()> {
        let outcome = self.require_no_panic(server);
        *server = launch(&self.program, &self.flags).await;
        outcome
    }

    /// Keeps the log of a process that has ended.
    ///
    /// # Errors
    ///
    /// It had panicked.
    fn require_no_panic(&self, server: &Server) -> Result<()> {
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.log).context("the log of an instance")?;
        let lines = server.log();
        for line in &lines {
            writeln!(file, "{line}").context("the log of an instance")?;
        }
        writeln!(file, "--- the process has ended").context("the log of an instance")?;
        match lines.iter().find(|line| line.contains("panicked")) {
            Some(line) => bail!("{}: {line}", self.name),
            None => Ok(()),
        }
    }
}

async fn launch(program: &Path, flags: &[String]) -> Server {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::spawn_program(program, &flags).await;
    server.ready().await;
    server
}
