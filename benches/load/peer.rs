//! Other servers, which `benches/peers/launch` installs and starts.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use hubbub_testbed::Redis;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::subject::Subject;

/// Installs and starts them.
const LAUNCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/launch");
/// By then a server listens.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The last lines of a failed installation, which name the cause.
const REASON_LINES: usize = 3;

/// A running server. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Served {
    /// Where it listens.
    pub(crate) address: String,
    /// Its process.
    pub(crate) pid: u32,
    _child: Child,
    _log: AbortOnDropHandle<()>,
}

/// Installs a server below the target directory, unless it is there.
///
/// # Errors
///
/// The reason that the installer gave.
pub(crate) async fn install(subject: Subject) -> Result<()> {
    let done = launch("install", subject)?.output().await.context(LAUNCH)?;
    let printed = String::from_utf8_lossy(&done.stderr);
    let mut last: Vec<_> = printed.lines().rev().filter(|line| !line.trim().is_empty()).take(REASON_LINES).collect();
    last.reverse();
    ensure!(done.status.success(), "cannot be installed: {}", last.join(" | "));
    Ok(())
}

/// Starts a server and waits until it prints its address.
///
/// # Errors
///
/// It ended, or did not print it in time.
pub(crate) async fn serve(subject: Subject, redis: Option<&Redis>) -> Result<Served> {
    let mut command = launch("serve", subject)?;
    if let Some(redis) = redis {
        command.env("REDIS_URL", redis.url());
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().context(LAUNCH)?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let address = timeout(START_LIMIT, address(&mut lines)).await.context("does not print its address")??;
    let pid = child.id().context("ended")?;
    let log = TaskTracker::new().spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Served { address, pid, _child: child, _log: AbortOnDropHandle::new(log) })
}

async fn address(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    loop {
        let line = lines.next_line().await?.context("ended before it listened")?;
        if let Some((_, address)) = line.split_once("ws://") {
            return Ok(address.trim().to_owned());
        }
    }
}

fn launch(action: &str, subject: Subject) -> Result<Command> {
    let mut command = Command::new(LAUNCH);
    command.arg(action).arg(directory()?).arg(subject.name());
    Ok(command)
}

/// `peers` in cargo's target directory: above the profile's and its `deps`, where this program lies.
fn directory() -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(3).context("not started by cargo")?.join("peers"))
}
