//! The file in which a running instance says where it listens, so that `hubbub health` finds it.
//!
//! Each instance has a file of its own, in a directory that only its user can write to. The instance holds a lock on the
//! file as long as it runs: a file without a lock belongs to an instance that was killed.

use std::{
    env, fs,
    fs::{DirBuilder, File, TryLockError},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use tracing::info;

/// The variable that gives an instance its address, unless an option does.
const LISTEN: &str = "HUBBUB_LISTEN";
/// Memory that everybody may write to, also in a container whose root is read-only.
const SHARED_MEMORY: &str = "/dev/shm";
/// Upper bound for the files of a directory that are read, and for the bytes of each.
const MAX_FILES: usize = 1024;
const MAX_BYTES: u64 = 256;

/// Where an instance listens, and what `HUBBUB_LISTEN` was when it started.
struct Running {
    address: SocketAddr,
    variable: String,
}

/// The file of this process. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct AddressFile {
    path: PathBuf,
    _locked: File,
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        // A file that stays counts no more without its lock.
        let _removed = fs::remove_file(&self.path);
    }
}

/// Writes the file of this instance. Without one, `hubbub health` needs the option `--listen`.
pub(crate) fn announce(address: SocketAddr) -> Option<AddressFile> {
    let text = format!("{address}\n{}\n", listen_variable());
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for directory in directories() {
        outcome = write(&directory, &text);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
        .inspect_err(|error| info!(%error, "no file can be written for `hubbub health`, which now needs --listen"))
        .ok()
}

/// Where the instances of this user listen that were started with this value of `HUBBUB_LISTEN`. The first directory that
/// has any counts.
pub(crate) fn addresses(variable: &str) -> Vec<SocketAddr> {
    let same_variable = |directory: PathBuf| -> Vec<SocketAddr> {
        let same = running(&directory).into_iter().filter(|running| running.variable == variable);
        same.map(|running| running.address).collect()
    };
    directories().into_iter().map(same_variable).find(|addresses| !addresses.is_empty()).unwrap_or_default()
}

/// The instances that have a file in this directory. Removes the files of those that were killed.
fn running(directory: &Path) -> Vec<Running> {
    let entries = fs::read_dir(directory).ok().filter(|_| is_own(directory)).into_iter().flatten().flatten();
    entries.take(MAX_FILES).filter_map(|entry| read(&entry.path())).collect()
}

/// `HUBBUB_LISTEN`; empty if it is not set.
pub(crate) fn listen_variable() -> String {
    env::var(LISTEN).unwrap_or_default().trim().to_owned()
}

/// Where the files may be. An instance takes the first that it can write to.
fn directories() -> Vec<PathBuf> {
    let name = format!("hubbub-{}", rustix::process::geteuid().as_raw());
    let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut parents: Vec<_> = runtime.into_iter().chain([SHARED_MEMORY.into(), env::temp_dir()]).collect();
    parents.dedup();
    parents.into_iter().map(|parent| parent.join(&name)).collect()
}

fn write(directory: &Path, text: &str) -> io::Result<AddressFile> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ if !is_own(directory) => return Err(io::ErrorKind::PermissionDenied.into()),
        _ => (),
    }
    let _others = running(directory);
    let name = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
    let (path, unfinished) = (directory.join(&name), directory.join(format!(".{name}")));
    let mut file = File::create_new(&unfinished)?;
    // Whoever finds the file finds it complete and locked.
    let written = file.try_lock().map_err(io::Error::from).and_then(|()| file.write_all(text.as_bytes()));
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, &path)) {
        let _removed = fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok(AddressFile { path, _locked: file })
}

/// Whether it is a directory, not a link to one, that no other user can write to.
fn is_own(directory: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(directory) else { return false };
    metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

/// What the file says, if its instance runs. Removes the file if not.
fn read(path: &Path) -> Option<Running> {
    if path.file_name()?.to_str()?.starts_with('.') {
        return None;
    }
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => (),
        Err(TryLockError::Error(_)) => return None,
        Ok(()) => {
            let _removed = fs::remove_file(path);
            return None;
        }
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    Some(Running { address: lines.next()?.parse().ok()?, variable: lines.next()?.to_owned() })
}
