//! Programs that cargo has built, signals, and names that no other test process uses.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use hubbub_protocol::RoomId;
use tokio::process::Command;

/// A room name that no other test uses.
pub fn room() -> RoomId {
    unique("room").parse().unwrap()
}

/// A name that is unique in all test processes.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Sends a signal, for example `TERM`, to a process started here.
pub async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    assert!(status.await.unwrap().success(), "kill -{name} {pid}");
}

/// The server that cargo has built beside this program.
pub fn program() -> PathBuf {
    binaries().join("hubbub")
}

/// Where cargo puts the binaries of the profile that this one was built with.
fn binaries() -> PathBuf {
    let running = env::current_exe().unwrap();
    let folder = running.parent().unwrap();
    // Tests and benches lie in `deps`, examples in `examples`, both below it.
    let is_below = folder.ends_with("deps") || folder.ends_with("examples");
    if is_below { folder.parent().unwrap() } else { folder }.to_owned()
}

/// A new directory for the files of one process. It is not removed automatically.
pub fn scratch(what: &str) -> PathBuf {
    let directory = binaries().with_file_name("tmp").join(unique(what));
    fs::create_dir_all(&directory).unwrap();
    directory
}
