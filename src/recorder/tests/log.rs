//! A log with the rules of the real ones, in memory, that can lose its tail and its clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::Arc,
    task::Poll,
};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_log::{BackendError, ClaimStep, Kind, Lease, LogEntry, Marker, RECORDING_LEASE, Snapshot};
use hubbub_protocol::Seq;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::nap::Nap;
use crate::{Outlet, Source, epochs::cursor_at};

/// How far above everything known an epoch opens when the clock is behind.
const MARGIN: Seq = 64;

/// A kind of event that is kept as a message, and one that is not.
pub(super) const IN_ROOM: &str = "members";
pub(super) const IN_INBOX: &str = "membership";

/// What a server keeps, as a whole or not at all.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) log_id: String,
    pub(super) entries: Vec<LogEntry>,
    pub(super) markers: Vec<Marker>,
    pub(super) seq: Seq,
    pub(super) recorded: Seq,
    /// What was trimmed: `seq` and message.
    pub(super) trimmed: BTreeSet<(Seq, u32)>,
    is_open: bool,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) state: State,
    /// The clock of the server, which follows the highest `seq` unless it is set back.
    pub(super) clock: Seq,
    /// Entries that are kept if they are recorded.
    pub(super) retention: usize,
    /// Everybody has the lease.
    pub(super) ignores_lease: bool,
    holder: Option<(usize, Instant)>,
    /// Of every epoch that has ever opened.
    bases: BTreeSet<Seq>,
    /// The ids of all events of services that it has ever had.
    pub(super) told: BTreeSet<String>,
    /// Every place that a message ever had.
    pub(super) places: BTreeMap<u32, BTreeSet<Seq>>,
}

impl State {
    pub(super) fn new(log_id: &str) -> Self {
        let (entries, markers, trimmed) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { log_id: log_id.into(), entries, markers, seq: 0, recorded: 0, trimmed, is_open: false }
    }
}

impl Log {
    pub(super) fn new(retention: usize) -> Self {
        let (bases, told) = (BTreeSet::new(), BTreeSet::new());
        Self {
            state: State::new("log-1"),
            clock: 1000,
            retention,
            ignores_lease: false,
            holder: None,
            bases,
            told,
            places: BTreeMap::new(),
        }
    }

    /// The number of the message in a record of [`record`], or of the event that is kept as one.
    pub(super) fn message_of(entry: &LogEntry) -> Option<u32> {
        let record = entry.record().filter(|_| entry.kind().is_some_and(|kind| kind.name() != IN_INBOX))?;
        let record: serde_json::Value = serde_json::from_slice(record).unwrap();
        record["id"].as_str()?.strip_prefix('m')?.parse().ok()
    }

    pub(super) fn append(&mut self, kind: Kind, record: String, was: Seq) -> Seq {
        self.open(0);
        if kind != Kind::Message {
            self.told.insert(crate::events::id(record.as_bytes()).unwrap().as_str().to_owned());
        }
        let state = &mut self.state;
        state.seq += 1;
        let (seq, record) = (state.seq, record.into());
        state.entries.push(match kind {
            Kind::Message => LogEntry::Message { seq, was, record },
            Kind::Told(_) | Kind::Other(_) => LogEntry::Event { seq, was, kind, record },
        });
        self.clock = self.clock.max(seq);
        if let Some((entry, message)) = state.entries.last().and_then(|entry| Some((entry, Self::message_of(entry)?))) {
            self.places.entry(message).or_default().insert(entry.place());
        }
        self.trim();
        seq
    }

    /// Nothing is trimmed unless everything that is not recorded fits into what is kept.
    fn trim(&mut self) {
        let state = &mut self.state;
        let excess = state.entries.len().saturating_sub(self.retention);
        if state.entries.iter().take(excess).all(|entry| entry.seq() <= state.recorded) {
            for entry in state.entries.drain(..excess) {
                state.trimmed.extend(Self::message_of(&entry).map(|message| (entry.seq(), message)));
            }
        }
    }

    /// Another process has taken over, with this.
    pub(super) fn restart(&mut self, state: State) {
        self.state = State { is_open: false, ..state };
    }

