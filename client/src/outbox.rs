//! The messages of a client that are not confirmed yet. Time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use hubbub_protocol::{MessageId, Publish, Seq};
use tokio::time::Instant;

/// Unconfirmed messages by id, and the order in which they are to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: HashMap<MessageId, Pending>,
    queue: VecDeque<MessageId>,
    pushed: u64,
    held: Option<Hold>,
}

/// A message without a confirmation.
#[derive(Debug)]
struct Pending {
    publish: Publish,
    /// Number of messages that were pushed before it.
    order: u64,
    /// When it was first sent. From then on the server may have it.
    sent: Option<Instant>,
    /// Its `seq`, if it came back as a `message` before its `ack` did.
    seq: Option<Seq>,
}

/// The server refused a message for now: one message each `pace`, the first at `until`.
#[derive(Clone, Copy, Debug)]
struct Hold {
    until: Instant,
    pace: Duration,
}

/// What the replay decided about messages of earlier connections. The rest is queued again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Confirmed, because they came back: id, `seq`, time since first sent.
    pub(crate) acked: Vec<(MessageId, Seq, Duration)>,
    /// Too old to be sent again.
    pub(crate) expired: Vec<MessageId>,
}

impl Outbox {
    /// Adds a message at the end of the queue.
    pub(crate) fn push(&mut self, publish: Publish) {
        let id = publish.id.clone();
        self.queue.push_back(id.clone());
        self.pending.insert(id, Pending { publish, order: self.pushed, sent: None, seq: None });
        self.pushed += 1;
    }

    /// Number of messages without a confirmation.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// When [`next`](Self::next) has a message again after a refusal.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.held.map(|hold| hold.until).filter(|_| !self.queue.is_empty())
    }

    /// The next message to send, if one may be sent now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Publish> {
        if self.held.is_some_and(|hold| now < hold.until) {
            return None;
        }
        loop {
            let Some(id) = self.queue.pop_front() else {
                self.held = None;
                return None;
            };
            // A message that was confirmed while it was queued again is gone.
            let Some(pending) = self.pending.get_mut(&id) else { continue };
            pending.sent.get_or_insert(now);
            if let Some(hold) = &mut self.held {
                hold.until = now + hold.pace;
            }
            return Some(pending.publish.clone());
        }
    }

    /// The server refused this message for now: it is sent first when `retry_after` is over, and the rest at that pace.
    pub(crate) fn hold(&mut self, id: &MessageId, retry_after: Duration, now: Instant) {
        if self.pending.contains_key(id) && !self.queue.contains(id) {
            self.queue.push_front(id.clone());
            // Several may be refused, one after the other; they keep their order.
            self.queue.make_contiguous().sort_by_key(|id| self.pending.get(id).map(|pending| pending.order));
        }
        let until = self.held.map_or(now, |hold| hold.until).max(now + retry_after);
        self.held = Some(Hold { until, pace: retry_after });
    }

    /// The client's own message came back as a `message`, before its `ack`.
    pub(crate) fn received(&mut self, id: &MessageId, seq: Seq) {
        if let Some(pending) = self.pending.get_mut(id) {
            pending.seq = Some(seq);
        }
    }

    /// The message was confirmed or refused for good. Returns the time since it was first sent, if it was pending.
    pub(crate) fn remove(&mut self, id: &MessageId, now: Instant) -> Option<Duration> {
        let pending = self.pending.remove(id)?;
        Some(pending.sent.map_or(Duration::ZERO, |sent| now - sent))
    }

    /// A new connection has replayed what was missed. Messages that came back are confirmed; those first sent less than
    /// `window` ago are queued again under their ids; older ones have failed.
    pub(crate) fn settle(&mut self, now: Instant, window: Duration) -> Settled {
        let mut settled = Settled::default();
        let mut rest: Vec<(u64, MessageId)> = Vec::new();
        for (id, pending) in &self.pending {
            let age = pending.sent.map_or(Duration::ZERO, |sent| now - sent);
            match pending.seq {
                Some(seq) => settled.acked.push((id.clone(), seq, age)),
                None if age >= window => settled.expired.push(id.clone()),
                None => rest.push((pending.order, id.clone())),
            }
        }
        for id in settled.acked.iter().map(|(id, ..)| id).chain(&settled.expired) {
            self.pending.remove(id);
        }
        settled.acked.sort_by_key(|(_, seq, _)| *seq);
        rest.sort_unstable();
        self.queue = rest.into_iter().map(|(_, id)| id).collect();
        self.held = None;
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(2);

    fn id(text: &str) -> MessageId {
        text.parse().unwrap()
    }

    fn outbox(ids: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        for id in ids {
            outbox.push(Publish::parse(id, "lobby", "hi").unwrap());
        }
        outbox
    }

    fn drain(outbox: &mut Outbox, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| outbox.next(now)).map(|publish| publish.id.to_string()).collect()
    }

    #[test]
    fn after_a_replay_returned_messages_are_confirmed_and_the_rest_is_queued_in_order() {
        let (mut outbox, now) = (outbox(&["c", "a", "b"]), Instant::now());
        assert_eq!(drain(&mut outbox, now), ["c", "a", "b"]);
        outbox.received(&id("a"), 7);

        let settled = outbox.settle(now + Duration::from_secs(1), WINDOW);

        assert_eq!(settled.acked, [(id("a"), 7, Duration::from_secs(1))]);
        assert_eq!(settled.expired, []);
        assert_eq!(drain(&mut outbox, now), ["c", "b"]);
    }

    #[test]
    fn a_message_sent_too_long_ago_has_failed_and_one_never_sent_has_not() {
        let (mut outbox, now) = (outbox(&["old"]), Instant::now());
        assert_eq!(drain(&mut outbox, now), ["old"]);
        outbox.push(Publish::parse("unsent", "lobby", "hi").unwrap());

        let settled = outbox.settle(now + WINDOW, WINDOW);

        assert_eq!(settled.expired, [id("old")]);
        assert_eq!(drain(&mut outbox, now), ["unsent"]);
    }

    #[test]
    fn after_a_refusal_messages_are_sent_in_order_at_the_pace_the_server_asked_for() {
        let (mut outbox, now) = (outbox(&["a", "b"]), Instant::now());
        assert_eq!(drain(&mut outbox, now), ["a", "b"]);
        let pace = Duration::from_millis(20);
        outbox.hold(&id("b"), pace, now);
        outbox.hold(&id("a"), pace, now);

        assert_eq!(drain(&mut outbox, now), Vec::<String>::new());
        assert_eq!(outbox.held_until(), Some(now + pace));
        assert_eq!(drain(&mut outbox, now + pace), ["a"]);
        assert_eq!(drain(&mut outbox, now + pace), Vec::<String>::new());
        assert_eq!(drain(&mut outbox, now + pace * 2), ["b"]);
    }

    #[test]
    fn a_message_confirmed_while_it_is_queued_is_not_sent_again() {
        let (mut outbox, now) = (outbox(&["a"]), Instant::now());
        assert_eq!(outbox.remove(&id("a"), now), Some(Duration::ZERO));
        assert_eq!(drain(&mut outbox, now), Vec::<String>::new());
        assert_eq!(outbox.len(), 0);
    }
}
