//! A small disk in memory that can be filled. It takes the right to mount.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use hubbub_testbed::unique;

/// How large it is: a new database of Postgres takes a third of it.
const SIZE: &str = "96m";
/// What is written at once to fill it.
static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];

/// A file system of its own. Dropping it unmounts it, whoever uses it still.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it where every user can reach it.
    ///
    /// # Errors
    ///
    /// This user may not mount.
    pub(crate) fn mount() -> Result<Self> {
        let folder = env::temp_dir().join(unique("hubbub-disk"));
        fs::create_dir(&folder).context("a folder for a disk")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=777"), "tmpfs"]).arg(&folder);
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        let disk = Self { folder };
        ensure!(is_mounted, "this user may not mount a disk");
        Ok(disk)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes what is free.
    ///
    /// # Errors
    ///
    /// Something else than that there is no more.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.filler()).context("the filler")?;
        loop {
            match filler.write_all(&PIECE) {
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("the filler"),
            }
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    ///
    /// The file that filled it cannot be removed.
    pub(crate) fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("the filler")
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        let _mounted_or_not = unmount.arg("--lazy").arg(&self.folder).stderr(Stdio::null()).status();
        let _empty_or_not = fs::remove_dir(&self.folder);
    }
}
