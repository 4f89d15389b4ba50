//! What one client has had of each sender of its room, without a list.

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
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    /// The number above every one that came.
    next: u32,
    /// Those below that have not come.
    missing: u32,
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
    ///
    /// A repetition while the sender has gaps is taken for one that fills a gap: which numbers they are is not kept.
    pub(crate) fn enter(&mut self, stamp: Stamp) -> Arrival {
        let (place, room) = (stamp.sender / self.rooms, stamp.sender % self.rooms);
        let track = usize::try_from(place).ok().and_then(|place| self.tracks.get_mut(place));
        let Some(track) = track.filter(|_| room == self.room) else { return Arrival::Stray };
        if let Some(skipped) = stamp.number.checked_sub(track.next) {
            track.missing += skipped;
            track.next = stamp.number + 1;
            Arrival::New
        } else if track.missing > 0 {
            track.missing -= 1;
            Arrival::Late
        } else {
            Arrival::Repeated
        }
    }

    /// How many did not come, if so many of each sender, of all rooms, were accepted.
    ///
    /// A slow reader has not read to the end; for it only those count that it has read past.
    pub(crate) fn lost(&self, accepted: &[u32]) -> u64 {
        let first = usize::try_from(self.room).unwrap_or(usize::MAX);
        let step = usize::try_from(self.rooms).unwrap_or(usize::MAX);
        let here = accepted.iter().skip(first).step_by(step);
        let absent = self.tracks.iter().zip(here).map(|(track, accepted)| match self.reader {
            Reader::Prompt => track.absent(*accepted),
            Reader::Slow => track.absent(*accepted).min(track.missing),
        });
        absent.map(u64::from).sum()
    }
}

impl Track {
    const fn absent(self, accepted: u32) -> u32 {
        accepted.saturating_sub(self.next - self.missing)
    }
}
