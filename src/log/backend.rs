//! What a store of the log must do, so that the relay need not know whether it is Redis or this process.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use hubbub_protocol::{Count, Seq, UnixMillis};

use crate::{
    first_place::{first_place, with_first_place},
    identity::{ContentHash, Identity},
    kind::Kind,
    marker::Marker,
};

/// How long the right to record the log lasts without being renewed.
pub const RECORDING_LEASE: Duration = Duration::from_secs(5);

/// How long the census counts an instance that has stopped reporting.
pub(crate) const CENSUS_LEASE: Duration = Duration::from_secs(3);

/// A store of the sequenced log, its channel and the census.
///
/// Every call ends in bounded time, with an error if need be. Every call may be repeated: the key of a submission and
/// the number of a report make a repetition harmless. The futures are not cancel safe: the relay polls each to its end.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Appends a batch in order and publishes the new messages on the channel. A submission whose key is known already
    /// is not published: it gets its first `seq` again if it says the same, and is refused otherwise. A re-appended
    /// message is never refused. Afterwards the log holds its newest entries, as many as `bounds` say, or somewhat more.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the store did not answer or refused; the batch may have been written all the same.
    fn append<'a>(
        &'a self,
        fence: Fence,
        bounds: LogBounds,
        batch: &'a [Submission],
    ) -> BoxFuture<'a, Result<AppendOutcome, BackendError>>;

    /// Reads one atomic snapshot of the log above a `seq`. Opens an epoch first when the log or its meta data are gone,
    /// when the store is another process than the one that opened the last epoch, or when the reader is ahead of it.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the store did not answer or refused.
    fn sync(&self, request: SyncRequest) -> BoxFuture<'_, Result<Snapshot, BackendError>>;

    /// Takes, renews or gives up the right to record this log, and notes how far it is recorded. One holder at a time
    /// gets the right. It is for economy only: what is recorded once is decided in the database.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the store did not answer or refused.
    fn lease<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Lease, BackendError>>;

    /// Sets how far the log is recorded, also to less than before: a database was restored. Of more than the log has, only
    /// what it has counts.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the store did not answer or refused.
    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Publishes an ephemeral payload on the channel.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the payload may not have been published.
    fn announce(&self, payload: Bytes) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Records one instance's connections in the census, publishes the count on the channel if that changed it, and
    /// returns it.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the store did not answer or refused.
    fn report<'a>(&'a self, report: &'a Report) -> BoxFuture<'a, Result<VersionedCount, BackendError>>;

    /// The events of the channel from now on. Called once, before anything else.
    fn events(&self) -> BoxStream<'static, Event>;

    /// Unsubscribes and closes the connections. Nothing is called afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What the log has done with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It is appended, at this `seq`.
    Appended(Seq),
    /// The log had it already, at this `seq`: the same sender has said the same in this room under this id.
    Duplicate(Seq),
    /// It is refused: its id names another message of this sender in this room, the one at this `seq`.
    IdReused(Seq),
}

impl Placement {
    /// The `seq` of the message that the id names.
    pub const fn seq(self) -> Seq {
        match self {
            Self::Appended(seq) | Self::Duplicate(seq) | Self::IdReused(seq) => seq,
        }
    }
}

/// An event on its way into the log.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What it is.
    pub kind: Kind,
    /// Identifies the message, so that the log recognises a repetition: `<from.id>:<room>:<id>`.
    pub key: Arc<str>,
    /// Tells a repetition from another message under the same id.
    pub hash: ContentHash,
    /// The record as JSON, without a raw newline.
    pub record: Bytes,
    /// The former `seq` of a re-appended message, or 0.
    pub was: Seq,
    /// When it was accepted, by the clock of the accepting instance.
    pub at: UnixMillis,
}

impl Submission {
    /// The record of a message as the log takes it. None: it cannot be read.
    pub fn new(record: impl Into<Bytes>, was: Seq, at: UnixMillis) -> Option<Self> {
        Self::of_kind(Kind::Message, record, was, at)
    }

    /// The record of an event as the log takes it. None: it cannot be read.
    pub fn of_kind(kind: Kind, record: impl Into<Bytes>, was: Seq, at: UnixMillis) -> Option<Self> {
        let record = record.into();
        let Identity { key, hash } = Identity::of(kind.name(), std::str::from_utf8(&record).ok()?)?;
        Some(Self { kind, key, hash, record, was, at })
    }

    /// The same event, to be appended again because the log has lost it at this `seq`.
    pub(crate) fn lost_at(self, seq: Seq) -> Self {
        Self { record: with_first_place(self.record, self.was, seq), was: seq, ..self }
    }
}

/// What a writer knows about the log. An append to a log that does not match it writes nothing: such a log has lost
/// something, and readers must notice that first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Base of the epoch that must be open.
    pub epoch: Seq,
    /// A `seq` that has been given out: the log must not end below it.
    pub last: Seq,
}

/// The result of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// One placement for each submission, in order.
    Placed(Vec<Placement>),
    /// The log does not match the [`Fence`]: nothing was written.
    Fenced,
    /// Too much waits for the recorder, and the batch has something new: nothing was written.
    Full,
}

/// How much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Entries that are kept.
    pub entries: usize,
    /// What may wait for the recorder. None: nothing is recorded, and the log is trimmed whatever is in it. Otherwise an
    /// entry that is not recorded is never trimmed.
    pub unrecorded: Option<Unrecorded>,
}

