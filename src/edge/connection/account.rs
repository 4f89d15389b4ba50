//! A connection of an account: its seats come from the directory, and from what services tell in the log.

use std::sync::{Arc, atomic::Ordering};

use hubbub_log::ring::{Rights, Rules};
use hubbub_protocol::{CloseReason, ConnectionId, RoomId, Seq, SessionId};

use super::{
    Connection,
    delivery::{Delivery, Mode},
    seating::{Admitted, Moved, Seating},
};
use crate::{
    notice::{Encode, Notice},
    ports::{Seats, Sitter},
    socket::{Ending, Link, Transport},
};

impl<T: Transport> Connection<T> {
    /// A connection of an account. It has seats in its inbox and in these public rooms, begins above `cursor`, and is not
    /// served before its private rooms have been read and [`begin`](Self::begin) is called. Its worker reads the rooms
    /// when it attaches the connection, and then completes the receiver.
    pub fn of_account(
        id: ConnectionId,
        link: Arc<Link<T>>,
        sitter: Sitter,
        rooms: impl IntoIterator<Item = RoomId>,
        cursor: Seq,
    ) -> (Self, Admitted) {
        let (seating, admitted) = Seating::new(cursor);
        let mut delivery = Delivery::new(rooms.into_iter().chain([RoomId::inbox(&sitter.user)]), cursor);
        delivery.seating = Some(Box::new(seating));
        (Self::with_delivery(id, link, delivery, Some(sitter)), admitted)
    }

    /// Serves the connection from now on: its hello is answered.
    pub fn begin(&self) {
        if let Some(seating) = &mut self.delivery.lock().seating {
            self.is_in_doubt.store(seating.begin(), Ordering::Release);
        }
        self.link.wake();
    }

    /// Whether it belongs to this session.
    pub(crate) fn is_of_session(&self, session: &SessionId) -> bool {
        self.sitter.as_ref().is_some_and(|sitter| sitter.session == *session)
    }

    /// The account and session that it belongs to.
    pub(crate) const fn sitter(&self) -> Option<&Sitter> {
        self.sitter.as_ref()
    }
}

/// Methods that only the worker calls.
impl<T: Transport> Connection<T> {
    /// The seats are not known above `known` any more: nothing is sent until they have been read again. `position` is the
    /// worker's position. Does nothing for a guest.
    pub(crate) fn doubt_seats(&self, position: Seq, known: Seq) {
        let mut delivery = self.delivery.lock();
        let Some(seating) = &mut delivery.seating else { return };
        seating.doubt(known);
        self.is_in_doubt.store(seating.has_begun(), Ordering::Release);
        match delivery.mode {
            Mode::Live => delivery.fall_behind(position),
            Mode::HandingOver => delivery.mode = Mode::CatchingUp,
            Mode::CatchingUp => (),
        }
    }

    /// The read of its seats to ask for. None: it needs none, or has asked.
    pub(crate) fn ask_seats(&self, position: Seq) -> Option<u64> {
        self.delivery.lock().seating.as_mut()?.ask(position)
    }

    /// The question could not be asked now.
    pub(crate) fn unask_seats(&self) {
        if let Some(seating) = &mut self.delivery.lock().seating {
            seating.unask();
        }
    }

    /// Takes the seats that were read. `newer` are the rules of a room that came after a position. None: it is the answer
    /// to an older question.
    pub(crate) fn take_seats(
        &self,
        read: u64,
        seats: Seats,
        newer: impl Fn(&RoomId, Seq) -> Option<Rules>,
        encode: Encode,
    ) -> Option<Moved> {
        let mut delivery = self.delivery.lock();
        let delivery = &mut *delivery;
        let (seating, cursor) = (delivery.seating.as_mut()?, delivery.cursor);
        let moved = seating.take(&mut delivery.seats, read, seats.rooms, seats.rev, cursor, newer)?;
        if seating.has_begun() && moved.is_something() {
            self.link.reply(&encode(&Notice::Reset { seq: cursor }));
        }
        seating.admit(Ok(()));
        self.is_in_doubt.store(false, Ordering::Release);
        self.link.wake();
        Some(moved)
    }

    /// The seats of a connection that has none yet could not be read.
    pub(crate) fn refuse(&self, reason: CloseReason) {
        if let Some(seating) = &mut self.delivery.lock().seating {
            seating.admit(Err(reason));
        }
    }

    /// Its session has ended: it is closed, whatever it waits for.
    pub(crate) fn end_session(&self) {
        self.link.close(Ending::Ours(CloseReason::SessionEnded));
        self.refuse(CloseReason::SessionEnded);
    }

    /// A seat opens above `at` or closes after it, if the change counts.
    pub(crate) fn change_seat(&self, room: &RoomId, rev: u64, seat: Option<Rights>, at: Seq) -> Moved {
        let mut delivery = self.delivery.lock();
        let delivery = &mut *delivery;
        let Some(seating) = &mut delivery.seating else { return Moved::default() };
        let moved = seating.change(&mut delivery.seats, room, rev, seat, at);
        if !moved.left.is_empty() {
            let cursor = if delivery.mode == Mode::Live { at } else { delivery.cursor };
            delivery.seats.drop_past(cursor);
        }
        moved
    }

    /// The rules of a room have changed.
    pub(crate) fn change_rules(&self, room: &RoomId, rules: Rules) {
        let mut delivery = self.delivery.lock();
        if let Some(rights) = delivery.seats.rights(room) {
            delivery.seats.set_rights(room, rules.applied_to(rights));
        }
    }

    /// The count of the changes of the person's seats, as it was read last.
    #[cfg(test)]
    pub(crate) fn baseline(&self) -> u64 {
        self.delivery.lock().seating.as_ref().map_or(0, |seating| seating.baseline())
    }
}
