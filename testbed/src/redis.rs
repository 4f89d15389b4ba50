//! A Redis of the test's own.

use std::{fs, path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{PATIENCE, eventually, scratch, signal, within};

/// A Redis server in a directory of its own. Dropping it kills the process and removes the directory.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    url: String,
    directory: PathBuf,
    persistent: bool,
}

impl Redis {
    /// Keeps nothing on disk.
    pub async fn start() -> Self {
        Self::new(false).await
    }

    /// Keeps an append-only file, so that a restart loses nothing.
    pub async fn persistent() -> Self {
        Self::new(true).await
    }

    /// A port for a Redis that does not run yet.
    pub async fn absent() -> Self {
        let directory = scratch("redis");
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        Self { child: None, port, url: format!("redis://127.0.0.1:{port}"), directory, persistent: false }
    }

    async fn new(persistent: bool) -> Self {
        // Another process may take the port between the choice and the start; then another port is chosen.
        for _ in 0..10 {
            let mut redis = Self::absent().await;
            redis.persistent = persistent;
            if redis.try_resume().await {
                return redis;
            }
        }
        panic!("no Redis could be started")
    }

    /// `redis://…`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// Stops it as an operator would: it writes its file and goes.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        signal(child.id().unwrap(), "TERM").await;
        within(child.wait()).await.unwrap();
    }

    /// Starts it again on the same port and directory.
    pub async fn resume(&mut self) {
        assert!(self.try_resume().await, "Redis does not start on port {}", self.port);
    }

    async fn try_resume(&mut self) -> bool {
        let log = fs::File::create(self.directory.join("redis.log")).unwrap();
        let mut child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly"])
            .args([if self.persistent { "yes" } else { "no" }, "--dir"])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server cannot be started, see `make setup`: {error}"));
        let port = self.port;
        let (answers, _) = eventually(PATIENCE, || {
            let ended = child.try_wait().unwrap().is_some();
            async move { (ended || ping(port).await).then_some(!ended) }
        })
        .await;
        self.child = Some(child);
        answers
    }

    /// The answer to a command, one line an item.
    pub async fn command(&self, words: &[&str]) -> Vec<String> {
        let port = self.port.to_string();
        let output = within(Command::new("redis-cli").args(["-p", &port]).args(words).output()).await.unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
    }
}

async fn ping(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n").await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && &answer == b"+PONG\r\n"
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.take());
        // The directory goes with the target directory at the latest.
        let _gone_or_not = fs::remove_dir_all(&self.directory);
    }
}
