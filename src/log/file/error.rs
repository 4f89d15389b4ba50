//! What can be wrong with the file of a log, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The file of a log cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The path names a folder.
    #[error("{} is a folder, and a file is needed: choose another path", .0.display())]
    Folder(PathBuf),
    /// Another process has it open.
    #[error("{} is in use by another process: stop that process, or choose another folder", .0.display())]
    Locked(PathBuf),
    /// This process may not write to it, or to its folder.
    #[error("{} cannot be written: let this user write to the file and to its folder", .0.display())]
    ReadOnly(PathBuf),
    /// Its disk is full.
    #[error("no room is left for {}: make room on its disk", .0.display())]
    Full(PathBuf),
    /// Its content makes no sense.
    #[error("{} is damaged ({reason}): restore a backup, or move the file away and begin with an empty log", .0.display(), reason = .1)]
    Damaged(PathBuf, String),
    /// A later release has written it.
    #[error("{} was written by a later release (format {found}, this one knows {known}): start that release", .0.display(), found = .1, known = .2)]
    Newer(PathBuf, i64, i64),
    /// It is a database of something else.
    #[error("{} belongs to another program: choose another path", .0.display())]
    Foreign(PathBuf),
    /// Anything else.
    #[error("{} cannot be used: {reason}", .0.display(), reason = .1)]
    Other(PathBuf, String),
}

impl FileError {
    /// What SQLite says about the file at this path.
    pub(super) fn of(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        // the lowest byte is the kind of the error, the others tell more: https://www.sqlite.org/rescode.html
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Locked(path),
            Some(3 | 8 | 14) => Self::ReadOnly(path),
            Some(11 | 26) => Self::Damaged(path, reason(error)),
            Some(13) => Self::Full(path),
            _ => Self::Other(path, reason(error)),
        }
    }

    /// What the system says about the file at this path.
    pub(super) fn of_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            _ => Self::Other(path, error.to_string()),
        }
    }
}

fn reason(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
