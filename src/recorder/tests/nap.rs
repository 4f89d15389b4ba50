//! Calls that take time: whoever polls them decides what happens meanwhile.

use std::{future::poll_fn, sync::Arc, task::Poll};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// How calls fail, and how often they return before they are done.
#[derive(Clone, Debug)]
pub(super) struct Nap {
    rng: Arc<Mutex<StdRng>>,
    faults: Arc<Mutex<Faults>>,
}

/// How often calls fail, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Before they have done anything.
    pub(super) unheard: u32,
    /// After they have done everything: the answer is lost.
    pub(super) unanswered: u32,
    /// The most times that a call returns before it goes on.
    pub(super) naps: u32,
}

impl Nap {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), faults: Arc::default() }
    }

    pub(super) fn set(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// A call on its way there or back. False: it is lost.
    async fn travel(&self, lost: impl Fn(Faults) -> u32) -> bool {
        let faults = *self.faults.lock();
        let (mut naps, is_lost) = {
            let mut rng = self.rng.lock();
            (rng.random_range(0..=faults.naps), rng.random_range(0..1000) < lost(faults))
        };
        poll_fn(|context| {
            if naps == 0 {
                return Poll::Ready(());
            }
            naps -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        !is_lost
    }

    pub(super) async fn there(&self) -> bool {
        self.travel(|faults| faults.unheard).await
    }

    pub(super) async fn back(&self) -> bool {
        self.travel(|faults| faults.unanswered).await
    }
}
