//! The files of one server: a copy of a template that is made once, for `initdb` takes a second.
//!
//! Postgres does not run as root. A test that does runs it as the user `postgres`, who must be able to reach the files:
//! so they lie in the folder for temporary files.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::OWNER;
use crate::process::{scratch, unique};

/// `initdb` writes a thousand files, which takes long on a busy machine.
const PREPARATION: Duration = Duration::from_secs(150);

/// The folder of one server.
#[derive(Debug)]
pub(crate) struct ClusterFiles {
    data: PathBuf,
    log: PathBuf,
}

impl ClusterFiles {
    /// Of a server without databases, in this folder.
    pub(crate) async fn new(folder: &Path) -> Self {
        let scratch = scratch("postgres");
        let template = template(&scratch.with_file_name("postgres-template")).await;
        let data = folder.join(unique("hubbub-postgres"));
        run(Command::new("cp").arg("-a").arg(template).arg(&data)).await;
        Self { log: scratch.join("postgres.log"), data }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Its settings for the next start.
    pub(crate) fn configure(&self, settings: &str) {
        fs::write(self.data.join("postgresql.auto.conf"), settings).unwrap();
    }

    /// Makes the server the owner of these files in its folder, and nobody else able to read them.
    pub(crate) fn give_away(&self, names: &[&str]) {
        let owner = fs::metadata(&self.data).unwrap();
        for name in names {
            let file = self.data.join(name);
            let mut permissions = fs::metadata(&file).unwrap().permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
            fs::set_permissions(&file, permissions).unwrap();
            std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    /// The server on these files.
    pub(crate) fn server(&self) -> Command {
        let mut command = as_server("postgres");
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        command.arg("-D").arg(&self.data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Removes the files, as far as the server does not write them now.
    pub(crate) fn remove(&self) {
        let _gone_or_not = fs::remove_dir_all(&self.data);
        let _gone_or_not = fs::remove_dir_all(self.log.parent().unwrap());
    }
}

/// A program of Postgres. Debian does not put them in the path.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

/// A program that runs as the user of the server.
fn as_server(name: &str) -> Command {
    if !is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program(name));
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The files of a server that has never run. Whoever comes first makes them.
async fn template(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let version = program("postgres").parent().and_then(Path::parent).and_then(Path::file_name).map(ToOwned::to_owned);
    let template = folder.join(version.unwrap_or_default()).join("data");
    if !template.exists() {
        initialise(&template).await;
    }
    template
}

async fn initialise(template: &Path) {
    let fresh = env::temp_dir().join(unique("hubbub-postgres-new"));
    let mut folder = Command::new("install");
    folder.args(["-d", "-m", "700"]);
    if is_root() {
        folder.args(["-o", "postgres", "-g", "postgres"]);
    }
    run(folder.arg(&fresh)).await;
    let password = env::temp_dir().join(unique("hubbub-postgres-password"));
    fs::write(&password, OWNER[1]).unwrap();
    let mut command = as_server("initdb");
    command.arg("-D").arg(&fresh).arg(format!("--pwfile={}", password.display())).args(["-U", OWNER[0]]);
    run(command.args(["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"])).await;
    fs::remove_file(password).unwrap();
    fs::create_dir_all(template.parent().unwrap()).unwrap();
    // In two steps, so that half a template is never taken for one.
    let moved = template.with_file_name(unique("moved"));
    run(Command::new("mv").arg(&fresh).arg(&moved)).await;
    fs::rename(moved, template).unwrap();
}

async fn run(command: &mut Command) {
    let output = timeout(PREPARATION, command.output()).await.unwrap_or_else(|_| panic!("{command:?}: no end"));
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; see `make setup`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
