//! A seeded random generator for tests: the number of a case reproduces it.

/// Sebastiano Vigna's splitmix64. Every seed gives its own sequence.
pub(crate) struct TestRng(pub(crate) u64);

impl TestRng {
    pub(crate) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound - 1`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next_u64() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// Runs the cases `0..count` on all processors. A case that panics fails the test with its number. Returns what each
/// thread has collected.
pub(crate) fn run_cases<T: Send>(
    count: u64,
    start: impl Fn() -> T + Sync,
    case: impl Fn(&mut T, u64) + Sync,
) -> Vec<T> {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };
    let next = AtomicU64::new(0);
    let work = || {
        let mut collected = start();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return collected;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut collected, number)));
            assert!(outcome.is_ok(), "case {number}");
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}
