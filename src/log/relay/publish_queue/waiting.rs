//! New messages that wait to be appended, shared fairly between their senders.
//!
//! *Room*: a sender gets more of the queue only while less of it is its own than is free. So one sender fills half of it
//! at most, two of them two thirds, and whoever has nothing in the queue gets in while there is any room at all.
//!
//! *Turns*: each message has a place in virtual time, which is counted in bytes taken (start-time fair queueing). A
//! message of a sender with many in front of it comes after the first ones of all others. The messages of one sender
//! keep their order.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
    sync::LazyLock,
};

use super::{Bounds, OnPlaced};
use crate::{
    backend::Submission,
    relay::{Full, Overloaded},
};

/// What a message counts beside its bytes, for its turn.
const MESSAGE_COST: usize = 256;

/// Whose share of the publish queue a message takes: that of an address, a person or a back end. The caller decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share(u64);

impl Share {
    /// The share of the sender with this name. Two senders can have the same one, but nobody can choose whose.
    pub fn of(sender: &impl Hash) -> Self {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(SECRET.hash_one(sender))
    }
}

/// A new message.
pub(super) struct Pending {
    pub(super) submission: Submission,
    pub(super) on_placed: OnPlaced,
    share: Share,
    /// What it takes of the queue: its record may grow while it waits.
    bytes: usize,
}

impl Pending {
    pub(super) fn new(submission: Submission, share: Share, on_placed: OnPlaced) -> Self {
        let bytes = submission.record.len();
        Self { submission, on_placed, share, bytes }
    }
}

/// What messages take of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    messages: usize,
    bytes: usize,
}

/// One sender's part of the queue.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    used: Usage,
    /// The turn after its last message.
    next_turn: u64,
}

pub(super) struct Waiting {
    bounds: Bounds,
    /// By turn, then in the order of arrival.
    queue: BTreeMap<(u64, u64), Pending>,
    /// The senders that use any of the queue.
    parts: HashMap<Share, Part>,
    /// By the messages in the queue, and those taken out of it and not released.
    used: Usage,
    /// The turn of the last message taken.
    turn: u64,
    arrivals: u64,
}

