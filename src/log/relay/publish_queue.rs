//! What waits for its place in the log: new messages, and messages that the log has lost.
//!
//! The relay's handle pushes new messages. The publisher appends them. The ring writer tells the queue what has been
//! applied to the ring, since that ends the waiting of some messages and brings others back.
//!
//! Locks: the queue's lock is held for memory operations only, never across an await, and never together with the
//! ring's lock. Callbacks run after it is free.

mod contents;
mod offer;
mod unconfirmed;

use std::{fmt, sync::Arc, time::Duration};

use contents::Contents;
use hubbub_protocol::{Seq, UnixMillis};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::Overloaded;
use crate::{
    backend::{Placement, Submission},
    marker::Marker,
    ring::Entry,
};

/// Runs when a message has its place in the log.
pub(crate) type OnPlaced = Box<dyn FnOnce(Placement) + Send>;

/// Bounds of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// New messages that may wait.
    pub(crate) messages: usize,
    /// Bytes of records of new messages that may wait.
    pub(crate) bytes: usize,
    /// Longest time for which instances wait for another one to offer again what all of them hold.
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
    /// Messages that the log has lost; the former `seq` of each is in [`Submission::was`].
    Lost,
}

/// What the publisher does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Append this.
    Append(AppendBatch),
    /// Another instance may be offering the same messages: look again then.
    Wait(Instant),
    /// Nothing can be appended now.
    Idle,
}

/// A change of the ring that concerns the queue.
#[derive(Debug)]
pub(crate) enum Change {
    /// A lost message is back in the log; this was its former `seq`.
    Returned(Seq),
    /// An epoch has opened.
    EpochOpened {
        /// The last `seq` applied before the marker.
        applied: Seq,
        marker: Marker,
        /// Entries that the ring had and the log has lost, ascending.
        lost: Vec<Arc<Entry>>,
    },
}

/// The queue and its two signals. Shared by reference.
pub(crate) struct PublishQueue {
    contents: Mutex<Contents>,
    /// Wakes the publisher.
    work: Notify,
    /// Wakes who waits for the queue to be empty.
    emptied: Notify,
}

impl PublishQueue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { contents: Mutex::new(Contents::new(bounds)), work: Notify::new(), emptied: Notify::new() }
    }

    /// Queues a new message. `on_placed` runs once when it has its place; it is dropped if the message is given up.
    pub(crate) fn push(&self, submission: Submission, on_placed: OnPlaced) -> Result<(), Overloaded> {
        self.contents.lock().push(submission, on_placed)?;
        self.work.notify_one();
        Ok(())
    }

    /// What to append next.
    pub(crate) fn next(&self, now: UnixMillis) -> Next {
        self.contents.lock().next(now)
    }

    /// Ends a batch that the log has placed, and runs the callbacks. False: an epoch that opened meanwhile has taken
    /// every one of these places again, and all messages are still queued.
    pub(crate) fn settle(&self, batch: AppendBatch, placements: &[Placement]) -> bool {
        let settled = self.contents.lock().settle(batch, placements);
        let any = settled.is_some();
        for (on_placed, placement) in settled.into_iter().flatten() {
            on_placed(placement);
        }
        any
    }

    /// Ends a batch that may not be in the log. Its messages are still queued.
    pub(crate) fn append_failed(&self) {
        self.contents.lock().append_failed();
    }

    /// Takes over what has been applied to the ring: everything up to `last`, with these changes in order. Returns how
    /// many messages each epoch that opened has lost. The epoch itself wakes the publisher.
    pub(crate) fn apply(&self, changes: Vec<Change>, last: Seq) -> Vec<(Marker, usize)> {
        let (mut wake, mut losses) = (false, Vec::new());
        let mut contents = self.contents.lock();
        for change in changes {
            match change {
                Change::Returned(was) => {
                    contents.returned(was);
                    wake = true;
                }
                Change::EpochOpened { applied, marker, lost } => {
                    contents.confirm(applied);
                    losses.push((marker, contents.lose(marker, lost)));
                }
            }
        }
        wake |= contents.confirm(last);
        drop(contents);
        if wake {
            self.work.notify_one();
        }
        losses
    }

    /// New messages that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.contents.lock().backlog()
    }

    /// Messages that wait, new or lost.
    pub(crate) fn waiting(&self) -> usize {
        self.contents.lock().waiting()
    }

    /// The publisher has nothing to do: completes when that may have changed. Cancel safe.
    pub(crate) async fn work(&self) {
        self.emptied.notify_waiters();
        self.work.notified().await;
    }

    /// Completes when nothing waits and the publisher has noticed that. Cancel safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Gives up what waits, and returns how many messages that were. Their callbacks are dropped: they hold on to
    /// connections, and those to the relay.
    pub(crate) fn clear(&self) -> usize {
        let abandoned = self.contents.lock().clear();
        abandoned.waiting()
    }

    /// What would have to be offered again if the log were empty.
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
        Submission { key: format!("u:{id}").into(), record: "{}".into(), was: 0, at: 1 }
    }

    #[test]
    fn a_callback_may_publish_again() {
        let queue = Arc::new(queue());
        let again = Arc::clone(&queue);
        queue.push(submission(1), Box::new(move |_| again.push(submission(2), Box::new(|_| ())).unwrap())).unwrap();
        let Next::Append(batch) = queue.next(1) else { panic!("nothing to append") };
        assert!(queue.settle(batch, &[Placement { seq: 101, duplicate: false }]));
        assert_eq!(queue.backlog(), 1);
    }

    #[test]
    fn a_message_that_is_refused_or_given_up_drops_its_callback() {
        let (queue, alive) = (queue(), Arc::new(()));
        let callback = || {
            let alive = Arc::clone(&alive);
            Box::new(move |_| drop(alive))
        };
        for id in 1..=2 {
            queue.push(submission(id), callback()).unwrap();
        }
        assert!(queue.push(submission(3), callback()).is_err());
        assert_eq!(Arc::strong_count(&alive), 3);
        assert_eq!(queue.clear(), 2);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[tokio::test]
    async fn work_wakes_the_publisher_once_and_emptied_completes_after_the_last_message() {
        let queue = queue();
        queue.push(submission(1), Box::new(|_| ())).unwrap();
        queue.work().await;
        let mut emptied = Box::pin(queue.emptied());
        assert!(emptied.as_mut().now_or_never().is_none());
        let Next::Append(batch) = queue.next(1) else { panic!("nothing to append") };
        queue.settle(batch, &[Placement { seq: 101, duplicate: false }]);
        assert!(queue.work().now_or_never().is_none(), "there is nothing to do");
        assert!(emptied.now_or_never().is_some());
    }
}