/// Upper bounds for what waits for the recorder. An append that would exceed them with what is new in it is refused with
/// [`AppendOutcome::Full`], unless nothing waits. A re-appended event has been counted before: it is never refused. Until
/// the recorder has passed the marker of the open epoch, a store may count what is recorded too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrecorded {
    /// Events. At least twice [`LogBounds::entries`].
    pub events: u64,
    /// Bytes of their records. A store may estimate them.
    pub bytes: u64,
}

/// A claim on the right to record the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who claims it: an instance; another one after each start of its process.
    pub holder: Arc<str>,
    /// What it claims.
    pub step: ClaimStep,
}

/// What a [`Claim`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimStep {
    /// Takes or renews the right for [`RECORDING_LEASE`].
    Hold {
        /// The last `seq` that the database has. Counts only if the claim succeeds, and only if it is more than before
        /// and not above what the log has.
        recorded: Seq,
        /// Base of the epoch of `recorded`. If the log has `recorded` in another epoch, it has taken another way since
        /// the claimant read it, and the claim says nothing about what is recorded.
        base: Seq,
    },
    /// Gives it up.
    Release,
}

impl ClaimStep {
    /// Takes or renews the right, and says nothing about what is recorded.
    pub const RENEW: Self = Self::Hold { recorded: 0, base: 0 };
}

/// The answer to a [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whether the claimant has the right now.
    pub is_held: bool,
    /// Identifies the log: random, made with its first epoch.
    pub log_id: Arc<str>,
    /// The last `seq` that is recorded, as the log knows it; 0 for none.
    pub recorded: Seq,
    /// Base of the epoch of `recorded`; 0 if the log does not know it any more.
    pub base: Seq,
}

/// A request to read the log, with what the reader has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The `seq` of the last entry that it has applied; 0 for none.
    pub after: Seq,
    /// The lowest cursor that it can complete from its ring; None when the ring is empty.
    pub low: Option<Seq>,
    /// A `seq` that the database has. No epoch opens at or below it, and one opens if the log ends below it. 0 for none.
    pub floor: Seq,
    /// Upper bound for the entries of one reply.
    pub limit: usize,
}

/// The part of the log that a [`SyncRequest`] asked for.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Base of the open epoch.
    pub base: Seq,
    /// The last `seq` given out.
    pub seq: Seq,
    /// The latest markers, ascending, including those that the log has lost or trimmed.
    pub markers: Vec<Marker>,
    /// The first entries above [`SyncRequest::after`], ascending.
    pub entries: Vec<LogEntry>,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// A message.
    Message {
        /// Its `seq`.
        seq: Seq,
        /// The former `seq` of a re-appended message, or 0.
        was: Seq,
        /// The record as JSON.
        record: Bytes,
    },
    /// An event of another kind.
    Event {
        /// Its `seq`.
        seq: Seq,
        /// The former `seq` of a re-appended event, or 0.
        was: Seq,
        /// What it is.
        kind: Kind,
        /// The record as JSON.
        record: Bytes,
    },
    /// The beginning of an epoch.
    Marker(Marker),
}

impl LogEntry {
    /// An event of any kind.
    pub(crate) fn of_kind(kind: Kind, seq: Seq, was: Seq, record: Bytes) -> Self {
        match kind {
            Kind::Message => Self::Message { seq, was, record },
            Kind::Told(_) | Kind::Other(_) => Self::Event { seq, was, kind, record },
        }
    }

    /// Its `seq`.
    pub const fn seq(&self) -> Seq {
        match self {
            Self::Message { seq, .. } | Self::Event { seq, .. } => *seq,
            Self::Marker(marker) => marker.base,
        }
    }

    /// The first place of an event: the lowest `seq` at which anybody may have seen it. History is ordered by it. A marker
    /// has its own `seq` only.
    pub fn place(&self) -> Seq {
        let record = self.record().and_then(|record| std::str::from_utf8(record).ok());
        first_place(record.unwrap_or_default(), self.was(), self.seq())
    }

    /// The former `seq` of a re-appended event, or 0.
    pub const fn was(&self) -> Seq {
        match self {
            Self::Message { was, .. } | Self::Event { was, .. } => *was,
            Self::Marker(_) => 0,
        }
    }

    /// The record of an event as JSON. None for a marker.
    pub const fn record(&self) -> Option<&Bytes> {
        match self {
            Self::Message { record, .. } | Self::Event { record, .. } => Some(record),
            Self::Marker(_) => None,
        }
    }

    /// What an event is. None for a marker.
    pub const fn kind(&self) -> Option<&Kind> {
        match self {
            Self::Message { .. } => Some(&Kind::Message),
            Self::Event { kind, .. } => Some(kind),
            Self::Marker(_) => None,
        }
    }
}

/// How many connections one instance has.
#[derive(Clone, Debug)]
pub struct Report {
    /// The instance; another one after each start of its process.
    pub instance: Arc<str>,
    /// Grows with each report, so that a repeated older one changes nothing.
    pub number: u64,
    /// Its connections; None when it leaves.
    pub connections: Option<u64>,
}

/// A count of the census. Of two, the one with the higher version is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionedCount {
    /// Grows with each change.
    pub version: u64,
    /// Connections and instances.
    pub count: Count,
}

/// An event of the channel.
#[derive(Clone, Debug)]
pub enum Event {
    /// An instance published this.
    Payload(Bytes),
    /// The subscription is confirmed: payloads from here on arrive. Earlier ones may be missing.
    Subscribed,
    /// This subscriber was too slow: payloads are missing.
    Lagged,
    /// The connection is lost, and why. [`Subscribed`](Self::Subscribed) follows when it is back.
    Disconnected(String),
}

/// The store did not answer, or refused. The call may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be reached: {0}")]
pub struct BackendError(pub String);
