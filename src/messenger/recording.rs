//! What a recorder is doing, as health and metrics tell it.

/// A recorder that lacks more events than this is called behind.
const BEHIND: u64 = 10_000;

/// What the recorder of this instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingState {
    /// It has not reached the log and the database yet.
    Starting,
    /// It records.
    Recording {
        /// Events of the log that are not in the database yet.
        behind: u64,
    },
    /// Another instance records.
    Standby,
    /// The database does not answer, or refuses everything. The log keeps what is not recorded.
    DatabaseAway,
    /// The database has less than it had: it was restored, or a replica that lagged has taken over. Nothing is recorded
    /// until `hubbub restored` has run.
    WentBack,
    /// The database records another log, of which nobody has shown yet whether it is still in use.
    OtherLog,
    /// The database records another log that is in use: two clusters have one database. The recorder has ended.
    TwoClusters,
    /// The next event of the log is of a kind that only a newer release knows. Another instance may record it.
    UnknownKind,
}

impl RecordingState {
    /// Its name, for whoever runs the server.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recording { behind } if behind > BEHIND => "behind",
            Self::Recording { .. } => "recording",
            Self::Standby => "standby",
            Self::DatabaseAway => "database away",
            Self::WentBack => "database went back",
            Self::OtherLog => "other log",
            Self::TwoClusters => "two clusters",
            Self::UnknownKind => "unknown kind",
        }
    }
}
