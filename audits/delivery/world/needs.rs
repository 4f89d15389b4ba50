//! What a world has to have for a kind of fault.

/// What keeps the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// One Redis with an append-only file, and a proxy between it and each instance.
    Redis,
    /// A primary and a replica under a Sentinel, where the instances look up the primary.
    Sentinel,
    /// A file in the data folder of a single instance.
    File,
}

/// Who records the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorders {
    /// The instances.
    Inside,
    /// So many processes that do nothing else.
    Apart(usize),
    /// The instances, and so many processes that do nothing else and ignore the lease.
    Forced(usize),
}

impl Recorders {
    /// How many processes do nothing else.
    pub(crate) const fn apart(self) -> usize {
        match self {
            Self::Inside => 0,
            Self::Apart(count) | Self::Forced(count) => count,
        }
    }
}

/// The disk with the data folder, or with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// The one that everything is on.
    Common,
    /// A small one of its own.
    Small,
}

/// What a world has to have for a kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) storage: Storage,
    pub(crate) recorders: Recorders,
    pub(crate) disk: Disk,
    /// Messages that the log keeps, if it is another number than that of the audit.
    pub(crate) retention: Option<usize>,
}

impl Needs {
    /// Nothing special.
    pub(crate) const USUAL: Self =
        Self { storage: Storage::Redis, recorders: Recorders::Inside, disk: Disk::Common, retention: None };
}
