//! The servers under load: started here, or already running elsewhere.

use std::{env, process::Stdio};

use anyhow::{Context, Result};
use hubbub_testbed::{Redis, Server, scratch};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
};

use super::{
    options::{Load, Options},
    peer::{self, Served},
    schedule::Schedule,
    subject::Subject,
    swarm::Swarm,
};

/// Running servers. Dropping it ends those that were started here.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) addresses: Vec<String>,
    /// The processes that clients connect to, as far as they are known.
    pub(crate) servers: Vec<u32>,
    /// The processes between those.
    pub(crate) relays: Vec<u32>,
    /// Where the bare server reads its schedule.
    bare: Option<ChildStdin>,
    _running: Running,
}

/// What ends with the target.
#[derive(Debug, Default)]
struct Running {
    _bare: Option<Child>,
    _peer: Option<Served>,
    _servers: Vec<Server>,
    _redis: Option<Redis>,
}

impl Target {
    /// Starts what is measured, unless the options name its address.
    pub(crate) async fn start(subject: Subject, options: &Options, load: &Load) -> Result<Self> {
        match subject {
            Subject::Raw => Self::bare(load).await,
            Subject::Hubbub if options.address.is_empty() => Ok(Self::instances(load, &[]).await),
            Subject::Recorded => {
                let folder = scratch("recorded");
                let database = format!("sqlite:{}", folder.join("hubbub.db").display());
                let data = folder.display().to_string();
                let flags = if load.redis { ["--database-url", &database] } else { ["--data", &data] };
                Ok(Self::instances(load, &flags).await)
            }
            Subject::Hubbub => Ok(Self {
                addresses: options.address.clone(),
                servers: options.pid.clone(),
                relays: Vec::new(),
                bare: None,
                _running: Running::default(),
            }),
            peer => Self::peer(peer).await,
        }
    }

    async fn peer(subject: Subject) -> Result<Self> {
        let redis = if subject.relays() { Some(Redis::start().await) } else { None };
        let served = peer::serve(subject, redis.as_ref()).await?;
        Ok(Self {
            addresses: vec![served.address.clone()],
            servers: vec![served.pid],
            relays: redis.iter().map(Redis::pid).collect(),
            bare: None,
            _running: Running { _peer: Some(served), _redis: redis, ..Running::default() },
        })
    }

    async fn instances(load: &Load, more: &[&str]) -> Self {
        let redis = if load.redis { Some(Redis::start().await) } else { None };
        let flags: Vec<_> =
            redis.iter().flat_map(|redis| ["--redis-url", redis.url()]).chain(more.iter().copied()).collect();
        let mut servers = Vec::new();
        for _ in 0..load.instances {
            servers.push(Server::start(&flags).await);
        }
        Self {
            addresses: servers.iter().map(|server| server.address().to_owned()).collect(),
            servers: servers.iter().map(Server::pid).collect(),
            relays: redis.iter().map(Redis::pid).collect(),
            bare: None,
            _running: Running { _servers: servers, _redis: redis, ..Running::default() },
        }
    }

    async fn bare(load: &Load) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["raw", "--clients", &load.clients.to_string(), "--rooms", &load.rooms.to_string()])
            .args(["--size", &load.size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let stdin = child.stdin.take().context("no input")?;
        let address = BufReader::new(stdout).lines().next_line().await?.context("the bare server ended")?;
        Ok(Self {
            addresses: vec![address],
            servers: child.id().into_iter().collect(),
            relays: Vec::new(),
            bare: Some(stdin),
            _running: Running { _bare: Some(child), ..Running::default() },
        })
    }

    /// Lets the messages come: from the senders, or from the bare server itself.
    pub(crate) async fn begin(&mut self, swarm: &Swarm, schedule: &Schedule) -> Result<()> {
        let Some(stdin) = &mut self.bare else { return swarm.publish(schedule.clone()) };
        swarm.accept_all(schedule);
        let line = serde_json::to_string(schedule)? + "\n";
        Ok(stdin.write_all(line.as_bytes()).await?)
    }
}
