//! A handle to the database.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use hubbub_messenger::StoreError;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{
    engine::{self, Engine},
    fault::Fault,
    open_error::OpenError,
    options::DatabaseOptions,
    schema::Migrated,
    url::DatabaseUrl,
};

/// How long a migration waits for the connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// The database. Clones are handles to the same connections.
///
/// Each call runs to its end, also if its caller does not wait for it: a dropped transaction would leave its connection
/// in an unknown state.
#[derive(Clone)]
pub struct Database {
    pub(crate) engine: Arc<Engine>,
    calls: TaskTracker,
    limit: Duration,
    url: DatabaseUrl,
}

impl Database {
    /// Connects, and brings the schema up to date if the options say so.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. The caller may try again if it [is passing](OpenError::is_passing).
    pub async fn open(url: &DatabaseUrl, options: DatabaseOptions) -> Result<Self, OpenError> {
        let engine = Arc::new(Engine::open(&url.0, &options).await?);
        // One use of a connection after the wait for it.
        let limit = engine::longest_use(options.statement_timeout).saturating_add(options.statement_timeout);
        Ok(Self { engine, calls: TaskTracker::new(), limit, url: url.clone() })
    }

    /// Brings the schema up to date, and closes the database again.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Nothing of a migration that failed is kept.
    pub async fn migrate(url: &DatabaseUrl) -> Result<Migrated, OpenError> {
        engine::migrate(&url.0, true, CONNECT_PATIENCE).await
    }

    /// Waits for the calls that run, and closes the connections. Later calls fail.
    pub async fn close(&self) {
        self.calls.close();
        self.calls.wait().await;
        self.engine.close().await;
    }

    /// Runs a call to its end. The caller waits for a limited time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match timeout(self.limit, self.calls.spawn(call)).await {
            Ok(Ok(outcome)) => outcome.map_err(Fault::sort),
            Ok(Err(_)) => Err(StoreError::Passing("the call has failed in this process".to_owned())),
            Err(_) => Err(StoreError::Passing(format!("no answer in {:?}", self.limit))),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.url).finish()
    }
}
