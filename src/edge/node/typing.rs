//! Coalesces typing events: at most one event a second for each room, however many persons type.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use hubbub_protocol::{RoomId, User};

/// The shortest time between two events of one room.
const PAUSE: Duration = Duration::from_secs(1);
/// Upper bound for the persons in one event.
const MAX_PEOPLE: usize = 20;
/// Upper bound for the rooms that are kept. Typing in further rooms is dropped.
const MAX_ROOMS: usize = 10_000;

/// Typing is coalesced twice: from local clients to the channel, and from the channel to local clients.
#[derive(Debug, Default)]
pub(super) struct Typing {
    pub(super) local: Coalescer,
    pub(super) remote: Coalescer,
}

/// Passes the first event of a room at once, and collects the events of the next second into one.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    rooms: HashMap<RoomId, Collected>,
}

#[derive(Debug)]
struct Collected {
    open_at: Instant,
    people: Vec<User>,
}

impl Coalescer {
    /// Adds a person. Returns the event to send, if one may be sent now.
    pub(super) fn add(&mut self, now: Instant, room: RoomId, user: User) -> Option<(RoomId, Vec<User>)> {
        if let Some(collected) = self.rooms.get_mut(&room) {
            if collected.people.len() < MAX_PEOPLE && !collected.people.contains(&user) {
                collected.people.push(user);
            }
            return None;
        }
        if self.rooms.len() >= MAX_ROOMS {
            return None;
        }
        self.rooms.insert(room.clone(), Collected { open_at: now + PAUSE, people: Vec::new() });
        Some((room, vec![user]))
    }

    /// The collected events that are due. Removes rooms without typing.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(RoomId, Vec<User>)> {
        self.rooms.retain(|_, collected| collected.open_at > now || !collected.people.is_empty());
        let ripe = self.rooms.iter_mut().filter(|(_, collected)| collected.open_at <= now);
        ripe.map(|(room, collected)| {
            collected.open_at = now + PAUSE;
            (room.clone(), std::mem::take(&mut collected.people))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubbub_protocol::GuestSecret;

    fn person() -> User {
        User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() }
    }

    #[test]
    fn the_first_goes_at_once_and_the_rest_together_a_second_later() {
        let (mut coalescer, start, room) = (Coalescer::default(), Instant::now(), RoomId::lobby());
        let (ann, bob) = (person(), person());

        assert_eq!(coalescer.add(start, room.clone(), ann.clone()), Some((room.clone(), vec![ann.clone()])));
        for user in [&ann, &bob, &ann] {
            assert_eq!(coalescer.add(start, room.clone(), user.clone()), None);
        }

        assert_eq!(coalescer.due(start + PAUSE / 2), []);
        assert_eq!(coalescer.due(start + PAUSE), [(room.clone(), vec![ann, bob])]);
        assert_eq!(coalescer.due(start + PAUSE), []);
        assert_eq!(coalescer.due(start + PAUSE * 2), []);
        assert!(coalescer.rooms.is_empty());
    }
}
