//! Messages without a valid `seq`: new ones, and ones that the log has lost.
//!
//! The relay's handle pushes new messages, and the publisher appends them. Then a message is *unconfirmed*: it has a
//! `seq`, but has not come through the channel yet. The queue keeps a copy, since the log may still lose it. The ring
//! writer applies the message to the ring, and the queue drops the copy.
//!
//! When an epoch opens, the ring writer passes the lost entries of the ring to the queue. They and the lost unconfirmed
//! messages are appended again, before any new message.
//!
//! Locks: the queue's lock is held for memory operations only, never across an await, and never together with the
//! ring's lock. Callbacks run after it is free.

mod contents;
mod offer;
mod unconfirmed;
mod waiting;

use std::{fmt, sync::Arc, time::Duration};

use contents::{Chosen, Contents};
use hubbub_protocol::Seq;
use offer::Offer;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use waiting::Pending;
pub use waiting::Share;

use super::Overloaded;
use crate::{
    backend::{Placement, Submission},
    marker::Marker,
    ring::Entry,
};

/// Runs when the log has given a message its `seq`, or has refused its id.
pub(crate) type OnPlaced = Box<dyn FnOnce(Placement) + Send>;

/// Bounds of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Upper bound for new messages.
    pub(crate) messages: usize,
    /// Upper bound for the bytes of their records.
    pub(crate) bytes: usize,
    /// Longest random delay before lost messages are appended again, so that not all instances do it.
    pub(crate) jitter: Duration,
}

/// The submissions of one append. They stay in the queue until [`PublishQueue::settle`].
#[derive(Debug)]
pub(crate) struct AppendBatch {
    pub(crate) submissions: Vec<Submission>,
    origin: Origin,
}

/// Which part of the queue a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// New messages.
    New,
    /// Messages that the log has lost. The former `seq` of each is in [`Submission::was`].
    Lost,
}

/// What the publisher does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Append this.
    Append(AppendBatch),
    /// Retry at this time: another instance may append them first.
    Wait(Instant),
    /// Nothing can be appended now.
    Idle,
}

/// A change of the ring that concerns the queue.
#[derive(Debug)]
pub(crate) enum Change {
    /// A re-appended message is in the ring. This was its former `seq`.
    Reappended(Seq),
    /// An epoch has opened.
    EpochOpened {
        /// The last `seq` applied before the marker.
        applied: Seq,
        marker: Marker,
        /// Entries of the ring that the log has lost, ascending.
        lost: Vec<Arc<Entry>>,
    },
}

/// The queue and its two signals.
pub(crate) struct PublishQueue {
    contents: Mutex<Contents>,
    /// Wakes the publisher.
    work: Notify,
    /// Wakes tasks that wait for an empty queue.
    emptied: Notify,
}

