//! A Redis of the test's own.

mod clock;
mod cluster;
mod secured;
mod sentinel;
mod storage;

use std::{ffi::OsString, fs, path::PathBuf, process::Stdio};

use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    process::{scratch, signal},
    wait::{PATIENCE, eventually, within},
};

pub use clock::can_turn_clocks;
pub use cluster::Cluster;
pub use sentinel::Sentinel;

/// A Redis server in a directory of its own. Dropping it kills the process and removes the directory.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    url: String,
    directory: PathBuf,
    settings: Vec<String>,
    /// What `redis-cli` needs beside the port.
    access: Vec<String>,
    /// The variables of its process.
    environment: Vec<(&'static str, OsString)>,
}

impl Redis {
    /// Keeps nothing on disk.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Keeps an append-only file, so that a restart loses nothing.
    pub async fn persistent() -> Self {
        Self::with(&["appendonly yes"]).await
    }

    /// With more lines in its configuration file. They win over the defaults, which keep nothing.
    pub async fn with(settings: &[&str]) -> Self {
        Self::prepared(|redis| redis.configure(settings)).await
    }

    async fn prepared(prepare: impl Fn(&mut Self)) -> Self {
        // Another process may take the port between the choice and the start; then another port is chosen.
        for _ in 0..10 {
            let mut redis = Self::absent().await;
            prepare(&mut redis);
            if redis.try_resume().await {
                return redis;
            }
        }
        panic!("no Redis could be started")
    }

    /// A port for a Redis that does not run yet.
    pub async fn absent() -> Self {
        let directory = scratch("redis");
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let url = format!("redis://127.0.0.1:{port}");
        Self { child: None, port, url, directory, settings: Vec::new(), access: Vec::new(), environment: Vec::new() }
    }

    /// `redis://…`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// Stops it as an operator would: it writes its file and goes.
    pub async fn stop(&mut self) {
        self.signal("TERM").await;
        within(self.child.take().unwrap().wait()).await.unwrap();
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        within(self.child.take().unwrap().kill()).await.unwrap();
    }

    /// Sends it a signal, for example `STOP`.
    pub async fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id().unwrap(), name).await;
    }

    /// Starts it again on the same port and directory.
    pub async fn resume(&mut self) {
        assert!(self.try_resume().await, "Redis does not start on port {}", self.port);
    }

    /// The answer to a command, one line an item.
    pub async fn command(&self, words: &[&str]) -> Vec<String> {
        let port = self.port.to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-p", &port]).args(&self.access).args(words);
        let output = within(command.output()).await.unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
    }

    /// Lines of the configuration file for the next start.
    fn configure(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|&line| line.to_owned()).collect();
    }

    async fn try_resume(&mut self) -> bool {
        // In a file, for Sentinel and CONFIG REWRITE write into it.
        let file = self.directory.join("redis.conf");
        let defaults = [&format!("port {}", self.port), "bind 127.0.0.1", "save \"\""].map(str::to_owned);
        fs::write(&file, [&defaults, &self.settings[..]].concat().join("\n")).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.directory.join("redis.log")).unwrap();
        let sentinel = self.settings.iter().any(|line| line.starts_with("sentinel ")).then_some("--sentinel");
        let child = Command::new("redis-server")
            .arg(&file)
            .args(sentinel)
            .current_dir(&self.directory)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server cannot be started, see `make setup`: {error}"));
        self.answers(child).await
    }

    /// Waits until the process serves or has ended.
    async fn answers(&mut self, mut child: Child) -> bool {
        let (answers, _) = eventually(PATIENCE, || {
            let ended = child.try_wait().unwrap().is_some();
            let redis = &*self;
            async move { (ended || redis.command(&["PING"]).await == ["PONG"]).then_some(!ended) }
        })
        .await;
        self.child = Some(child);
        answers
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.take());
        // The directory goes with the target directory at the latest.
        let _gone_or_not = fs::remove_dir_all(&self.directory);
    }
}
