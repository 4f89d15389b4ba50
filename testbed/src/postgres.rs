//! A Postgres of the test's own.

mod cluster_files;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    certificate::Certificate,
    process::{signal, unique},
    wait::{PATIENCE, eventually, within},
};
use cluster_files::{ClusterFiles, program};

/// The superuser of the tests' servers, and its password.
pub(crate) const OWNER: [&str; 2] = ["hubbub", "owners-password"];

/// A Postgres server with files of its own. Dropping it kills the process and removes the files.
#[derive(Debug)]
pub struct Postgres {
    child: Option<Child>,
    port: u16,
    files: ClusterFiles,
    settings: Vec<String>,
}

impl Postgres {
    /// Its files survive a restart of the process, and no power cut: `fsync` is off.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Each commit is on the disk before it is answered.
    pub async fn durable() -> Self {
        Self::with(&["fsync = on", "full_page_writes = on"]).await
    }

    /// The same, with its files in this folder, which the user `postgres` must be able to reach.
    pub async fn durable_in(folder: &Path) -> Self {
        Self::prepared_in(folder, &["fsync = on", "full_page_writes = on"], |_| {}).await
    }

    /// It takes TLS, with this certificate for 127.0.0.1, beside plain connections.
    pub async fn certified(certificate: Certificate) -> Self {
        Self::prepared(&["ssl = on", "ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'"], |files| {
            certificate.write_into(files.data());
            files.give_away(&["server.pem", "server.key"]);
        })
        .await
    }

    /// With more lines in its configuration file. They win over the defaults.
    pub async fn with(settings: &[&str]) -> Self {
        Self::prepared(settings, |_| {}).await
    }

    async fn prepared(settings: &[&str], prepare: impl Fn(&ClusterFiles)) -> Self {
        Self::prepared_in(&env::temp_dir(), settings, prepare).await
    }

    async fn prepared_in(folder: &Path, settings: &[&str], prepare: impl Fn(&ClusterFiles)) -> Self {
        // Another process may take the port between the choice and the start; then another port is chosen.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
            let settings = settings.iter().map(|&line| line.to_owned()).collect();
            let mut postgres = Self { child: None, port, files: ClusterFiles::new(folder).await, settings };
            prepare(&postgres.files);
            if postgres.try_resume().await {
                return postgres;
            }
        }
        panic!("no Postgres could be started")
    }

    /// Creates an empty database that no other test uses, and returns its URL: `postgres://…`
    pub async fn database(&self) -> String {
        let name = unique("test").replace('-', "_");
        self.command("postgres", &format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// The URL of a database of this server, as its owner.
    pub fn url(&self, database: &str) -> String {
        let ([user, password], port) = (OWNER, self.port);
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server. Its connections have processes of their own.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// The certificate of the authority that signed its certificate, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.files.data().join("ca.pem")
    }

    /// Stops it as an operator would: connections are ended, and everything is written.
    pub async fn stop(&mut self) {
        signal(self.pid(), "INT").await;
        within(self.child.take().unwrap().wait()).await.unwrap();
    }

    /// Ends it at once, with all its connections.
    pub async fn kill(&mut self) {
        self.signal("KILL").await;
        within(self.child.take().unwrap().wait()).await.unwrap();
    }

    /// Sends a signal, for example `STOP`, to the server and to the processes of its connections.
    pub async fn signal(&self, name: &str) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        signal(pid, name).await;
        for child in children.split_whitespace() {
            // One that has ended meanwhile needs none.
            let mut kill = Command::new("kill");
            let _ended_or_not = within(kill.arg(format!("-{name}")).arg(child).stderr(Stdio::null()).status()).await;
        }
    }

    /// Starts it again on the same port and files.
    pub async fn resume(&mut self) {
        // What is left of a killed server holds the files for a moment.
        let started = tokio::time::Instant::now();
        while !self.try_resume().await {
            assert!(
                started.elapsed() < PATIENCE,
                "Postgres does not start on port {}: {}",
                self.port,
                self.files.log()
            );
        }
    }

    /// Starts it again if it has ended by itself.
    pub async fn revive(&mut self) {
        if self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
            self.resume().await;
        }
    }

    /// Runs a program of Postgres, for example `pg_dump`, on a database of this server.
    pub async fn tool(&self, name: &str, database_url: &str, arguments: &[&str]) {
        let mut tool = Command::new(program(name));
        tool.arg("--dbname").arg(database_url).args(arguments);
        let output = within(tool.kill_on_drop(true).output()).await.unwrap();
        assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The answer to a statement as the owner, one line a row, with `|` between the columns.
    pub async fn command(&self, database: &str, statement: &str) -> Vec<String> {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", statement]);
        let output = within(psql.kill_on_drop(true).output()).await.unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    async fn try_resume(&mut self) -> bool {
        let defaults = ["listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "max_connections = 60"];
        let fast = ["shared_buffers = 64MB", "fsync = off", "full_page_writes = off", "max_wal_size = 1GB"];
        let mut settings = vec![format!("port = {}", self.port)];
        settings.extend(defaults.into_iter().chain(fast).map(str::to_owned));
        settings.extend(self.settings.iter().cloned());
        self.files.configure(&settings.join("\n"));
        let mut child = self.files.server().kill_on_drop(true).spawn().unwrap();
        let answers = self.answers(&mut child).await;
        self.child = Some(child);
        answers
    }

    /// Waits until the process serves or has ended.
    async fn answers(&self, child: &mut Child) -> bool {
        let port = self.port.to_string();
        let (answers, _) = eventually(PATIENCE, || {
            let ended = child.try_wait().unwrap().is_some();
            let mut ready = Command::new(program("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            async move { (ended || within(ready.status()).await.unwrap().success()).then_some(!ended) }
        })
        .await;
        answers
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The processes of its connections see that it is gone, and end too.
        drop(self.child.take());
        self.files.remove();
    }
}
