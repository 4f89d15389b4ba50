//! The data folder of an instance: one process at a time uses it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::info;

/// The file that is locked. It stays when the process ends.
const LOCK_FILE: &str = "lock";
/// Pause between two attempts to lock.
const PAUSE: Duration = Duration::from_millis(100);

/// A folder that this process uses alone, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    _lock: File,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// Another process has it.
    #[error("another process uses the data folder {}: stop it, or set --data to another folder", .0.display())]
    Taken(PathBuf),
    /// It cannot be made or written.
    #[error("the data folder {} cannot be used: {source}. Make it writable for this user, or set --data to another folder or to none", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataFolder {
    /// Makes the folder, if it is missing, and locks it. Waits at most `patience` for another process that has it.
    ///
    /// # Errors
    ///
    /// [`DataFolderError`]. Cancel safe.
    pub(crate) async fn lock(path: &Path, patience: Duration) -> Result<Self, DataFolderError> {
        let unusable = |source| DataFolderError::Unusable { path: path.to_owned(), source };
        let file = Self::lock_file(path).map_err(unusable)?;
        let until = Instant::now() + patience;
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _lock: file }),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(DataFolderError::Taken(path.to_owned()));
                }
                Err(TryLockError::WouldBlock) => (),
                Err(TryLockError::Error(source)) => return Err(unusable(source)),
            }
            if !is_told {
                info!(folder = %path.display(), ?patience, "waiting: another process uses the data folder");
                is_told = true;
            }
            sleep(PAUSE).await;
        }
    }

    fn lock_file(path: &Path) -> io::Result<File> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK_FILE))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_folder_is_made_for_its_user_alone_and_locked() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("deep/data");
        let folder = DataFolder::lock(&path, Duration::ZERO).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = DataFolder::lock(&path, Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("another process uses the data folder") && error.contains("deep/data"), "{error}");
        drop(folder);
        DataFolder::lock(&path, Duration::ZERO).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_the_process_that_ends() {
        let parent = TempDir::new().unwrap();
        let first = DataFolder::lock(parent.path(), Duration::ZERO).await.unwrap();
        let path = parent.path().to_owned();
        let mut second = Box::pin(DataFolder::lock(&path, Duration::from_secs(9)));
        assert!(timeout(Duration::from_secs(5), &mut second).await.is_err(), "it waits");
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn a_file_in_place_of_the_folder_is_named_in_the_error() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        fs::write(&path, "").unwrap();
        let error = DataFolder::lock(&path, Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("cannot be used") && error.contains("--data"), "{error}");
    }
}