impl PublishQueue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { contents: Mutex::new(Contents::new(bounds)), work: Notify::new(), emptied: Notify::new() }
    }

    /// Queues a new message in its sender's share. `on_placed` runs once, when the log has decided about it. It is
    /// dropped if the message is.
    pub(crate) fn push(&self, submission: Submission, share: Share, on_placed: OnPlaced) -> Result<(), Overloaded> {
        self.contents.lock().push(Pending::new(submission, share, on_placed))?;
        self.work.notify_one();
        Ok(())
    }

    /// What to append next. `now` is of the steady clock.
    pub(crate) fn next(&self, now: u64) -> Next {
        let chosen = self.contents.lock().next(now);
        match chosen {
            Chosen::New(submissions) => Next::Append(AppendBatch { submissions, origin: Origin::New }),
            Chosen::Lost(offers) => self.prepare(&offers),
            Chosen::Wait(until) => Next::Wait(until),
            Chosen::Idle => Next::Idle,
        }
    }

    /// Computes what the log needs to know of lost messages, while the queue is free for others.
    fn prepare(&self, offers: &[Offer]) -> Next {
        let submissions: Vec<_> = offers.iter().filter_map(Offer::submission).collect();
        if submissions.len() < offers.len() {
            let unreadable: Vec<_> =
                offers.iter().filter(|offer| offer.submission().is_none()).map(Offer::seq).collect();
            self.contents.lock().give_up(&unreadable);
        }
        if submissions.is_empty() {
            // look at the rest
            return Next::Wait(Instant::now());
        }
        Next::Append(AppendBatch { submissions, origin: Origin::Lost })
    }

    /// Ends a batch that was appended, and runs the callbacks. False: a new epoch opened and none of the placements is
    /// valid; all messages stay queued.
    pub(crate) fn settle(&self, batch: AppendBatch, placements: &[Placement]) -> bool {
        let settled = self.contents.lock().settle(batch, placements);
        let any = settled.is_some();
        for (on_placed, placement) in settled.into_iter().flatten() {
            on_placed(placement);
        }
        any
    }

    /// The append failed or its result is unknown. The messages stay queued.
    pub(crate) fn append_failed(&self) {
        self.contents.lock().append_failed();
    }

    /// The ring has applied everything up to `last`, with these changes in order. Returns the marker of each epoch
    /// that opened, with the number of lost messages that it queued. They do not wake the publisher: the caller does,
    /// when it sends the new epoch.
    pub(crate) fn apply(&self, changes: Vec<Change>, last: Seq) -> Vec<(Marker, usize)> {
        let (mut wake, mut opened) = (false, Vec::new());
        let mut contents = self.contents.lock();
        for change in changes {
            match change {
                Change::Reappended(was) => {
                    contents.reappended(was);
                    wake = true;
                }
                Change::EpochOpened { applied, marker, lost } => {
                    contents.confirm(applied);
                    opened.push((marker, contents.requeue_lost(marker, lost)));
                }
            }
        }
        wake |= contents.confirm(last);
        drop(contents);
        if wake {
            self.work.notify_one();
        }
        opened
    }

    /// How many new messages are queued.
    pub(crate) fn new_count(&self) -> usize {
        self.contents.lock().new_count()
    }

    /// How many messages are queued, new and lost. Unconfirmed ones do not count.
    pub(crate) fn total_count(&self) -> usize {
        self.contents.lock().total_count()
    }

    /// Completes when there may be something to append. Only the publisher waits here, and only when it has nothing to
    /// do. Cancel safe.
    pub(crate) async fn wait_for_work(&self) {
        self.emptied.notify_waiters();
        self.work.notified().await;
    }

    /// Completes when no message is queued and the publisher has noticed that. Cancel safe.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.total_count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Drops all queued messages. Returns their number. Their callbacks are dropped too: they hold connections, which
    /// hold the relay.
    pub(crate) fn clear(&self) -> usize {
        let dropped = self.contents.lock().clear();
        dropped.total_count()
    }

    /// What would have to be appended again if the log were empty.
    #[cfg(test)]
    pub(crate) fn offers(&self) -> Vec<Submission> {
        self.contents.lock().offers().collect()
    }
}

impl fmt::Debug for PublishQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.contents.lock().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn queue() -> PublishQueue {
        PublishQueue::new(Bounds { messages: 2, bytes: 1 << 20, jitter: Duration::ZERO })
    }

    fn submission(id: u64) -> Submission {
        Submission::new(format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}}}}"#), 0, 1).unwrap()
    }

    #[test]
    fn a_callback_may_publish_again() {
        let queue = Arc::new(queue());
        let again = Arc::clone(&queue);
        let share = Share::of(&"u");
        let push_again = move |_| again.push(submission(2), share, Box::new(|_| ())).unwrap();
        queue.push(submission(1), share, Box::new(push_again)).unwrap();
        let Next::Append(batch) = queue.next(1) else { panic!("nothing to append") };
        assert!(queue.settle(batch, &[Placement::Appended(101)]));
        assert_eq!(queue.new_count(), 1);
    }

    #[test]
    fn a_refused_or_dropped_message_drops_its_callback() {
        let (queue, alive) = (queue(), Arc::new(()));
        let callback = || {
            let alive = Arc::clone(&alive);
            Box::new(move |_| drop(alive))
        };
        for id in 1..=2 {
            queue.push(submission(id), Share::of(&id), callback()).unwrap();
        }
        assert!(queue.push(submission(3), Share::of(&3), callback()).is_err());
        assert_eq!(Arc::strong_count(&alive), 3);
        assert_eq!(queue.clear(), 2);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[tokio::test]
    async fn a_new_message_wakes_the_publisher_once_and_the_queue_is_empty_after_the_last_message() {
        let queue = queue();
        queue.push(submission(1), Share::of(&"u"), Box::new(|_| ())).unwrap();
        queue.wait_for_work().await;
        let mut emptied = Box::pin(queue.wait_until_empty());
        assert!(emptied.as_mut().now_or_never().is_none());
        let Next::Append(batch) = queue.next(1) else { panic!("nothing to append") };
        queue.settle(batch, &[Placement::Appended(101)]);
        assert!(queue.wait_for_work().now_or_never().is_none(), "there is nothing to do");
        assert!(emptied.now_or_never().is_some());
    }
}
