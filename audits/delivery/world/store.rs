//! The processes that keep the log.

use anyhow::{Result, bail};
use hubbub_testbed::{Redis, Sentinel};

use super::needs::Storage;

/// The processes that keep the log.
pub(crate) enum Store {
    Redis(Box<Redis>),
    Sentinel(Box<Sentinel>),
    /// The instance itself.
    File,
}

impl Store {
    pub(crate) async fn start(storage: Storage) -> Self {
        match storage {
            Storage::Redis => Self::Redis(Box::new(Redis::persistent().await)),
            Storage::Sentinel => Self::Sentinel(Box::new(Sentinel::start().await)),
            Storage::File => Self::File,
        }
    }

    /// The server that takes writes, if it is one.
    pub(crate) fn primary(&self) -> Option<&Redis> {
        match self {
            Self::Redis(redis) => Some(redis),
            Self::Sentinel(sentinel) => Some(sentinel.primary()),
            Self::File => None,
        }
    }

    /// The Redis that is alone.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(crate) fn alone(&mut self) -> Result<&mut Redis> {
        match self {
            Self::Redis(redis) => Ok(redis),
            Self::Sentinel(_) | Self::File => bail!("this world has no Redis that is alone"),
        }
    }

    /// The Sentinel.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn sentinel(&mut self) -> Result<&mut Sentinel> {
        match self {
            Self::Sentinel(sentinel) => Ok(sentinel),
            Self::Redis(_) | Self::File => bail!("this world has no Sentinel"),
        }
    }
}
