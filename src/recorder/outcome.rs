//! How a round of the task ends.

use std::time::Duration;

use hubbub_log::BackendError;
use hubbub_messenger::StoreError;
use hubbub_protocol::Seq;

/// Why a round has ended early.
#[derive(Debug)]
pub(crate) enum Trouble {
    Log(BackendError),
    Database(StoreError),
}

impl From<BackendError> for Trouble {
    fn from(error: BackendError) -> Self {
        Self::Log(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Database(error)
    }
}

/// When the next round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Now,
    /// When the log has something above this `seq`, at the latest after a tick.
    Growth(Seq),
    After(Duration),
    /// Never.
    End,
}
