//! The real binary as a child process.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    http,
    process::{program, signal},
    redis::Redis,
    wait::{PATIENCE, eventually, within},
};

/// A running instance. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    admin: String,
    log: watch::Receiver<Vec<String>>,
    _readers: [AbortOnDropHandle<()>; 2],
}

/// A command for the binary, with none of the caller's `HUBBUB_…` variables.
pub fn command(flags: &[&str]) -> Command {
    command_of(&program(), flags)
}

fn command_of(program: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUBBUB_") {
            command.env_remove(name);
        }
    }
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Server {
    /// An instance on its own, ready to serve. Flags given later win.
    pub async fn start(flags: &[&str]) -> Self {
        let server = Self::spawn(flags).await;
        server.ready().await;
        server
    }

    /// An instance on this Redis, ready to serve.
    pub async fn on(redis: &Redis, flags: &[&str]) -> Self {
        Self::start(&[&["--redis-url", redis.url()], flags].concat()).await
    }

    /// An instance that listens but may not be ready.
    pub async fn spawn(flags: &[&str]) -> Self {
        Self::spawn_program(&program(), flags).await
    }

    /// The same of another program, which takes the same flags and logs the same line `listening`.
    pub async fn spawn_program(program: &Path, flags: &[&str]) -> Self {
        let admin = if flags.contains(&"--admin-listen") { &[][..] } else { &["--admin-listen", "127.0.0.1:0"] };
        Self::launch(command_of(program, &[]), &[admin, flags].concat()).await
    }

    /// An instance that chooses its admin address itself.
    pub async fn spawn_without_admin(flags: &[&str]) -> Self {
        Self::launch(command(&[]), flags).await
    }

    /// As that, with these environment variables.
    pub async fn spawn_in(environment: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut command = command(&[]);
        command.envs(environment.iter().copied());
        Self::launch(command, flags).await
    }

    async fn launch(mut command: Command, flags: &[&str]) -> Self {
        // every client of a test has the same address
        const DEFAULTS: [(&str, &str); 7] = [
            ("--data", "none"),
            ("--listen", "127.0.0.1:0"),
            ("--log-format", "json"),
            ("--log", "info"),
            ("--max-per-address", "100000"),
            ("--publish-rate-address", "1000000"),
            ("--sign-in-rate-address", "1000000"),
        ];
        let defaults = DEFAULTS.into_iter().filter(|(flag, _)| !flags.contains(flag));
        let mut all: Vec<&str> = defaults.flat_map(<[&str; 2]>::from).collect();
        all.extend(flags);

        let spawned = command.args(all).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let (lines, log) = watch::channel(Vec::new());
        let out = collect(child.stdout.take().unwrap(), lines.clone());
        let err = collect(child.stderr.take().unwrap(), lines);
        let mut server = Self { child, address: String::new(), admin: String::new(), log, _readers: [out, err] };
        let fields = server.logged("listening").await;
        let address = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        (server.address, server.admin) = (address("listen.address"), address("admin.address"));
        assert_ne!(server.address, "", "the log line does not name the address: {fields}");
        server
    }

    /// `host:port` of the public listener.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `host:port` of the admin listener.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The addresses of these instances, for a client that goes from one to the next.
    pub fn addresses(servers: &[&Self]) -> Vec<String> {
        servers.iter().map(|server| server.address.clone()).collect()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The fields of the first log line whose message begins so, as soon as there is one.
    pub async fn logged(&self, message: &str) -> Value {
        let find = |lines: &Vec<String>| {
            lines.iter().find_map(|line| {
                let fields = serde_json::from_str::<Value>(line).ok()?.get("fields")?.clone();
                fields["message"].as_str()?.starts_with(message).then_some(fields)
            })
        };
        let mut log = self.log.clone();
        let lines = within(log.wait_for(|lines| find(lines).is_some())).await;
        let lines = lines.unwrap_or_else(|_| panic!("the server ended without logging {message:?}"));
        find(&lines).unwrap()
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Waits until `/health/ready` answers 200.
    pub async fn ready(&self) {
        eventually(PATIENCE, || async { (self.readiness().await == 200).then_some(()) }).await;
    }

    /// The status of `/health/ready`.
    pub async fn readiness(&self) -> u16 {
        http::get(&self.address, "/health/ready").await.status
    }

    /// The sum over all labels of a counter or gauge; 0 if it is not there yet.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = http::get(&self.admin, "/metrics").await.body;
        let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(labels));
        let values = lines.filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        });
        // the sum of nothing would be -0
        values.fold(0.0, std::ops::Add::add)
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Open file descriptors.
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) {
        signal(self.pid(), "TERM").await;
    }

    /// Sends SIGKILL and waits for the end of the process and of its log.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
        self.log_ended().await;
    }

    /// Waits for the end of the process and of its log.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = within(self.child.wait()).await.unwrap();
        self.log_ended().await;
        status
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Completes when the log is complete.
    async fn log_ended(&mut self) {
        within(async { while self.log.changed().await.is_ok() {} }).await;
    }

    /// Waits for the end, for at most `limit`.
    pub async fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        tokio::time::timeout(limit, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("still there after {limit:?}"))
            .unwrap()
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the log of the server explains why a test failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.borrow();
            eprintln!("--- the last lines of the server at {}", self.address);
            log.iter().skip(log.len().saturating_sub(25)).for_each(|line| eprintln!("{line}"));
        }
    }
}

fn collect(
    stream: impl AsyncRead + Unpin + Send + 'static,
    lines: watch::Sender<Vec<String>>,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
        let mut reader = BufReader::new(stream).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            lines.send_modify(|lines| lines.push(line));
        }
    }))
}
