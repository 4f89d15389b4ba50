//! What one client has had of each sender of its room, without a list of it: only what is missing is listed.

use std::{iter::Sum, ops::Range};

use super::schedule::Stamp;

/// A client's account.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    room: u32,
    rooms: u32,
    reader: Reader,
    tracks: Vec<Track>,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As fast as it can.
    Prompt,
    /// With a pause after every message.
    Slow,
}

/// The messages of one sender at one client.
#[derive(Clone, Debug, Default)]
struct Track {
    /// The number above every one that came.
    next: u32,
    /// Those below that have not come.
    gaps: Vec<Range<u32>>,
}

/// Messages that did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Absent {
    /// A later one of the same sender did.
    pub(crate) skipped: u64,
    /// None of the same sender that is later did: they may be on their way.
    pub(crate) outstanding: u64,
}

/// What a message is to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Above every earlier one of its sender.
    New,
    /// It fills a gap, after a later one.
    Late,
    /// It came before.
    Repeated,
    /// It is not of this room.
    Stray,
}

impl Ledger {
    /// The account of a client in one of so many rooms, which the senders share out among them in turn.
    pub(crate) fn new(room: u32, rooms: u32, senders: u32, reader: Reader) -> Self {
        let here = senders.saturating_sub(room).div_ceil(rooms);
        Self { room, rooms, reader, tracks: (0..here).map(|_| Track::default()).collect() }
    }

    /// Enters a message.
    pub(crate) fn enter(&mut self, stamp: Stamp) -> Arrival {
        let (place, room) = (stamp.sender / self.rooms, stamp.sender % self.rooms);
        let track = usize::try_from(place).ok().and_then(|place| self.tracks.get_mut(place));
        let Some(track) = track.filter(|_| room == self.room) else { return Arrival::Stray };
        track.enter(stamp.number)
    }

    /// How many did not come, if so many of each sender, of all rooms, were accepted.
    ///
    /// A slow reader has not read to the end; for it nothing is outstanding.
    pub(crate) fn absent(&self, accepted: &[u32]) -> Absent {
        let first = usize::try_from(self.room).unwrap_or(usize::MAX);
        let step = usize::try_from(self.rooms).unwrap_or(usize::MAX);
        let here = accepted.iter().skip(first).step_by(step);
        let absent: Absent = self.tracks.iter().zip(here).map(|(track, accepted)| track.absent(*accepted)).sum();
        match self.reader {
            Reader::Prompt => absent,
            Reader::Slow => Absent { outstanding: 0, ..absent },
        }
    }
}

impl Track {
    fn enter(&mut self, number: u32) -> Arrival {
        if number >= self.next {
            if number > self.next {
                self.gaps.push(self.next..number);
            }
            self.next = number + 1;
            return Arrival::New;
        }
        let Some(place) = self.gaps.iter().position(|gap| gap.contains(&number)) else { return Arrival::Repeated };
        let gap = self.gaps.swap_remove(place);
        self.gaps.extend([gap.start..number, number + 1..gap.end].into_iter().filter(|part| !part.is_empty()));
        Arrival::Late
    }

    /// Which numbers were accepted is not known, only how many.
    fn absent(&self, accepted: u32) -> Absent {
        let missing: u32 = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
        let absent = accepted.saturating_sub(self.next - missing);
        let skipped = absent.min(missing);
        Absent { skipped: skipped.into(), outstanding: (absent - skipped).into() }
    }
}

impl Sum for Absent {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            skipped: sum.skipped + one.skipped,
            outstanding: sum.outstanding + one.outstanding,
        })
    }
}
