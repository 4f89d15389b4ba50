//! What a connection of an account knows about its seats, beside the seats themselves: how new they are, and whether they
//! must be read again. Pure: no I/O.

use hubbub_log::ring::{Rights, Rules};
use hubbub_protocol::{CloseReason, RoomId, RoomKind, Seq};
use tokio::sync::oneshot;

use super::seats::Seats;

/// Completed once, when the seats have been read for the first time, or with the reason why they were not.
pub type Admitted = oneshot::Receiver<Result<(), CloseReason>>;

#[derive(Debug)]
pub(super) struct Seating {
    /// The hello is answered: the connection may be served.
    begun: bool,
    /// The seats have been read once.
    is_seated: bool,
    /// The read that the connection waits for. None: its seats are known.
    awaited: Option<Awaited>,
    /// Counts the reads.
    read: u64,
    /// The count of the changes of the person's seats, as it was read.
    baseline: u64,
    /// The newest change of each room above the baseline.
    changes: Vec<SeatChange>,
    admitted: Option<oneshot::Sender<Result<(), CloseReason>>>,
}

/// A read that a connection waits for.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// Up to here the seats were known: seats that are gone end here, and new ones begin.
    known: Seq,
    /// A seat has ended at `known` that may have been one for longer.
    has_cut: bool,
    /// The worker's position when it asked. None: it has not asked yet.
    asked: Option<Seq>,
}

/// A change of one seat.
#[derive(Clone, Debug)]
struct SeatChange {
    room: RoomId,
    rev: u64,
    seat: Option<Rights>,
}

/// Rooms in which a connection has a seat now, or no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) joined: Vec<RoomId>,
    pub(crate) left: Vec<RoomId>,
    /// A seat has ended earlier than it was told, or the person may do other things in a room.
    pub(super) is_otherwise_new: bool,
}

impl Moved {
    pub(super) const fn is_something(&self) -> bool {
        self.is_otherwise_new || !self.joined.is_empty() || !self.left.is_empty()
    }
}

impl Seating {
    /// A connection that has been sent everything up to `cursor` and has to be seated.
    pub(super) fn new(cursor: Seq) -> (Self, Admitted) {
        let (admitted, waits) = oneshot::channel();
        let seating = Self {
            begun: false,
            is_seated: false,
            awaited: Some(Awaited { known: cursor, has_cut: false, asked: None }),
            read: 1,
            baseline: 0,
            changes: Vec::new(),
            admitted: Some(admitted),
        };
        (seating, waits)
    }

    /// Whether nothing may be sent, because the hello is not answered or the seats must be read.
    pub(super) const fn is_held(&self) -> bool {
        !self.begun || self.awaited.is_some()
    }

    /// The hello is answered. Returns true if the seats must be read again all the same.
    pub(super) const fn begin(&mut self) -> bool {
        self.begun = true;
        self.awaited.is_some()
    }

    /// The seats are not known above `known` any more.
    pub(super) fn doubt(&mut self, known: Seq) {
        self.read += 1;
        let (known, has_cut) =
            self.awaited.map_or((known, false), |awaited| (awaited.known.min(known), awaited.has_cut));
        self.awaited = Some(Awaited { known, has_cut, asked: None });
    }

    /// The read to ask for. None: nothing is to be asked, or it has been.
    pub(super) fn ask(&mut self, position: Seq) -> Option<u64> {
        let awaited = self.awaited.as_mut().filter(|awaited| awaited.asked.is_none())?;
        awaited.asked = Some(position);
        Some(self.read)
    }

    /// The question could not be asked.
    pub(super) const fn unask(&mut self) {
        if let Some(awaited) = self.awaited.as_mut() {
            awaited.asked = None;
        }
    }

    /// Tells the hello how the first read ended. Does nothing later.
    pub(super) fn admit(&mut self, outcome: Result<(), CloseReason>) {
        if let Some(admitted) = self.admitted.take() {
            // the client may be gone
            let _gone = admitted.send(outcome);
        }
    }

