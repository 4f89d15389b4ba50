//! What can be set.

use std::time::Duration;

/// Settings of a recorder.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecorderOptions {
    /// Log and database lie in one data folder that this process has locked: no other cluster can use either.
    pub own_folder: bool,
    /// How long messages are kept. Default: for ever.
    pub keep: Option<Duration>,
}
