//! The seats of one connection: for each room, the parts of the log in which it gets the room's entries.

use hubbub_log::ring::{Rights, Seat};
use hubbub_protocol::{RoomId, RoomKind, Seq};

/// The seats, in the order of rooms and of the log. At most one seat of a room is open, and none overlap.
#[derive(Debug, Default)]
pub(super) struct Seats(Vec<Place>);

/// One seat, and what the person may do in the room while it is open.
#[derive(Debug)]
struct Place {
    seat: Seat,
    rights: Rights,
}

/// In a public room everybody may publish.
const PUBLIC: Rights = Rights { may_post: true, leads: false };

impl Seats {
    /// Open seats in public rooms, or in an inbox, from `since` on.
    pub(super) fn open_in(rooms: impl IntoIterator<Item = RoomId>, since: Seq) -> Self {
        let place = |room| Place { seat: Seat::open(room, since), rights: PUBLIC };
        let mut places: Vec<_> = rooms.into_iter().map(place).collect();
        places.sort_unstable_by(|a, b| a.seat.room.cmp(&b.seat.room));
        places.dedup_by(|a, b| a.seat.room == b.seat.room);
        Self(places)
    }

    /// The intervals for the ring.
    pub(super) fn intervals(&self) -> impl Iterator<Item = &Seat> {
        self.0.iter().map(|place| &place.seat)
    }

    /// The rooms with an open seat, in order.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.intervals().filter(|seat| seat.is_open()).map(|seat| &seat.room)
    }

    /// What the person may do in a room. None: there is no open seat.
    pub(super) fn rights(&self, room: &RoomId) -> Option<Rights> {
        Some(self.0.get(self.open_index(room).ok()?)?.rights)
    }

    /// Changes what the person may do in a room, if there is an open seat. Returns true if it was something else.
    pub(super) fn set_rights(&mut self, room: &RoomId, rights: Rights) -> bool {
        let place = self.open_index(room).ok().and_then(|index| self.0.get_mut(index));
        place.is_some_and(|place| std::mem::replace(&mut place.rights, rights) != rights)
    }

    /// Opens a seat in a public room. Returns false if one is open.
    pub(super) fn open(&mut self, room: &RoomId, since: Seq) -> bool {
        self.open_with(room, since, PUBLIC)
    }

    /// Opens a seat that begins above `since`, or above the last seat in that room. Returns false if one is open.
    pub(super) fn open_with(&mut self, room: &RoomId, since: Seq, rights: Rights) -> bool {
        let Err(index) = self.open_index(room) else { return false };
        let before = index.checked_sub(1).and_then(|before| self.0.get(before));
        let before = before.filter(|place| place.seat.room == *room).map_or(0, |place| place.seat.until);
        self.0.insert(index, Place { seat: Seat::open(room.clone(), since.max(before)), rights });
        true
    }

    /// Makes room for so many more seats and no more.
    pub(super) fn reserve(&mut self, seats: usize) {
        self.0.reserve_exact(seats);
    }

    /// Closes the open seat in a room after `until`. Returns false if there is none.
    pub(super) fn close(&mut self, room: &RoomId, until: Seq) -> bool {
        let place = self.open_index(room).ok().and_then(|index| self.0.get_mut(index));
        if let Some(place) = place {
            place.seat.until = until;
            return true;
        }
        false
    }

    /// Forgets the seats that end at or below `cursor`.
    pub(super) fn drop_past(&mut self, cursor: Seq) {
        self.0.retain(|place| place.seat.until > cursor.max(place.seat.since));
    }

    /// Lets every open seat begin above `cursor`, and forgets the others.
    pub(super) fn begin_at(&mut self, cursor: Seq) {
        self.0.retain(|place| place.seat.is_open());
        for place in &mut self.0 {
            place.seat.since = cursor;
        }
    }

    /// The number of open seats in public rooms.
    pub(super) fn public(&self) -> usize {
        self.rooms().filter(|room| room.kind() == RoomKind::Public).count()
    }

    /// Where the open seat of a room is, or where it belongs.
    fn open_index(&self, room: &RoomId) -> Result<usize, usize> {
        let after = self.0.partition_point(|place| place.seat.room <= *room);
        let last = after.checked_sub(1).and_then(|last| Some((last, &self.0.get(last)?.seat)));
        match last {
            Some((last, seat)) if seat.room == *room && seat.is_open() => Ok(last),
            _ => Err(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        name.parse().unwrap()
    }

    fn intervals(seats: &Seats) -> Vec<(String, Seq, Seq)> {
        seats.intervals().map(|seat| (seat.room.to_string(), seat.since, seat.until)).collect()
    }

    #[test]
    fn the_seats_of_a_room_follow_each_other_and_do_not_overlap() {
        let mut seats = Seats::open_in([room("b"), room("a"), room("b")], 5);
        assert!(!seats.open(&room("a"), 9) && seats.close(&room("a"), 12) && !seats.close(&room("a"), 13));
        assert!(seats.open(&room("a"), 10));
        assert_eq!(intervals(&seats), [("a".into(), 5, 12), ("a".into(), 12, Seq::MAX), ("b".into(), 5, Seq::MAX)]);
        seats.drop_past(11);
        assert_eq!(intervals(&seats).len(), 3);
        seats.drop_past(12);
        assert_eq!(intervals(&seats), [("a".into(), 12, Seq::MAX), ("b".into(), 5, Seq::MAX)]);
        assert_eq!(seats.rooms().collect::<Vec<_>>(), [&room("a"), &room("b")]);
    }

    #[test]
    fn a_seat_takes_no_more_than_forty_bytes() {
        assert_eq!(size_of::<Place>(), 40);
    }
}
