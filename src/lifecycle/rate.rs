//! Rate limits: token buckets, one for each key.

use std::{
    hash::Hash,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use dashmap::DashMap;

/// Number of keys below which [`Buckets`] does not look for full buckets.
const KEPT_BUCKETS: usize = 1024;

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Events per second, on average.
    pub per_second: f64,
    /// Events that may come at once after a pause.
    pub burst: f64,
}

/// A token bucket: one event takes one token.
#[derive(Debug)]
pub struct TokenBucket {
    rate: Rate,
    tokens: f64,
    refilled_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, refilled_at: now }
    }

    /// Takes one token out of the bucket.
    ///
    /// # Errors
    ///
    /// There is none: the time until the next one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - self.tokens) / self.rate.per_second).unwrap_or(Duration::MAX))
    }

    /// Takes one token, if need be one that is still to come. Returns the time until then, at most `longest`: those who wait
    /// for it come one after the other, at the rate of the bucket.
    pub fn borrow(&mut self, now: Instant, longest: Duration) -> Duration {
        self.refill(now);
        let least = -longest.as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens - 1.0).max(least);
        Duration::try_from_secs_f64(-self.tokens / self.rate.per_second).unwrap_or_default()
    }

    /// Puts one token back that was taken.
    pub fn give_back(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens + 1.0).min(self.rate.burst);
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate.per_second).min(self.rate.burst);
        self.refilled_at = self.refilled_at.max(now);
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.rate.burst
    }
}

/// A token bucket for each key. A full bucket is as good as none: full ones are dropped each time the number of buckets
/// has doubled, so the memory is bounded by the number of keys that have sent lately.
#[derive(Debug)]
pub struct Buckets<K: Eq + Hash> {
    rate: Rate,
    by_key: DashMap<K, TokenBucket>,
    sweep_above: AtomicUsize,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// A full bucket for each key.
    pub fn new(rate: Rate) -> Self {
        Self { rate, by_key: DashMap::new(), sweep_above: AtomicUsize::new(KEPT_BUCKETS) }
    }

    /// [`TokenBucket::take`] of this key.
    ///
    /// # Errors
    ///
    /// There is no token: the time until the next one.
    pub fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.with(key, now, |bucket| bucket.take(now))
    }

    /// [`TokenBucket::give_back`] of this key.
    pub fn give_back(&self, key: &K, now: Instant) {
        self.with(key, now, |bucket| bucket.give_back(now));
    }

    /// [`TokenBucket::borrow`] of this key.
    pub fn borrow(&self, key: &K, now: Instant, longest: Duration) -> Duration {
        self.with(key, now, |bucket| bucket.borrow(now, longest))
    }

    fn with<R>(&self, key: &K, now: Instant, use_it: impl FnOnce(&mut TokenBucket) -> R) -> R {
        if let Some(mut bucket) = self.by_key.get_mut(key) {
            return use_it(&mut bucket);
        }
        let used = use_it(&mut self.by_key.entry(key.clone()).or_insert_with(|| TokenBucket::new(self.rate, now)));
        self.drop_full(now);
        used
    }

    fn drop_full(&self, now: Instant) {
        if self.by_key.len() > self.sweep_above.load(Ordering::Relaxed) {
            self.by_key.retain(|_, bucket| !bucket.is_full(now));
            self.sweep_above.store((self.by_key.len() * 2).max(KEPT_BUCKETS), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 2.0 };

    #[test]
    fn a_burst_passes_and_the_next_frame_must_wait() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Ok(()));
        let wait = bucket.take(start).unwrap_err();
        assert_eq!(wait.as_millis(), 100);
        assert_eq!(bucket.take(start + wait), Ok(()));
    }

    #[test]
    fn who_waits_for_tokens_comes_one_after_the_other_and_not_later_than_the_longest_wait() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        let longest = Duration::from_millis(350);
        let waits: Vec<_> = (0..7).map(|_| bucket.borrow(start, longest).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200, 300, 350, 350]);
        assert_eq!(bucket.borrow(start + Duration::from_millis(450), longest), Duration::ZERO, "all are paid for");
    }

    #[test]
    fn each_key_has_its_own_bucket() {
        let (buckets, start) = (Buckets::new(RATE), Instant::now());
        assert!(buckets.take(&"a", start).is_ok() && buckets.take(&"a", start).is_ok());
        assert!(buckets.take(&"a", start).is_err());
        assert!(buckets.take(&"b", start).is_ok());
    }

    #[test]
    fn full_buckets_vanish_and_empty_ones_stay() {
        let (buckets, start) = (Buckets::new(RATE), Instant::now());
        let keys = u64::try_from(KEPT_BUCKETS * 20).unwrap();
        for key in 0..keys {
            // one new key each millisecond: a bucket is full again after 100 ms
            assert!(buckets.take(&key, start + Duration::from_millis(key)).is_ok());
            assert!(buckets.by_key.len() <= KEPT_BUCKETS + 1, "{} buckets", buckets.by_key.len());
        }
        let end = start + Duration::from_millis(keys);
        while buckets.take(&0, end).is_ok() {}
        for key in 1..keys {
            let _taken = buckets.take(&key, end);
        }
        assert!(buckets.take(&0, end).is_err(), "the empty bucket was dropped");
    }
}
