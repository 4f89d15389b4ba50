//! A program that runs, and is started again when a fault has ended it.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use hubbub_testbed::Server;
use tokio::sync::Mutex;

/// A program with its flags, whichever process runs it.
pub(crate) struct Process {
    pub(crate) name: String,
    /// Held while a fault is done to the process.
    pub(crate) server: Mutex<Server>,
    program: PathBuf,
    flags: Vec<String>,
    log: PathBuf,
}

impl Process {
    /// Starts it. Returns when it is ready.
    pub(crate) async fn start(name: &str, program: &Path, mut flags: Vec<String>, directory: &Path) -> Self {
        let server = launch(program, &flags).await;
        // each later one takes the same address
        flags.extend(["--listen".to_owned(), server.address().to_owned()]);
        let log = directory.join(name).with_extension("log");
        Self { name: name.to_owned(), server: Mutex::new(server), program: program.to_owned(), flags, log }
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

    /// The last process ends. What was wrong with it.
    pub(crate) async fn end(&self) -> Vec<String> {
        let mut server = self.server.lock().await;
        let lived = self.lives(&mut server);
        server.kill().await;
        let outcomes = [lived, self.require_no_panic(&server)];
        outcomes.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    }

    /// Keeps the log of a process that has ended.
    ///
    /// # Errors
    ///
    /// It had panicked.
    fn require_no_panic(&self, server: &Server) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.log).context("the log of a process")?;
        let lines = server.log();
        for line in &lines {
            writeln!(file, "{line}").context("the log of a process")?;
        }
        writeln!(file, "--- the process has ended").context("the log of a process")?;
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