    /// What a reader that is at `after` makes of the log.
    pub(super) fn open(&mut self, after: Seq) {
        let state = &mut self.state;
        if state.is_open && after <= state.seq {
            return;
        }
        let known = state.seq.max(after);
        let mut base = if self.clock > known { self.clock } else { known + MARGIN };
        // a clock that counts microseconds never gives the same twice
        while !self.bases.insert(base) {
            base += 1;
        }
        let marker = Marker { base, cut: state.entries.last().map_or(0, LogEntry::seq), low: base };
        state.entries.push(LogEntry::Marker(marker));
        state.markers.push(marker);
        (state.seq, state.is_open) = (base, true);
        self.clock = self.clock.max(base) + 10;
    }

    fn read(&mut self, after: Seq, limit: usize) -> Snapshot {
        self.open(after);
        let State { entries, markers, seq, .. } = &self.state;
        let entries = entries.iter().filter(|entry| entry.seq() > after).take(limit).cloned().collect();
        Snapshot { base: markers.last().unwrap().base, seq: *seq, markers: markers.clone(), entries }
    }

    fn lease(&mut self, who: usize, step: ClaimStep) -> Lease {
        let now = Instant::now();
        let is_free = self.holder.is_none_or(|(holder, until)| holder == who || until <= now);
        let mut is_held = is_free || self.ignores_lease;
        match step {
            ClaimStep::Hold { recorded, base } if is_held => {
                self.holder = Some((who, now + RECORDING_LEASE));
                let State { recorded: known, seq, markers, .. } = &mut self.state;
                if recorded > *known && recorded <= *seq && cursor_at(recorded, markers).base == base {
                    *known = recorded;
                }
            }
            ClaimStep::Hold { .. } => (),
            ClaimStep::Release => {
                self.holder.take_if(|(holder, _)| *holder == who);
                is_held = false;
            }
        }
        let State { log_id, recorded, markers, .. } = &self.state;
        let base = cursor_at(*recorded, markers).base;
        Lease { is_held, log_id: log_id.as_str().into(), recorded: *recorded, base }
    }
}

pub(super) fn record(message: u32, body: &str, first: Option<Seq>) -> String {
    let first = first.map_or(String::new(), |first| format!(r#","first":{first}"#));
    format!(
        r#"{{"room":"a","id":"m{message}","from":{{"id":"u","name":"Ann"}},"body":"{body}","at":{}{first}}}"#,
        1000 + message
    )
}

/// The log as one recorder appends to it.
#[derive(Clone, Debug)]
pub(super) struct Spout {
    pub(super) log: Arc<Mutex<Log>>,
    /// Of four events, so many are dropped.
    pub(super) drops: u32,
    pub(super) taken: Arc<Mutex<u32>>,
}

impl Outlet for Spout {
    fn append(&self, kind: Kind, record: String) {
        let taken = {
            let mut taken = self.taken.lock();
            *taken += 1;
            *taken
        };
        if taken % 4 >= self.drops {
            self.log.lock().append(kind, record, 0);
        }
    }
}

/// The log as one recorder reaches it.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) who: usize,
    pub(super) nap: Nap,
}

impl Reader {
    async fn call<T>(&self, call: impl FnOnce(&mut Log) -> T) -> Result<T, BackendError> {
        if !self.nap.there().await {
            return Err(BackendError("unheard".into()));
        }
        let answer = call(&mut self.log.lock());
        if self.nap.back().await { Ok(answer) } else { Err(BackendError("unanswered".into())) }
    }
}

impl Source for Reader {
    fn read(&self, after: Seq, limit: usize) -> BoxFuture<'_, Result<Snapshot, BackendError>> {
        self.call(move |log| log.read(after, limit)).boxed()
    }

    fn lease(&self, step: ClaimStep) -> BoxFuture<'_, Result<Lease, BackendError>> {
        self.call(move |log| log.lease(self.who, step)).boxed()
    }

    fn rewind(&self, recorded: Seq) -> BoxFuture<'_, Result<(), BackendError>> {
        self.call(move |log| log.state.recorded = recorded.min(log.state.seq)).boxed()
    }

    fn grown(&self, beyond: Seq) -> BoxFuture<'_, ()> {
        // the model polls as it likes; under a real runtime the tick of the recorder comes first
        let has_grown = move || self.log.lock().state.seq > beyond;
        poll_fn(move |_| if has_grown() { Poll::Ready(()) } else { Poll::Pending }).boxed()
    }
}
