//! What takes up room while it waits for its client. When others need room, what has waited longest makes way.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::wire::Cutter;

/// How often something makes way for one that needs room.
const INTERVAL: Duration = Duration::from_millis(250);

/// Things that wait for their clients, the oldest first.
#[derive(Debug)]
pub(crate) struct Parking<T> {
    /// A thing makes way only after it has waited this long.
    grace: Duration,
    lot: Arc<Mutex<Lot<T>>>,
}

#[derive(Debug)]
struct Lot<T> {
    last: u64,
    by_age: BTreeMap<u64, Parked<T>>,
    by_peer: BTreeSet<(IpAddr, u64)>,
}

#[derive(Debug)]
struct Parked<T> {
    peer: IpAddr,
    since: Instant,
    thing: T,
}

/// The place of one thing. Dropping it drops the thing.
#[derive(Debug)]
pub(crate) struct Place<T> {
    lot: Arc<Mutex<Lot<T>>>,
    number: u64,
}

impl<T> Parking<T> {
    /// Nothing is parked.
    pub(crate) fn new(grace: Duration) -> Self {
        let lot = Lot { last: 0, by_age: BTreeMap::new(), by_peer: BTreeSet::new() };
        Self { grace, lot: Arc::new(Mutex::new(lot)) }
    }

    /// Parks a thing of this peer.
    pub(crate) fn enter(&self, peer: IpAddr, thing: T) -> Place<T> {
        let mut lot = self.lot.lock();
        lot.last += 1;
        let number = lot.last;
        lot.by_peer.insert((peer, number));
        lot.by_age.insert(number, Parked { peer, since: Instant::now(), thing });
        drop(lot);
        Place { lot: Arc::clone(&self.lot), number }
    }

    /// Takes away what has waited longest.
    pub(crate) fn evict(&self) -> Option<T> {
        let mut lot = self.lot.lock();
        let number = *lot.by_age.first_key_value()?.0;
        lot.evict(number, self.grace)
    }

    /// Takes away that thing of this peer that has waited longest.
    pub(crate) fn evict_from(&self, peer: IpAddr) -> Option<T> {
        let mut lot = self.lot.lock();
        let (_, number) = *lot.by_peer.range((peer, 0)..=(peer, u64::MAX)).next()?;
        lot.evict(number, self.grace)
    }
}

impl<T> Lot<T> {
    fn evict(&mut self, number: u64, grace: Duration) -> Option<T> {
        let is_old = self.by_age.get(&number)?.since.elapsed() >= grace;
        if is_old { self.remove(number) } else { None }
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let parked = self.by_age.remove(&number)?;
        self.by_peer.remove(&(parked.peer, number));
        Some(parked.thing)
    }
}

impl<T> Place<T> {
    /// Gives the thing back, unless it was taken away.
    pub(crate) fn leave(self) -> Option<T> {
        self.lot.lock().remove(self.number)
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let thing = self.lot.lock().remove(self.number);
        drop(thing);
    }
}

/// Waits for room. Meanwhile cuts, again and again, what `evict` takes away. Cancel safe if `room` is.
pub(crate) async fn make_room<F: Future>(room: F, evict: impl Fn() -> Option<Cutter>) -> F::Output {
    let mut room = pin!(room);
    loop {
        if let Ok(room) = timeout(INTERVAL, &mut room).await {
            return room;
        }
        if let Some(cutter) = evict() {
            cutter.cut();
        }
    }
}
