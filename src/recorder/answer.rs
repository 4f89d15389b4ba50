//! The answer of the database has a deadline, whatever the store does.

use std::time::Duration;

use futures_util::future::BoxFuture;
use hubbub_messenger::StoreError;
use tokio::time::timeout;

/// How long one call to the database may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The answer, or that there was none in time.
pub(crate) async fn within<T>(answer: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Passing(format!("no answer within {} s", DEADLINE.as_secs()));
    timeout(DEADLINE, answer).await.unwrap_or_else(|_| Err(late()))
}
