//! The seats of a worker's connections, by room. Joining and leaving take constant time.

use std::collections::HashMap;

use hubbub_protocol::RoomId;
use slab::Slab;

/// A connection's place in the roster.
pub(super) type Slot = usize;
/// A room's place in the roster.
pub(super) type RoomKey = usize;

/// Connections of type `T` and their rooms.
#[derive(Debug)]
pub(super) struct Roster<T> {
    slots: Slab<Occupant<T>>,
    rooms: Slab<Room>,
    keys: HashMap<RoomId, RoomKey>,
}

#[derive(Debug)]
struct Occupant<T> {
    value: T,
    seats: Vec<SeatIndex>,
}

/// The index of a connection in a room's list, so that leaving needs no search.
#[derive(Debug)]
struct SeatIndex {
    room: RoomKey,
    index: usize,
}

#[derive(Debug)]
struct Room {
    id: RoomId,
    slots: Vec<Slot>,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { slots: Slab::new(), rooms: Slab::new(), keys: HashMap::new() }
    }
}

impl<T> Roster<T> {
    pub(super) fn insert(&mut self, value: T) -> Slot {
        self.slots.insert(Occupant { value, seats: Vec::new() })
    }

    /// Removes a connection from all its rooms and from the roster.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        while let Some(seat) = self.slots.get_mut(slot).and_then(|occupant| occupant.seats.pop()) {
            self.vacate(&seat);
        }
        self.slots.try_remove(slot).map(|occupant| occupant.value)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.slots.get(slot).map(|occupant| &occupant.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.slots.iter().map(|(slot, occupant)| (slot, &occupant.value))
    }

    /// Adds a connection to a room. Does nothing if it is there already.
    pub(super) fn join(&mut self, slot: Slot, id: &RoomId) {
        let room = *self
            .keys
            .entry(id.clone())
            .or_insert_with(|| self.rooms.insert(Room { id: id.clone(), slots: Vec::new() }));
        let (Some(occupant), Some(room_state)) = (self.slots.get_mut(slot), self.rooms.get_mut(room)) else { return };
        if occupant.seats.iter().all(|seat| seat.room != room) {
            occupant.seats.push(SeatIndex { room, index: room_state.slots.len() });
            room_state.slots.push(slot);
        }
    }

    /// Removes a connection from a room.
    pub(super) fn leave(&mut self, slot: Slot, id: &RoomId) {
        let Some(&room) = self.keys.get(id) else { return };
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        if let Some(position) = occupant.seats.iter().position(|seat| seat.room == room) {
            let seat = occupant.seats.swap_remove(position);
            self.vacate(&seat);
        }
    }

    pub(super) fn room(&self, id: &RoomId) -> Option<RoomKey> {
        self.keys.get(id).copied()
    }

    /// The slots of a room, in no particular order.
    pub(super) fn slots(&self, room: RoomKey) -> &[Slot] {
        self.rooms.get(room).map_or(&[], |room| &room.slots)
    }

    /// The connections of a room, in no particular order.
    pub(super) fn members(&self, id: &RoomId) -> impl Iterator<Item = &T> {
        self.room(id).into_iter().flat_map(|room| self.slots(room)).filter_map(|slot| self.get(*slot))
    }

    /// Every slot is below this.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Removes a connection from a room's list; the last member of the room takes its index.
    fn vacate(&mut self, seat: &SeatIndex) {
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        room.slots.swap_remove(seat.index);
        if let Some(&moved) = room.slots.get(seat.index)
            && let Some(occupant) = self.slots.get_mut(moved)
            && let Some(other) = occupant.seats.iter_mut().find(|other| other.room == seat.room)
        {
            other.index = seat.index;
        }
        if room.slots.is_empty() {
            let room = self.rooms.remove(seat.room);
            self.keys.remove(&room.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Remove(usize),
        Join(usize, usize),
        Leave(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Insert),
            1 => (0..20_usize).prop_map(Step::Remove),
            4 => (0..20_usize, 0..5_usize).prop_map(|(who, room)| Step::Join(who, room)),
            2 => (0..20_usize, 0..5_usize).prop_map(|(who, room)| Step::Leave(who, room)),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map_of_sets(steps in prop::collection::vec(step(), 1..80)) {
            let mut roster = Roster::default();
            let mut model: BTreeMap<Slot, BTreeSet<usize>> = BTreeMap::new();
            let room = |n: usize| -> RoomId { format!("r{n}").parse().unwrap() };
            for step in steps {
                match step {
                    Step::Insert => { model.insert(roster.insert(()), BTreeSet::new()); }
                    Step::Remove(who) => prop_assert_eq!(roster.remove(who).is_some(), model.remove(&who).is_some()),
                    Step::Join(who, n) => if let Some(rooms) = model.get_mut(&who) { roster.join(who, &room(n)); rooms.insert(n); },
                    Step::Leave(who, n) => if let Some(rooms) = model.get_mut(&who) { roster.leave(who, &room(n)); rooms.remove(&n); },
                }
                for n in 0..5 {
                    let expected: BTreeSet<Slot> = model.iter().filter(|(_, rooms)| rooms.contains(&n)).map(|(slot, _)| *slot).collect();
                    let actual: BTreeSet<Slot> = roster.room(&room(n)).map(|key| roster.slots(key).to_vec()).unwrap_or_default().into_iter().collect();
                    prop_assert_eq!(actual, expected);
                }
            }
        }
    }
}