    /// A change of one seat at `at`, if it counts: its `rev` is above what was read and above the last of that room.
    pub(super) fn change(
        &mut self,
        seats: &mut Seats,
        room: &RoomId,
        rev: u64,
        seat: Option<Rights>,
        at: Seq,
    ) -> Moved {
        let mut moved = Moved::default();
        let known = self.changes.iter_mut().find(|change| change.room == *room);
        if rev <= known.as_ref().map_or(self.baseline, |known| known.rev.max(self.baseline)) {
            return moved;
        }
        match known {
            Some(known) => (known.rev, known.seat) = (rev, seat),
            None => self.changes.push(SeatChange { room: room.clone(), rev, seat }),
        }
        if !self.is_seated {
            return moved;
        }
        match seat {
            Some(rights) if seats.open_with(room, at, rights) => moved.joined.push(room.clone()),
            Some(rights) => moved.is_otherwise_new = seats.set_rights(room, rights),
            None => {
                // an `out` in doubt may be one that the log had lost, at a place that nobody knows here any more
                let until = self.awaited.map_or(at, |awaited| awaited.known.min(at));
                if seats.close(room, until) {
                    moved.left.push(room.clone());
                    if let Some(awaited) = &mut self.awaited {
                        awaited.has_cut |= until < at;
                    }
                }
            }
        }
        moved
    }

    /// Takes the seats that were read, except what a higher `rev` has changed meanwhile. `newer` are the rules of a room
    /// that came after a position. None: it is the answer to an older question.
    pub(super) fn take(
        &mut self,
        seats: &mut Seats,
        read: u64,
        list: Vec<(RoomId, Rights)>,
        rev: u64,
        cursor: Seq,
        newer: impl Fn(&RoomId, Seq) -> Option<Rules>,
    ) -> Option<Moved> {
        let awaited = self.awaited.take_if(|_| read == self.read)?;
        // nothing was sent yet: everything that the person is in begins at the cursor
        let since = if self.begun { awaited.known } else { cursor };
        self.is_seated = true;
        self.baseline = self.baseline.max(rev);
        let baseline = self.baseline;
        self.changes.retain(|change| change.rev > baseline);
        self.changes.shrink_to_fit();
        let wanted = self.overlaid(list, |room| newer(room, awaited.asked.unwrap_or(awaited.known)));
        let is_wanted = |room: &RoomId| wanted.binary_search_by(|(wanted, _)| wanted.cmp(room)).is_ok();
        let private = seats.rooms().filter(|room| room.kind() == RoomKind::Private);
        let left = private.filter(|room| !is_wanted(room)).cloned().collect();
        let mut moved = Moved { joined: Vec::new(), left, is_otherwise_new: awaited.has_cut };
        for room in &moved.left {
            seats.close(room, since);
        }
        if !self.begun {
            // whoever says hello gets everything of the rooms that it is in now, and nothing of those that it has left
            seats.begin_at(cursor);
        }
        seats.reserve(wanted.iter().filter(|(room, _)| seats.rights(room).is_none()).count());
        for (room, rights) in wanted {
            if seats.open_with(&room, since, rights) {
                moved.joined.push(room);
            } else {
                moved.is_otherwise_new |= seats.set_rights(&room, rights);
            }
        }
        seats.drop_past(cursor);
        Some(moved)
    }

    /// The private rooms of a list with the changes above the baseline, in order.
    fn overlaid(
        &self,
        mut list: Vec<(RoomId, Rights)>,
        newer: impl Fn(&RoomId) -> Option<Rules>,
    ) -> Vec<(RoomId, Rights)> {
        list.retain(|(room, _)| {
            room.kind() == RoomKind::Private && self.changes.iter().all(|change| change.room != *room)
        });
        let changed = self.changes.iter().filter_map(|change| Some((change.room.clone(), change.seat?)));
        list.extend(changed.filter(|(room, _)| room.kind() == RoomKind::Private));
        list.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        list.dedup_by(|(a, _), (b, _)| a == b);
        for (room, rights) in &mut list {
            if let Some(rules) = newer(room) {
                *rights = rules.applied_to(*rights);
            }
        }
        list
    }

    #[cfg(test)]
    pub(super) const fn baseline(&self) -> u64 {
        self.baseline
    }

    /// Whether the connection has been served.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }
}
