//! What a store of the log must do, so that the relay need not know whether it is Redis or this process.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use hubbub_protocol::{Count, Seq};

use crate::ring::Marker;

/// The sequenced log, its channel and the census behind them.
///
/// Every call ends in bounded time, with an error if need be, and may be repeated: an append is idempotent by key, a
/// report by its number. The relay never drops a call's future before it has ended.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Appends a batch in order and publishes what was new, if the log is the one that the writer knows. Idempotent by
    /// key. The log keeps its newest `capacity` entries, or somewhat more.
    fn append<'a>(
        &'a self,
        known: Known,
        capacity: usize,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<Receipt, BackendError>>;

    /// One atomic picture of the log behind a reader's position. Opens an epoch when the log or its meta is gone, when
    /// the store is not the process that opened the last one, or when the reader has seen more than the store has.
    fn sync(&self, position: Position) -> BoxFuture<'_, Result<Snapshot, BackendError>>;

    /// Publishes an ephemeral payload on the channel.
    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Reports one instance's connections; the channel hears of it if it changes anything.
    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<Tally, BackendError>>;

    /// What happens on the channel from now on. Called once, before anything else.
    fn events(&self) -> BoxStream<'static, Event>;

    /// Leaves the channel and ends the connections. Nothing is called afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A publish has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The place.
    pub seq: Seq,
    /// It was there already: the same sender had published the same id before.
    pub duplicate: bool,
}

/// How long the census counts an instance that has stopped reporting.
pub(crate) const CENSUS_LEASE: Duration = Duration::from_secs(3);

/// A message on its way into the log.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What makes a repetition recognisable: `<user.id>:<message id>`.
    pub key: Arc<str>,
    /// The record as JSON, without a raw newline.
    pub record: Bytes,
    /// The place it had before the log lost it, or 0.
    pub was: Seq,
}

/// What a writer knows of the log. One that is not so has lost something: nothing may be written before that is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Base of the open epoch.
    pub epoch: Seq,
    /// A place that has been given out.
    pub last: Seq,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Each submission has its place.
    Placed(Vec<Appended>),
    /// Another epoch is open, or none, or the log ends before what the writer knows: nothing was written.
    Fenced,
}

/// Where a reader of the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last place it walked, 0 for none.
    pub last: Seq,
    /// The lowest cursor that what it holds can complete; None when it holds nothing.
    pub low: Option<Seq>,
    /// How many entries it takes at once.
    pub count: usize,
}

/// The log behind a position.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Base of the open epoch.
    pub base: Seq,
    /// The last place given out.
    pub seq: Seq,
    /// The latest markers, ascending, whether the log still has them or not.
    pub markers: Vec<Marker>,
    /// The entries above the position, ascending.
    pub entries: Vec<LogEntry>,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// A message.
    Message {
        /// Its place.
        seq: Seq,
        /// The place it had before, or 0.
        was: Seq,
        /// Its record as JSON.
        record: Bytes,
    },
    /// An epoch opened.
    Marker(Marker),
}

/// What one instance has to say about its connections.
#[derive(Clone, Debug)]
pub struct Report {
    /// The instance, unique to the start of its process.
    pub instance: Arc<str>,
    /// Grows with each report, so that a repeated older one changes nothing.
    pub number: u64,
    /// Its connections; None: it leaves.
    pub connections: Option<u64>,
}

/// The census at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Grows with each change.
    pub version: u64,
    /// The count itself.
    pub count: Count,
}

/// What the channel has for a subscriber.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something was published.
    Push(Bytes),
    /// The subscription stands, confirmed: pushes from here on arrive. Before it some may have been missed.
    Reconnected,
    /// This subscriber was too slow; pushes are missing.
    Lagged,
    /// The connection is gone. [`Reconnected`](Self::Reconnected) follows when it is back.
    Lost(String),
}

/// The store did not do what it was asked to, or did not answer. Whatever it was may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be reached: {0}")]
pub struct BackendError(pub String);