impl Waiting {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (queue, parts) = (BTreeMap::new(), HashMap::new());
        Self { bounds, queue, parts, used: Usage::default(), turn: 0, arrivals: 0 }
    }

    /// Messages in the queue, and those taken out of it and not released.
    pub(super) const fn len(&self) -> usize {
        self.used.messages
    }

    pub(super) fn push(&mut self, pending: Pending) -> Result<(), Overloaded> {
        let bytes = pending.bytes;
        let part = self.parts.get(&pending.share).copied().unwrap_or_default();
        self.check_room(part.used, bytes)?;
        let turn = part.next_turn.max(self.turn);
        let used = |used: Usage| Usage { messages: used.messages + 1, bytes: used.bytes + bytes };
        let cost = u64::try_from(bytes + MESSAGE_COST).unwrap_or(u64::MAX);
        self.parts.insert(pending.share, Part { used: used(part.used), next_turn: turn.saturating_add(cost) });
        self.used = used(self.used);
        self.arrivals += 1;
        self.queue.insert((turn, self.arrivals), pending);
        Ok(())
    }

    fn check_room(&self, own: Usage, bytes: usize) -> Result<(), Overloaded> {
        let free = Usage {
            messages: self.bounds.messages.saturating_sub(self.used.messages),
            bytes: self.bounds.bytes.saturating_sub(self.used.bytes),
        };
        let refuse = |full| Err(Overloaded { full, retry_after_ms: 1000 });
        if free.messages == 0 || bytes > free.bytes {
            return refuse(Full::Queue);
        }
        if own.messages >= free.messages || own.bytes + bytes > free.bytes {
            return refuse(Full::Share);
        }
        Ok(())
    }

    /// Takes the messages whose turn it is, at most so many and so many bytes, but at least one if there is any. They
    /// use the queue until they are [released](Self::release).
    pub(super) fn take(&mut self, messages: usize, max_bytes: usize) -> VecDeque<Pending> {
        let (mut batch, mut bytes) = (VecDeque::new(), 0);
        while batch.len() < messages
            && let Some(first) = self.queue.first_entry()
        {
            bytes += first.get().bytes;
            if bytes > max_bytes && !batch.is_empty() {
                break;
            }
            self.turn = first.key().0;
            batch.push_back(first.remove());
        }
        batch
    }

    /// A message that was taken is done with.
    pub(super) fn release(&mut self, pending: &Pending) {
        let less = |used: Usage| Usage { messages: used.messages - 1, bytes: used.bytes - pending.bytes };
        self.used = less(self.used);
        if let Some(part) = self.parts.get_mut(&pending.share) {
            part.used = less(part.used);
            if part.used.messages == 0 {
                self.parts.remove(&pending.share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn waiting(messages: usize, bytes: usize) -> Waiting {
        Waiting::new(Bounds { messages, bytes, jitter: Duration::ZERO })
    }

    fn pending(sender: u8, number: usize, size: usize) -> Pending {
        let record = format!(r#"{{"room":"a","id":"{number}","from":{{"id":"{sender}"}}}}"#);
        let record = format!("{record:<size$}");
        let submission = Submission::new(record, 0, 0).unwrap();
        Pending::new(submission, Share::of(&sender), Box::new(|_| ()))
    }

    /// Who sent it, and its number.
    fn name(pending: &Pending) -> (u8, usize) {
        let parts: Vec<_> = pending.submission.key.split(':').collect();
        (parts[0].parse().unwrap(), parts[2].parse().unwrap())
    }

    #[test]
    fn a_sender_that_floods_is_refused_and_others_still_get_in() {
        let mut waiting = waiting(1000, usize::MAX);
        let accepted = (0..2000).filter(|n| waiting.push(pending(1, *n, 0)).is_ok()).count();
        assert_eq!(accepted, 500);
        assert_eq!(waiting.push(pending(1, 0, 0)).unwrap_err().full, Full::Share);
        let accepted = (0..2000).filter(|n| waiting.push(pending(2, *n, 0)).is_ok()).count();
        assert_eq!(accepted, 250);
        for sender in 3..=200 {
            waiting.push(pending(sender, 0, 0)).unwrap();
        }
    }

    #[test]
    fn a_sender_that_floods_with_bytes_is_refused_and_others_still_get_in() {
        let mut waiting = waiting(usize::MAX, 100_000);
        let accepted = (0..200).filter(|n| waiting.push(pending(1, *n, 1000)).is_ok()).count();
        assert_eq!(accepted, 50);
        waiting.push(pending(2, 0, 25_000)).unwrap();
        assert_eq!(waiting.push(pending(3, 0, 25_001)).unwrap_err().full, Full::Queue);
        waiting.push(pending(3, 0, 25_000)).unwrap();
    }

    #[test]
    fn a_message_does_not_wait_for_the_flood_in_front_of_it() {
        let mut waiting = waiting(1000, usize::MAX);
        for n in 0..400 {
            waiting.push(pending(1, n, 100)).unwrap();
        }
        drop(waiting.take(50, usize::MAX));
        waiting.push(pending(2, 0, 100)).unwrap();
        let next: Vec<_> = waiting.take(2, usize::MAX).iter().map(name).collect();
        assert!(next.contains(&(2, 0)), "{next:?}");
    }

    #[test]
    fn a_released_message_makes_room_for_its_sender() {
        let mut waiting = waiting(4, usize::MAX);
        for n in 0..2 {
            waiting.push(pending(1, n, 0)).unwrap();
        }
        assert!(waiting.push(pending(1, 2, 0)).is_err());
        let taken = waiting.take(1, usize::MAX);
        assert!(waiting.push(pending(1, 2, 0)).is_err(), "it is not in the log yet");
        waiting.release(&taken[0]);
        waiting.push(pending(1, 2, 0)).unwrap();
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push { sender: u8, size: usize },
        Take { messages: usize, bytes: usize },
        Release,
    }

    fn op() -> impl Strategy<Value = Op> {
        // sender 0 is most of the load
        let sender = prop_oneof![3 => Just(0_u8), 2 => 0..6_u8];
        prop_oneof![
            8 => (sender, 40..400_usize).prop_map(|(sender, size)| Op::Push { sender, size }),
            1 => (1..8_usize, 1..2000_usize).prop_map(|(messages, bytes)| Op::Take { messages, bytes }),
            1 => Just(Op::Release),
        ]
    }

    /// What the queue must hold, computed anew from its contents.
    #[derive(Default)]
    struct Model {
        waiting: Vec<(u8, usize, usize)>,
        taken: Vec<Pending>,
    }

    impl Model {
        fn used(&self, of: Option<u8>) -> Usage {
            let taken = self.taken.iter().map(|pending| (name(pending).0, pending.bytes));
            let all = self.waiting.iter().map(|(sender, _, size)| (*sender, *size)).chain(taken);
            let own = all.filter(|(sender, _)| of.is_none_or(|of| of == *sender));
            own.fold(Usage::default(), |used, (_, size)| Usage {
                messages: used.messages + 1,
                bytes: used.bytes + size,
            })
        }
    }

    proptest! {
        #[test]
        fn every_sender_gets_its_share_in_order_and_no_more(ops in prop::collection::vec(op(), 1..300)) {
            const MESSAGES: usize = 40;
            const BYTES: usize = 6000;
            let (mut queue, mut model, mut number) = (waiting(MESSAGES, BYTES), Model::default(), 0);
            for op in ops {
                match op {
                    Op::Push { sender, size } => {
                        number += 1;
                        let message = pending(sender, number, size);
                        let (own, all, size) = (model.used(Some(sender)), model.used(None), message.bytes);
                        let fits = own.messages < MESSAGES - all.messages && own.bytes + size <= BYTES - all.bytes;
                        prop_assert_eq!(queue.push(message).is_ok(), fits, "{:?} of {:?}", own, all);
                        model.waiting.extend(fits.then_some((sender, number, size)));
                    }
                    Op::Take { messages, bytes } => {
                        for taken in queue.take(messages, bytes) {
                            let (sender, number) = name(&taken);
                            let first = model.waiting.iter().position(|(other, ..)| *other == sender).unwrap();
                            let (_, expected, _) = model.waiting.remove(first);
                            prop_assert_eq!(number, expected, "the order of sender {}", sender);
                            model.taken.push(taken);
                        }
                    }
                    Op::Release => model.taken.drain(..).for_each(|taken| queue.release(&taken)),
                }
                let used = model.used(None);
                prop_assert_eq!((queue.used, queue.len()), (used, used.messages));
                prop_assert!(used.messages <= MESSAGES && used.bytes <= BYTES);
            }
            // everything comes out
            prop_assert_eq!(queue.take(usize::MAX, usize::MAX).len(), model.waiting.len());
        }

        #[test]
        fn senders_that_always_have_something_waiting_get_the_same_bytes(
            sizes in prop::collection::vec(40..4000_usize, 3), batches in 1..60_usize,
        ) {
            let mut queue = waiting(usize::MAX, usize::MAX);
            for (sender, size) in (0_u8..).zip(&sizes) {
                for n in 0..2000 {
                    queue.push(pending(sender, n, *size)).unwrap();
                }
            }
            let mut got = [0_usize; 3];
            for _ in 0..batches {
                for taken in queue.take(32, usize::MAX) {
                    got[usize::from(name(&taken).0)] += taken.bytes + MESSAGE_COST;
                }
            }
            let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
            prop_assert!(most - least <= 4000 + MESSAGE_COST, "{:?}", got);
        }
    }
}
