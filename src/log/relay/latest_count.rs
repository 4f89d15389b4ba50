//! The newest count of the census that this instance has seen.

use tokio::sync::watch;

use crate::backend::VersionedCount;

/// The channel and the replies to reports bring counts in any order; only a newer one replaces the current one.
#[derive(Clone, Debug, Default)]
pub(super) struct LatestCount(watch::Sender<VersionedCount>);

impl LatestCount {
    pub(super) fn update(&self, count: VersionedCount) {
        self.0.send_if_modified(|current| {
            let newer = count.version > current.version;
            if newer {
                *current = count;
            }
            newer
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<VersionedCount> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::Count;

    use super::*;

    #[test]
    fn an_older_count_does_not_replace_a_newer_one() {
        let latest = LatestCount::default();
        let count = |version, connections| VersionedCount { version, count: Count { connections, ..Count::default() } };
        let mut changes = latest.subscribe();
        latest.update(count(2, 20));
        assert_eq!(*changes.borrow_and_update(), count(2, 20));
        for late in [count(1, 10), count(2, 99)] {
            latest.update(late);
            assert!(!changes.has_changed().unwrap());
        }
        assert_eq!(*latest.subscribe().borrow(), count(2, 20));
    }
}
