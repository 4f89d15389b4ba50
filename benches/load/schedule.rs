//! When which message is due.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A time in nanoseconds; the largest if it is longer.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Messages in a fixed rhythm, the senders in turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// When the first is due, in nanoseconds since 1970.
    pub(crate) start: u64,
    /// From one to the next, in nanoseconds.
    pub(crate) interval: u64,
    /// How many there are.
    pub(crate) messages: u32,
    /// Who send them.
    pub(crate) senders: u32,
    /// When the warm-up is over, in nanoseconds since 1970.
    pub(crate) measured_from: u64,
}

impl Schedule {
    /// When a message is due, in nanoseconds since 1970.
    pub(crate) fn due(&self, message: u32) -> u64 {
        self.start.saturating_add(self.interval.saturating_mul(message.into()))
    }

    /// Whose it is, and its number among those of its sender.
    pub(crate) fn stamp(&self, message: u32) -> Stamp {
        let senders = self.senders.max(1);
        Stamp { sender: message % senders, number: message / senders, due: self.due(message) }
    }

    /// The message of that sender with that number.
    pub(crate) fn stamp_of(&self, sender: u32, number: u32) -> Stamp {
        Stamp { sender, number, due: self.due(number * self.senders + sender) }
    }

    /// How many messages a sender has in all.
    pub(crate) fn share(&self, sender: u32) -> u32 {
        self.messages.saturating_sub(sender).div_ceil(self.senders.max(1))
    }

    /// Each message when it is due; blocks the thread.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = Stamp> + '_ {
        (0..self.messages).map(|message| self.stamp(message)).inspect(|stamp| wait_until(stamp.due))
    }

    /// The second of the measurement in which a message is due, from 0; `None` if it belongs to the warm-up.
    pub(crate) fn second(&self, due: u64) -> Option<usize> {
        let into = due.checked_sub(self.measured_from)?;
        usize::try_from(into / 1_000_000_000).ok()
    }
}

/// A parked thread wakes within tens of microseconds; the runtime's timer has steps of a millisecond.
fn wait_until(due: u64) {
    while let Some(left) = due.checked_sub(now()).filter(|left| *left > 0) {
        thread::park_timeout(Duration::from_nanos(left));
    }
}

/// What a body begins with: which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Who sends it.
    pub(crate) sender: u32,
    /// Its number among those of its sender, from 0.
    pub(crate) number: u32,
    /// When it was to be sent, in nanoseconds since 1970.
    pub(crate) due: u64,
}

impl Stamp {
    /// Length of a stamp; no body is shorter.
    pub(crate) const BYTES: usize = 32;

    /// A body of this many bytes.
    pub(crate) fn body(&self, bytes: usize) -> String {
        let Self { sender, number, due } = self;
        format!("{sender:08x}{number:08x}{due:016x}{:x<1$}", "", bytes.saturating_sub(Self::BYTES))
    }

    /// Reads the stamp of a body.
    pub(crate) fn read(body: &str) -> Option<Self> {
        let sender = u32::from_str_radix(body.get(0..8)?, 16).ok()?;
        let number = u32::from_str_radix(body.get(8..16)?, 16).ok()?;
        let due = u64::from_str_radix(body.get(16..32)?, 16).ok()?;
        Some(Self { sender, number, due })
    }
}
