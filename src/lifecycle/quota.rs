//! Limits for each key: how many connections one address, or one user, may have at a time.

use std::{hash::Hash, sync::Arc};

use dashmap::{DashMap, mapref::entry::Entry};

/// Hands out at most `limit` permits for each key. Clones share the same count.
#[derive(Clone, Debug)]
pub struct Quota<K: Clone + Eq + Hash> {
    held: Arc<DashMap<K, usize>>,
    limit: usize,
}

/// One permit of a key. It is given back when dropped.
#[derive(Debug)]
pub struct Permit<K: Clone + Eq + Hash> {
    held: Arc<DashMap<K, usize>>,
    key: K,
}

impl<K: Clone + Eq + Hash> Quota<K> {
    /// A quota of `limit` permits for each key.
    pub fn new(limit: usize) -> Self {
        Self { held: Arc::default(), limit }
    }

    /// Takes a permit for this key. `None` if all of them are taken.
    pub fn take(&self, key: K) -> Option<Permit<K>> {
        let mut held = self.held.entry(key.clone()).or_default();
        if *held >= self.limit {
            return None;
        }
        *held += 1;
        drop(held);
        Some(Permit { held: Arc::clone(&self.held), key })
    }
}

impl<K: Clone + Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.held.entry(self.key.clone()) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_no_more_than_its_limit_and_leaves_nothing_behind() {
        let quota = Quota::new(2);
        let (one, two) = (quota.take("a").unwrap(), quota.take("a").unwrap());
        assert!(quota.take("a").is_none());
        assert!(quota.take("b").is_some());
        drop(one);
        assert!(quota.take("a").is_some());
        drop(two);
        assert!(quota.held.is_empty());
    }
}
