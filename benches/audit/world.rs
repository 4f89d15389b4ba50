//! The processes of a trial, and the links between them.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use hubbub_testbed::{Flow, Proxy, Redis, Server, scratch};
use parking_lot::Mutex as Sync;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// How far a loss of data and the end of an instance lie apart: what both have lost is out of reach.
const APART: Duration = Duration::from_secs(5);

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) program: PathBuf,
    pub(crate) instances: usize,
    /// Messages that the log keeps.
    pub(crate) retention: usize,
}

/// What a fault takes away, and nobody else can give back at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// What Redis holds.
    Log,
    /// What an instance holds.
    Instance,
}

/// One Redis, some instances, and proxies on every link.
pub(crate) struct World {
    /// Whoever does something to Redis holds it for as long.
    pub(crate) redis: Mutex<Redis>,
    pub(crate) instances: Vec<Instance>,
    /// One instance at a time is cut off from Redis.
    pub(crate) link: Mutex<()>,
    /// Who lost something last, and when.
    lost: Mutex<Option<(Holder, Instant)>>,
    journal: Sync<Vec<(Duration, String)>>,
    started: Instant,
    directory: PathBuf,
}

/// One instance on its address, whichever process runs there.
pub(crate) struct Instance {
    pub(crate) name: String,
    /// Between it and Redis.
    pub(crate) back: Proxy,
    /// Between most clients and it.
    pub(crate) front: Proxy,
    /// Between those clients and it that may become slow.
    pub(crate) slow_front: Proxy,
    /// Whoever does something to the process holds it for as long.
    pub(crate) server: Mutex<Server>,
    program: PathBuf,
    flags: Vec<String>,
    log: PathBuf,
}

impl World {
    pub(crate) async fn start(blueprint: &Blueprint) -> Result<Self> {
        let redis = Redis::persistent().await;
        let directory = scratch("audit");
        let mut instances = Vec::new();
        for number in 0..blueprint.instances {
            instances.push(Instance::start(number, redis.address(), blueprint, &directory).await?);
        }
        Ok(Self {
            redis: Mutex::new(redis),
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
        if let Some((other, at)) = *lost
            && other != holder
        {
            sleep_until(at + APART).await;
        }
        let outcome = act.await;
        *lost = Some((holder, Instant::now()));
        outcome
    }

    /// Ends all processes. Keeps their logs; says where.
    pub(crate) async fn end(self) -> Result<PathBuf> {
        let redis = self.redis.into_inner();
        fs::write(self.directory.join("redis.log"), redis.log()).context("the log of Redis")?;
        for instance in self.instances {
            let mut server = instance.server.lock().await;
            server.kill().await;
            keep(&instance.log, &server)?;
        }
        Ok(self.directory)
    }
}

impl Instance {
    async fn start(number: usize, redis: &str, blueprint: &Blueprint, directory: &Path) -> Result<Self> {
        let back = Proxy::to(redis, Flow::Free).await;
        let name = format!("instance-{number}");
        let mut flags = [
            ["--redis-url", &format!("redis://{}", back.address())],
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
        let program = blueprint.program.clone();
        let server = launch(&program, &flags).await;
        flags.extend(["--listen".to_owned(), server.address().to_owned()]);
        let front = Proxy::to(server.address(), Flow::Free).await;
        let slow_front = Proxy::to(server.address(), Flow::Free).await;
        let log = directory.join(&name).with_extension("log");
        Ok(Self { name, back, front, slow_front, server: Mutex::new(server), program, flags, log })
    }

    /// Starts the process again, in the place of one that has ended. Returns when it is ready.
    pub(crate) async fn restart(&self, server: &mut Server) -> Result<()> {
        keep(&self.log, server)?;
        *server = launch(&self.program, &self.flags).await;
        Ok(())
    }
}

async fn launch(program: &Path, flags: &[String]) -> Server {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::spawn_program(program, &flags).await;
    server.ready().await;
    server
}

fn keep(log: &Path, server: &Server) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(log).context("the log of an instance")?;
    for line in server.log() {
        writeln!(file, "{line}").context("the log of an instance")?;
    }
    writeln!(file, "--- the process has ended").context("the log of an instance")
}
