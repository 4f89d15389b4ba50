//! The messages a client had lately, so that none is shown twice.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use hubbub_protocol::{Message, Seq};

/// Bounded memory of messages, by sender and id and by place.
#[derive(Debug)]
pub(crate) struct Seen {
    order: VecDeque<(u64, Seq)>,
    keys: HashSet<u64>,
    seqs: HashSet<Seq>,
    capacity: usize,
}

impl Seen {
    /// Remembers the newest `capacity` messages.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { order: VecDeque::new(), keys: HashSet::new(), seqs: HashSet::new(), capacity }
    }

    /// Remembers a message. False if it was there: by its id, or by the place it had before Redis lost it.
    pub(crate) fn insert(&mut self, message: &Message) -> bool {
        let record = &message.record;
        // 64 bits of hash stand for the pair: a thousand clients in one process shall stay small.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let key = hasher.hash_one((record.from.id.as_str(), record.id.as_str()));
        if message.was.is_some_and(|was| self.seqs.contains(&was)) || !self.keys.insert(key) {
            return false;
        }
        self.seqs.insert(message.seq);
        self.order.push_back((key, message.seq));
        if self.order.len() > self.capacity
            && let Some((key, seq)) = self.order.pop_front()
        {
            self.keys.remove(&key);
            self.seqs.remove(&seq);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{GuestSecret, Record, RoomId, User};

    use super::*;

    fn message(id: &str, seq: Seq, was: Option<Seq>) -> Message {
        let from =
            User { id: "AAAAAAAAAAAAAAAAAAAAAA".parse::<GuestSecret>().unwrap().user_id(), name: "a".parse().unwrap() };
        let record = Record { room: RoomId::lobby(), id: id.parse().unwrap(), from, body: "b".into(), at: 0 };
        Message { seq, record, was }
    }

    #[test]
    fn a_message_is_known_by_its_id_and_by_the_place_it_had() {
        let mut seen = Seen::new(10);
        assert!(seen.insert(&message("a", 1, None)));
        assert!(!seen.insert(&message("a", 2, None)));
        assert!(!seen.insert(&message("b", 3, Some(1))));
        assert!(seen.insert(&message("c", 4, Some(2))));
    }

    #[test]
    fn what_is_older_than_the_capacity_is_forgotten() {
        let mut seen = Seen::new(2);
        for (id, seq) in [("a", 1), ("b", 2), ("c", 3)] {
            assert!(seen.insert(&message(id, seq, None)));
        }
        assert!(seen.insert(&message("a", 4, None)));
        assert!(!seen.insert(&message("c", 5, None)));
    }
}
