//! The folder in which an instance keeps its log and its history. One process at a time uses it.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::info;

/// The file in the folder that is locked.
const LOCK: &str = "lock";
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A folder that this process has for itself until this is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    _lock: File,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// The path names something else.
    #[error("{} is not a folder: choose another one with --data", .0.display())]
    NotAFolder(PathBuf),
    /// This process may not write there.
    #[error("{} cannot be written: let this user write to it, or choose another folder with --data", .0.display())]
    ReadOnly(PathBuf),
    /// Another process has it.
    #[error("{} is in use by another process: stop that process, or choose another folder with --data", .0.display())]
    InUse(PathBuf),
    /// Anything else.
    #[error("{} cannot be used: {}", .0.display(), .1)]
    Other(PathBuf, io::Error),
}

impl DataFolder {
    /// Makes the folder if there is none, for this user only, and locks it. Waits up to `patience` for another process that
    /// has it. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DataFolderError`], which names the folder and says what to do.
    pub(crate) async fn lock(path: &Path, patience: Duration) -> Result<Self, DataFolderError> {
        let explain = |error| DataFolderError::of(path, error);
        let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
        if path.exists() && !path.is_dir() {
            return Err(DataFolderError::NotAFolder(path.to_owned()));
        }
        made.map_err(explain)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(explain)?;
        let (until, mut is_waiting) = (Instant::now() + patience, false);
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { _lock: lock }),
                Err(TryLockError::Error(error)) => return Err(explain(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(DataFolderError::InUse(path.to_owned()));
                }
                Err(TryLockError::WouldBlock) if is_waiting => (),
                Err(TryLockError::WouldBlock) => {
                    is_waiting = true;
                    info!(folder = %path.display(), "waiting: another process still uses the data folder");
                }
            }
            sleep(PAUSE).await;
        }
    }
}

impl DataFolderError {
    fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::NotADirectory => Self::NotAFolder(path),
            _ => Self::Other(path, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use futures_util::poll;
    use tempfile::tempdir;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// What the error says, which must name the folder.
    async fn refused(path: &Path) -> DataFolderError {
        let error = DataFolder::lock(path, Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        error
    }

    #[tokio::test]
    async fn a_folder_is_made_for_this_user_only_and_used_by_one_at_a_time() {
        let parent = tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataFolder::lock(&path, LONG).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = refused(&path).await;
        assert!(matches!(error, DataFolderError::InUse(_)), "{error}");
        drop(first);
        DataFolder::lock(&path, Duration::ZERO).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_second_waits_until_the_first_is_gone() {
        let folder = tempdir().unwrap();
        let first = DataFolder::lock(folder.path(), LONG).await.unwrap();
        let mut second = Box::pin(DataFolder::lock(folder.path(), LONG));
        assert!(poll!(&mut second).is_pending());
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_told_so() {
        let folder = tempdir().unwrap();
        let _first = DataFolder::lock(folder.path(), LONG).await.unwrap();
        let began = Instant::now();
        let error = DataFolder::lock(folder.path(), LONG).await.unwrap_err();
        assert!(matches!(error, DataFolderError::InUse(_)), "{error}");
        assert!(began.elapsed() >= LONG);
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_a_folder_is_an_error_that_says_why() {
        let parent = tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = refused(&path).await;
            assert!(matches!(error, DataFolderError::NotAFolder(_)), "{error:?}");
        }
        // nobody may make a folder here, not even root
        let error = refused(Path::new("/sys/hubbub")).await;
        assert!(matches!(error, DataFolderError::ReadOnly(_)), "{error:?}");
    }
}
