//! The rules of rooms that the log told of lately. They are newer than what the directory may have read before.

use std::collections::HashMap;

use hubbub_log::ring::Rules;
use hubbub_protocol::{RoomId, Seq};

/// Upper bound for the rooms that are kept. Rules change rarely, and a read of the directory takes seconds at most.
const MAX_ROOMS: usize = 4096;

/// The newest rules of each room.
#[derive(Debug, Default)]
pub(super) struct RecentRules(HashMap<RoomId, Told>);

#[derive(Clone, Copy, Debug)]
struct Told {
    rev: u64,
    rules: Rules,
    at: Seq,
}

impl RecentRules {
    /// Notes rules that the log told at `at`. False: newer ones of the room are known, so these change nothing.
    pub(super) fn note(&mut self, room: &RoomId, rev: u64, rules: Rules, at: Seq) -> bool {
        if self.0.get(room).is_some_and(|told| told.rev >= rev) {
            return false;
        }
        if self.0.len() >= MAX_ROOMS {
            let mut places: Vec<_> = self.0.values().map(|told| told.at).collect();
            let (_, middle, _) = places.select_nth_unstable(MAX_ROOMS / 2);
            let middle = *middle;
            self.0.retain(|_, told| told.at > middle);
        }
        self.0.insert(room.clone(), Told { rev, rules, at });
        true
    }

    /// The rules of a room, if the log told them above `position`.
    pub(super) fn told_above(&self, room: &RoomId, position: Seq) -> Option<Rules> {
        self.0.get(room).filter(|told| told.at > position).map(|told| told.rules)
    }

    /// The rules of a room, if they are newer than a change with this `rev`. Each `rev` follows the clock of the database.
    pub(super) fn newer_than(&self, room: &RoomId, rev: u64) -> Option<Rules> {
        self.0.get(room).filter(|told| told.rev > rev).map(|told| told.rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVED: Rules = Rules { archived: true, admins_only: false };
    const OPEN: Rules = Rules { archived: false, admins_only: false };

    #[test]
    fn rules_that_come_late_change_nothing() {
        let (mut rules, room) = (RecentRules::default(), RoomId::private(1));
        assert!(rules.note(&room, 7, ARCHIVED, 100) && !rules.note(&room, 5, OPEN, 101));
        assert_eq!((rules.told_above(&room, 99), rules.told_above(&room, 100)), (Some(ARCHIVED), None));
        assert_eq!((rules.newer_than(&room, 6), rules.newer_than(&room, 7)), (Some(ARCHIVED), None));
        assert!(rules.note(&room, 8, OPEN, 102));
        assert_eq!(rules.told_above(&room, 0), Some(OPEN));
    }

    #[test]
    fn only_the_rules_of_the_last_rooms_are_kept() {
        let mut rules = RecentRules::default();
        for n in 1..=10_000 {
            assert!(rules.note(&RoomId::private(n), 1, OPEN, Seq::try_from(n).unwrap()));
            assert!(rules.0.len() <= MAX_ROOMS);
        }
        assert_eq!(rules.told_above(&RoomId::private(10_000), 0), Some(OPEN));
    }
}
