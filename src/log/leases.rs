//! The leases of the census, with the rules of census.lua.

use std::{collections::HashMap, sync::Arc};

use hubbub_lifecycle::clock::unix_millis;
use hubbub_protocol::Count;
use tokio::time::Instant;

use crate::backend::{CENSUS_LEASE, Report, VersionedCount};

#[derive(Debug)]
struct Lease {
    number: u64,
    connections: u64,
    until: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_instance: HashMap<Arc<str>, Lease>,
    announced: Option<VersionedCount>,
    /// Since when all instances could renew their leases. For the length of a lease from here, none is swept.
    settling_since: Option<Instant>,
    last_report: Option<Instant>,
}

impl Leases {
    /// Records a report. Returns the count of the census, and whether the report has changed it.
    pub(crate) fn report(&mut self, report: &Report) -> (VersionedCount, bool) {
        let now = Instant::now();
        let paused = self.last_report.is_none_or(|last| now.duration_since(last) > CENSUS_LEASE / 2);
        let settling_since = if paused { now } else { self.settling_since.unwrap_or(now) };
        (self.settling_since, self.last_report) = (Some(settling_since), Some(now));
        let settling = now.duration_since(settling_since) < CENSUS_LEASE;
        self.renew(report, now + CENSUS_LEASE);
        if !settling {
            self.by_instance.retain(|_, lease| lease.until >= now);
        }
        let connections = self.by_instance.values().map(|lease| lease.connections).sum();
        let instances = u64::try_from(self.by_instance.len()).unwrap_or(u64::MAX);
        let count = Count { connections, instances, settling };
        if let Some(announced) = self.announced.filter(|announced| announced.count == count) {
            return (announced, false);
        }
        let version = self.announced.map_or(0, |announced| announced.version + 1).max(unix_millis());
        let count = VersionedCount { version, count };
        self.announced = Some(count);
        (count, true)
    }

    fn renew(&mut self, report: &Report, until: Instant) {
        let Report { instance, number, connections } = report;
        if self.by_instance.get(instance).is_some_and(|lease| lease.number >= *number) {
            return;
        }
        match *connections {
            Some(connections) => {
                let lease = Lease { number: *number, connections, until };
                self.by_instance.insert(Arc::clone(instance), lease);
            }
            None => drop(self.by_instance.remove(instance)),
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
        let mut leases = Leases::default();
        leases.report(&report("b", 1, 5));
        for number in 1..=6 {
            let (census, _) = leases.report(&report("a", number, 2));
            assert_eq!(census.count, Count { connections: 7, instances: 2, settling: true }, "{number}");
            advance(Duration::from_millis(500)).await;
        }
        advance(Duration::from_millis(1)).await;
        let (census, changed) = leases.report(&report("a", 7, 2));
        assert!(changed);
        assert_eq!(census.count, Count { connections: 2, instances: 1, settling: false });
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_report_and_an_equal_count_change_nothing() {
        let mut leases = Leases::default();
        assert!(leases.report(&report("a", 2, 2)).1);
        assert!(!leases.report(&report("a", 1, 9)).1);
        assert!(!leases.report(&report("a", 3, 2)).1);
        let (census, changed) = leases.report(&report("a", 4, None));
        assert!(changed);
        assert_eq!(census.count, Count { connections: 0, instances: 0, settling: true });
    }
}
