//! Who of a worker's connections is in which room: plain collections, changed in constant time.

use std::collections::HashMap;

use hubbub_protocol::RoomId;
use slab::Slab;

/// A connection's place in the roster.
pub(super) type Slot = usize;
/// A room's place in the roster.
pub(super) type RoomKey = usize;

/// Connections of type `T` and the rooms they sit in.
#[derive(Debug)]
pub(super) struct Roster<T> {
    slots: Slab<Occupant<T>>,
    rooms: Slab<Room>,
    keys: HashMap<RoomId, RoomKey>,
}

#[derive(Debug)]
struct Occupant<T> {
    value: T,
    chairs: Vec<Chair>,
}

/// Where a connection stands in a room's list, so that leaving needs no search.
#[derive(Debug)]
struct Chair {
    room: RoomKey,
    index: usize,
}

#[derive(Debug)]
struct Room {
    id: RoomId,
    members: Vec<Slot>,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { slots: Slab::new(), rooms: Slab::new(), keys: HashMap::new() }
    }
}

impl<T> Roster<T> {
    pub(super) fn insert(&mut self, value: T) -> Slot {
        self.slots.insert(Occupant { value, chairs: Vec::new() })
    }

    /// Removes a connection from all its rooms and from the roster.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        while let Some(chair) = self.slots.get_mut(slot).and_then(|occupant| occupant.chairs.pop()) {
            self.vacate(&chair);
        }
        self.slots.try_remove(slot).map(|occupant| occupant.value)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.slots.get(slot).map(|occupant| &occupant.value)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.slots.get_mut(slot).map(|occupant| &mut occupant.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.slots.iter().map(|(slot, occupant)| (slot, &occupant.value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut T)> {
        self.slots.iter_mut().map(|(slot, occupant)| (slot, &mut occupant.value))
    }

    /// Seats a connection in a room. Sitting there already changes nothing.
    pub(super) fn join(&mut self, slot: Slot, id: &RoomId) {
        let room = *self
            .keys
            .entry(id.clone())
            .or_insert_with(|| self.rooms.insert(Room { id: id.clone(), members: Vec::new() }));
        let (Some(occupant), Some(room_state)) = (self.slots.get_mut(slot), self.rooms.get_mut(room)) else { return };
        if occupant.chairs.iter().all(|chair| chair.room != room) {
            occupant.chairs.push(Chair { room, index: room_state.members.len() });
            room_state.members.push(slot);
        }
    }

    /// Takes a connection out of a room.
    pub(super) fn leave(&mut self, slot: Slot, id: &RoomId) {
        let Some(&room) = self.keys.get(id) else { return };
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        if let Some(position) = occupant.chairs.iter().position(|chair| chair.room == room) {
            let chair = occupant.chairs.swap_remove(position);
            self.vacate(&chair);
        }
    }

    pub(super) fn room(&self, id: &RoomId) -> Option<RoomKey> {
        self.keys.get(id).copied()
    }

    /// The connections in a room, in no particular order.
    pub(super) fn members(&self, room: RoomKey) -> &[Slot] {
        self.rooms.get(room).map_or(&[], |room| &room.members)
    }

    /// Whether a connection sits in one room only.
    pub(super) fn sits_alone(&self, slot: Slot) -> bool {
        self.slots.get(slot).is_some_and(|occupant| occupant.chairs.len() == 1)
    }

    /// Frees a chair; the last member of the room takes its index.
    fn vacate(&mut self, chair: &Chair) {
        let Some(room) = self.rooms.get_mut(chair.room) else { return };
        room.members.swap_remove(chair.index);
        if let Some(&moved) = room.members.get(chair.index)
            && let Some(occupant) = self.slots.get_mut(moved)
            && let Some(other) = occupant.chairs.iter_mut().find(|other| other.room == chair.room)
        {
            other.index = chair.index;
        }
        if room.members.is_empty() {
            let room = self.rooms.remove(chair.room);
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
                    let actual: BTreeSet<Slot> = roster.room(&room(n)).map(|key| roster.members(key).to_vec()).unwrap_or_default().into_iter().collect();
                    prop_assert_eq!(actual, expected);
                }
                for (slot, rooms) in &model {
                    prop_assert_eq!(roster.sits_alone(*slot), rooms.len() == 1);
                }
            }
        }
    }
}
