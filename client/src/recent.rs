//! The messages that a client received lately, so that none is shown twice.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use hubbub_protocol::{Message, Seq};

/// A bounded set of messages, by sender, room and id, and by `seq`.
#[derive(Debug)]
pub(crate) struct Recent {
    order: VecDeque<(u64, Seq)>,
    keys: HashSet<u64>,
    seqs: HashSet<Seq>,
    capacity: usize,
}

impl Recent {
    /// Remembers the newest `capacity` messages.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { order: VecDeque::new(), keys: HashSet::new(), seqs: HashSet::new(), capacity }
    }

    /// Adds a message. Returns false if it was there: by its id, or by the `seq` it had before Redis lost it.
    pub(crate) fn insert(&mut self, message: &Message) -> bool {
        let record = &message.record;
        // A hash of 64 bits instead of the three, so that a thousand clients in one process stay small.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let key = hasher.hash_one((record.from.id.as_str(), record.room.as_str(), record.id.as_str()));
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
        Message { seq, record, first: was, was }
    }

    #[test]
    fn a_message_is_known_by_its_id_and_by_the_seq_it_had() {
        let mut recent = Recent::new(10);
        assert!(recent.insert(&message("a", 1, None)));
        assert!(!recent.insert(&message("a", 2, None)));
        assert!(!recent.insert(&message("b", 3, Some(1))));
        assert!(recent.insert(&message("c", 4, Some(2))));
    }

    #[test]
    fn messages_beyond_the_capacity_are_forgotten() {
        let mut recent = Recent::new(2);
        for (id, seq) in [("a", 1), ("b", 2), ("c", 3)] {
            assert!(recent.insert(&message(id, seq, None)));
        }
        assert!(recent.insert(&message("a", 4, None)));
        assert!(!recent.insert(&message("c", 5, None)));
    }
}
