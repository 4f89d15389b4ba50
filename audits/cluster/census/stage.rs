//! Three instances, their clients, and how many there really are.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::metric;
use hubbub_protocol::Count;
use hubbub_testbed::{Redis, Server, http};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::visitor::{Bounds, Visitor};

/// Instances when none is missing.
pub(super) const INSTANCES: usize = 3;
/// How often everyone is asked.
const TICK: Duration = Duration::from_millis(20);

/// The cluster and its clients. What changes it returns when that was done.
pub(super) struct Stage {
    redis: Redis,
    places: [Option<Place>; INSTANCES],
    bounds: Arc<Mutex<Bounds>>,
}

struct Place {
    server: Server,
    visitors: Vec<Visitor>,
}

impl Stage {
    /// Three instances with a client each.
    pub(super) async fn open() -> Self {
        let (bounds, redis) = (Arc::default(), Redis::start().await);
        let mut stage = Self { redis, places: [const { None }; INSTANCES], bounds };
        for place in 0..INSTANCES {
            stage.start(place).await;
        }
        stage
    }

    /// The indices of the instances there are.
    pub(super) fn running(&self) -> Vec<usize> {
        (0..INSTANCES).filter(|place| self.places[*place].is_some()).collect()
    }

    /// The index of the instance with most clients.
    pub(super) fn fullest(&self) -> usize {
        let visitors = |index: &usize| self.places[*index].as_ref().map(|place| place.visitors.len());
        (0..INSTANCES).max_by_key(visitors).unwrap()
    }

    /// Clients of all instances.
    pub(super) fn clients(&self) -> usize {
        self.present().map(|place| place.visitors.len()).sum()
    }

    /// The right count.
    pub(super) fn truth(&self) -> u64 {
        metric::count(self.clients())
    }

    fn present(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().flatten()
    }

    fn place(&mut self, index: usize) -> &mut Place {
        self.places[index].as_mut().unwrap()
    }

    /// So many clients connect.
    pub(super) async fn connect(&mut self, index: usize, party: usize) -> Instant {
        self.bounds.lock().high += metric::count(party);
        let bounds = Arc::clone(&self.bounds);
        let place = self.place(index);
        let address = place.server.address().to_owned();
        for _ in 0..party {
            place.visitors.push(Visitor::enter(&address, Arc::clone(&bounds)).await);
        }
        Instant::now()
    }

    /// So many clients close; the last one stays.
    pub(super) async fn leave(&mut self, index: usize, party: usize) -> Instant {
        for visitor in self.part_with(index, party) {
            visitor.leave().await;
        }
        Instant::now()
    }

    /// So many clients vanish.
    pub(super) fn cut(&mut self, index: usize, party: usize) -> Instant {
        drop(self.part_with(index, party));
        Instant::now()
    }

    fn part_with(&mut self, index: usize, party: usize) -> Vec<Visitor> {
        let visitors = &mut self.place(index).visitors;
        let going: Vec<Visitor> = visitors.drain(1..visitors.len().min(party + 1)).collect();
        self.bounds.lock().allow_fewer(metric::count(going.len()));
        going
    }

    /// An instance is killed, and its clients lose their connections.
    pub(super) async fn kill(&mut self, index: usize) -> Instant {
        let mut place = self.remove(index);
        place.server.kill().await;
        Instant::now()
    }

    /// An instance gets SIGTERM, and drains.
    pub(super) async fn terminate(&mut self, index: usize) -> Instant {
        let Place { mut server, visitors } = self.remove(index);
        server.terminate().await;
        for visitor in visitors {
            visitor.ended().await;
        }
        let done = Instant::now();
        let status = server.ended().await;
        if !status.success() {
            self.bounds.lock().wrong.push(format!("an instance that got SIGTERM ended with {status}"));
        }
        done
    }

    fn remove(&mut self, index: usize) -> Place {
        let place = self.places[index].take().unwrap();
        self.bounds.lock().allow_fewer(metric::count(place.visitors.len()));
        place
    }

    /// Starts the first instance that is missing, and gives it a client.
    pub(super) async fn start_missing(&mut self) -> Instant {
        let missing = self.places.iter().position(Option::is_none);
        self.start(missing.unwrap()).await
    }

    /// Starts an instance, and gives it a client.
    pub(super) async fn start(&mut self, index: usize) -> Instant {
        let server = Server::on(&self.redis, &["--drain-window", "500ms"]).await;
        self.places[index] = Some(Place { server, visitors: Vec::new() });
        self.connect(index, 1).await
    }

    /// Waits until every count is right, for at most `hopeless`. Returns how long after `since` that was, and if it was
    /// after `limit`, what was wrong then.
    pub(super) async fn settled(
        &self,
        since: Instant,
        limit: Duration,
        hopeless: Duration,
    ) -> (Duration, Option<String>) {
        let mut late = None;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let wrong = self.wrong_answer().await;
            let took = since.elapsed();
            let Some(wrong) = wrong else {
                let mut bounds = self.bounds.lock();
                (bounds.low, bounds.high) = (self.truth(), self.truth());
                return (took, late);
            };
            if took >= limit {
                late.get_or_insert(wrong);
            }
            if took >= hopeless {
                return (took, late);
            }
        }
    }

    /// The first wrong answer.
    async fn wrong_answer(&self) -> Option<String> {
        let instances = metric::count(self.running().len());
        let truth = Count { connections: self.truth(), instances, settling: false };
        for place in self.present() {
            for visitor in &place.visitors {
                if visitor.is_over() || visitor.count() != truth {
                    return Some(format!("a client (over: {}) received {:?}", visitor.is_over(), visitor.count()));
                }
            }
            let stats = http::get(place.server.address(), "/v1/stats").await.json();
            let all = stats["connections"]["all"].as_u64();
            self.bounds.lock().check("GET /v1/stats", all.unwrap_or(u64::MAX));
            let here = (stats["connections"]["instance"].as_u64(), all, stats["instances"].as_u64());
            let visitors = metric::count(place.visitors.len());
            if here != (Some(visitors), Some(truth.connections), Some(truth.instances)) {
                return Some(format!("an instance with {visitors} of {} clients answered {stats}", truth.connections));
            }
        }
        None
    }

    /// The counts that were never right.
    pub(super) fn take_wrong(&self) -> Vec<String> {
        let over = self.present().flat_map(|place| &place.visitors).filter(|visitor| visitor.is_over()).count();
        let mut wrong = std::mem::take(&mut self.bounds.lock().wrong);
        wrong.extend((over > 0).then(|| format!("{over} clients were closed")));
        wrong
    }
}
