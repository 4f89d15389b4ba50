//! What a group of clients has counted.

use std::{collections::BTreeMap, iter::Sum, ops::Add};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    ledger::{Arrival, Ledger},
    schedule::{Schedule, Stamp},
};

/// The longest time that a histogram can hold, in microseconds: two minutes.
const LONGEST_US: u64 = 120_000_000;
/// Significant digits of a histogram: what it says is right to 1 %.
const DIGITS: u8 = 2;

/// Times in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u32>);

impl Default for Times {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants and valid")]
        Self(Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("valid bounds"))
    }
}

impl Times {
    /// Adds a time, in nanoseconds.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos / 1000);
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// The time below which this part of them lies, in milliseconds; `None` if there are none.
    pub(crate) fn quantile_ms(&self, part: f64) -> Option<f64> {
        let micros = u32::try_from(self.0.value_at_quantile(part)).unwrap_or(u32::MAX);
        (!self.0.is_empty()).then(|| f64::from(micros) / 1000.0)
    }

    /// Pairs of a time in milliseconds and the part of all that is at most that, in ascending order.
    pub(crate) fn distribution(&self) -> Vec<(f64, f64)> {
        let steps = self.0.iter_recorded();
        steps
            .map(|step| (u32::try_from(step.value_iterated_to()).unwrap_or(u32::MAX), step.quantile_iterated_to()))
            .map(|(micros, part)| (f64::from(micros) / 1000.0, part))
            .collect()
    }
}

/// Plain counts. Those of groups add up.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Clients that are or were connected.
    pub(crate) connected: u64,
    /// Clients that could not connect at the start.
    pub(crate) turned_away: u64,
    /// Connections that ended without being asked to.
    pub(crate) cut: u64,
    /// Connections made again, with the cursor.
    pub(crate) resumed: u64,
    /// Cursors that were not taken up.
    pub(crate) reset: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages the server acknowledged.
    pub(crate) accepted: u64,
    /// Messages the server refused.
    pub(crate) refused: u64,
    /// Message frames that came to clients.
    pub(crate) delivered: u64,
    /// Of them those that came as a replay.
    pub(crate) replayed: u64,
    /// Of them those that came after a later one.
    pub(crate) reordered: u64,
    /// Of them those that had come before.
    pub(crate) duplicated: u64,
    /// Of them those of another room.
    pub(crate) stray: u64,
}

impl Counts {
    /// Publishes that were neither accepted nor refused.
    pub(crate) const fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.accepted + self.refused)
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            connected: self.connected + other.connected,
            turned_away: self.turned_away + other.turned_away,
            cut: self.cut + other.cut,
            resumed: self.resumed + other.resumed,
            reset: self.reset + other.reset,
            sent: self.sent + other.sent,
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            delivered: self.delivered + other.delivered,
            replayed: self.replayed + other.replayed,
            reordered: self.reordered + other.reordered,
            duplicated: self.duplicated + other.duplicated,
            stray: self.stray + other.stray,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Everything a group of clients has counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Plain counts.
    pub(crate) counts: Counts,
    /// From due to delivered, by the second of the measurement in which the message was due.
    pub(crate) latency: Vec<Times>,
    /// From due to sent.
    pub(crate) lag: Times,
    /// From the first packet to the welcome.
    pub(crate) handshake: Times,
    /// Why connections were not made or ended, and how often.
    pub(crate) troubles: BTreeMap<String, u64>,
    /// The account of each client that was connected.
    pub(crate) ledgers: Vec<Ledger>,
}

impl Tally {
    /// Enters a message in the account with this index.
    pub(crate) fn delivered(&mut self, account: usize, stamp: Stamp) {
        self.counts.delivered += 1;
        match self.ledgers.get_mut(account).map_or(Arrival::Stray, |ledger| ledger.enter(stamp)) {
            Arrival::New => {}
            Arrival::Late => self.counts.reordered += 1,
            Arrival::Repeated => self.counts.duplicated += 1,
            Arrival::Stray => self.counts.stray += 1,
        }
    }

    /// Times a message that was due at one time and came at another, in nanoseconds since 1970.
    pub(crate) fn timed(&mut self, schedule: &Schedule, due: u64, came: u64) {
        let Some(second) = schedule.second(due) else { return };
        if self.latency.len() <= second {
            self.latency.resize_with(second + 1, Times::default);
        }
        if let Some(times) = self.latency.get_mut(second) {
            times.record(came.saturating_sub(due));
        }
    }

    /// Notes why a connection was not made or ended.
    pub(crate) fn trouble(&mut self, error: &anyhow::Error) {
        *self.troubles.entry(format!("{error:#}")).or_default() += 1;
    }

    /// Adds all of another group's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.counts = self.counts + other.counts;
        self.lag.merge(&other.lag);
        self.handshake.merge(&other.handshake);
        self.latency.resize_with(self.latency.len().max(other.latency.len()), Times::default);
        self.latency.iter_mut().zip(&other.latency).for_each(|(mine, its)| mine.merge(its));
        other.troubles.into_iter().for_each(|(what, often)| *self.troubles.entry(what).or_default() += often);
        self.ledgers.extend(other.ledgers);
    }
}
