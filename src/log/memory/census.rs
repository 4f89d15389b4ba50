//! Who is connected where: leases, as the census script keeps them.

use std::{collections::HashMap, sync::Arc};

use hubbub_lifecycle::clock::unix_millis;
use hubbub_protocol::Count;
use tokio::time::Instant;

use crate::backend::{CENSUS_LEASE, Report, Tally};

#[derive(Debug)]
struct Lease {
    number: u64,
    connections: u64,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Roll {
    leases: HashMap<Arc<str>, Lease>,
    told: Option<Tally>,
    /// When silence began to mean something, less a lease.
    born: Option<Instant>,
    beat: Option<Instant>,
}

impl Roll {
    /// Takes a report. Says what the census is now, and whether that is news.
    pub(super) fn report(&mut self, report: &Report) -> (Tally, bool) {
        let now = Instant::now();
        let paused = self.beat.is_none_or(|beat| now.duration_since(beat) > CENSUS_LEASE / 2);
        let born = if paused { now } else { self.born.unwrap_or(now) };
        (self.born, self.beat) = (Some(born), Some(now));
        let settling = now.duration_since(born) < CENSUS_LEASE;
        self.take(report, now + CENSUS_LEASE);
        if !settling {
            self.leases.retain(|_, lease| lease.until >= now);
        }
        let connections = self.leases.values().map(|lease| lease.connections).sum();
        let instances = u64::try_from(self.leases.len()).unwrap_or(u64::MAX);
        let count = Count { connections, instances, settling };
        if let Some(told) = self.told.filter(|told| told.count == count) {
            return (told, false);
        }
        let version = self.told.map_or(0, |told| told.version + 1).max(unix_millis());
        let tally = Tally { version, count };
        self.told = Some(tally);
        (tally, true)
    }

    fn take(&mut self, report: &Report, until: Instant) {
        let Report { instance, number, connections } = report;
        if self.leases.get(instance).is_some_and(|lease| lease.number >= *number) {
            return;
        }
        match *connections {
            Some(connections) => {
                let lease = Lease { number: *number, connections, until };
                self.leases.insert(Arc::clone(instance), lease);
            }
            None => drop(self.leases.remove(instance)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn report(instance: &str, number: u64, connections: impl Into<Option<u64>>) -> Report {
        Report { instance: instance.into(), number, connections: connections.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_instance_is_swept_when_its_lease_ends() {
        let mut roll = Roll::default();
        roll.report(&report("b", 1, 5));
        for number in 1..=6 {
            let (tally, _) = roll.report(&report("a", number, 2));
            assert_eq!(tally.count, Count { connections: 7, instances: 2, settling: true }, "{number}");
            advance(Duration::from_millis(500)).await;
        }
        advance(Duration::from_millis(1)).await;
        let (tally, news) = roll.report(&report("a", 7, 2));
        assert!(news);
        assert_eq!(tally.count, Count { connections: 2, instances: 1, settling: false });
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_report_and_an_equal_count_are_no_news() {
        let mut roll = Roll::default();
        assert!(roll.report(&report("a", 2, 2)).1);
        assert!(!roll.report(&report("a", 1, 9)).1);
        assert!(!roll.report(&report("a", 3, 2)).1);
        let (tally, news) = roll.report(&report("a", 4, None));
        assert!(news);
        assert_eq!(tally.count, Count { connections: 0, instances: 0, settling: true });
    }
}
