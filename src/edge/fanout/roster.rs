//! The seats of a worker's connections, by room. Entering and leaving a room cost a search in the connection's own seats
//! and in those of one other.

use std::collections::HashMap;

use hubbub_protocol::RoomId;
use slab::Slab;

/// A connection's place in the roster. There are far fewer than 2^32.
pub(super) type Slot = u32;
/// A room's place in the roster.
pub(super) type RoomKey = u32;

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
    /// In the order of room keys.
    seats: Vec<SeatIndex>,
}

/// The index of a connection in a room's list, so that leaving needs no search there.
#[derive(Clone, Copy, Debug)]
struct SeatIndex {
    room: RoomKey,
    index: u32,
}

#[derive(Debug)]
struct Room {
    id: RoomId,
    slots: Vec<Slot>,
}

fn wide(key: u32) -> usize {
    usize::try_from(key).unwrap_or(usize::MAX)
}

fn narrow(key: usize) -> u32 {
    u32::try_from(key).unwrap_or(u32::MAX)
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { slots: Slab::new(), rooms: Slab::new(), keys: HashMap::new() }
    }
}

impl<T> Roster<T> {
    pub(super) fn insert(&mut self, value: T) -> Slot {
        narrow(self.slots.insert(Occupant { value, seats: Vec::new() }))
    }

    /// Removes a connection from all its rooms and from the roster.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let occupant = self.slots.try_remove(wide(slot))?;
        for seat in occupant.seats {
            self.vacate(seat);
        }
        Some(occupant.value)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.slots.get(wide(slot)).map(|occupant| &occupant.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.slots.iter().map(|(slot, occupant)| (narrow(slot), &occupant.value))
    }

    /// Adds a connection to a room. Does nothing if it is there already.
    pub(super) fn join(&mut self, slot: Slot, id: &RoomId) {
        self.join_all(slot, std::slice::from_ref(id));
    }

    /// Adds a connection to rooms in one step. Does nothing in those where it is already.
    pub(super) fn join_all(&mut self, slot: Slot, ids: &[RoomId]) {
        let Some(occupant) = self.slots.get_mut(wide(slot)) else { return };
        let known = occupant.seats.len();
        occupant.seats.reserve_exact(ids.len());
        for id in ids {
            let room = *self
                .keys
                .entry(id.clone())
                .or_insert_with(|| narrow(self.rooms.insert(Room { id: id.clone(), slots: Vec::new() })));
            let is_there = occupant.seats.get(..known).is_some_and(|known| position(known, room).is_ok());
            let Some(state) = self.rooms.get_mut(wide(room)).filter(|_| !is_there) else { continue };
            // a room named twice
            if state.slots.last() == Some(&slot) {
                continue;
            }
            occupant.seats.push(SeatIndex { room, index: narrow(state.slots.len()) });
            state.slots.push(slot);
        }
        occupant.seats.sort_unstable_by_key(|seat| seat.room);
    }

    /// Removes a connection from a room.
    pub(super) fn leave(&mut self, slot: Slot, id: &RoomId) {
        let Some(&room) = self.keys.get(id) else { return };
        let Some(occupant) = self.slots.get_mut(wide(slot)) else { return };
        if let Ok(position) = position(&occupant.seats, room) {
            let seat = occupant.seats.remove(position);
            self.vacate(seat);
        }
    }

    pub(super) fn room(&self, id: &RoomId) -> Option<RoomKey> {
        self.keys.get(id).copied()
    }

    /// The same room, with the text that the roster has: connections share it.
    pub(super) fn shared(&self, id: RoomId) -> RoomId {
        self.keys.get_key_value(&id).map_or(id, |(known, _)| known.clone())
    }

    /// The slots of a room, in no particular order.
    pub(super) fn slots(&self, room: RoomKey) -> &[Slot] {
        self.rooms.get(wide(room)).map_or(&[], |room| &room.slots)
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
    fn vacate(&mut self, seat: SeatIndex) {
        let Some(room) = self.rooms.get_mut(wide(seat.room)) else { return };
        room.slots.swap_remove(wide(seat.index));
        if let Some(&moved) = room.slots.get(wide(seat.index))
            && let Some(occupant) = self.slots.get_mut(wide(moved))
            && let Ok(position) = position(&occupant.seats, seat.room)
            && let Some(other) = occupant.seats.get_mut(position)
        {
            other.index = seat.index;
        }
        if room.slots.is_empty() {
            let room = self.rooms.remove(wide(seat.room));
            self.keys.remove(&room.id);
        }
    }
}

/// Where the seat in a room is among seats in order.
fn position(seats: &[SeatIndex], room: RoomKey) -> Result<usize, usize> {
    seats.binary_search_by_key(&room, |seat| seat.room)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Remove(Slot),
        Join(Slot, Vec<usize>),
        Leave(Slot, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Insert),
            1 => (0..20_u32).prop_map(Step::Remove),
            4 => (0..20_u32, prop::collection::vec(0..5_usize, 0..5)).prop_map(|(who, rooms)| Step::Join(who, rooms)),
            2 => (0..20_u32, 0..5_usize).prop_map(|(who, room)| Step::Leave(who, room)),
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
                    Step::Join(who, named) => if let Some(rooms) = model.get_mut(&who) {
                        roster.join_all(who, &named.iter().map(|n| room(*n)).collect::<Vec<_>>());
                        rooms.extend(named);
                    },
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

    /// Each list of 1 000 rooms is searched as a list, not once for each of its rooms: 500 people would take a minute.
    #[test]
    fn people_with_a_thousand_rooms_come_and_go_at_once() {
        let rooms: Vec<RoomId> = (0..1000).map(RoomId::private).collect();
        let (mut roster, began) = (Roster::default(), std::time::Instant::now());
        let slots: Vec<_> = (0..500).map(|_| roster.insert(())).collect();
        for slot in &slots {
            roster.join_all(*slot, &rooms);
        }
        assert!(rooms.iter().all(|room| roster.members(room).count() == 500));
        for slot in slots {
            roster.remove(slot);
        }
        assert!(roster.keys.is_empty() && roster.rooms.is_empty());
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
