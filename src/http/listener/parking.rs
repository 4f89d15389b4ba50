//! The connections that wait for a request. When room is needed, the one that has waited longest makes way.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::Slot;

/// A connection makes way only after it has waited this long: a client that has just connected is about to ask.
const GRACE: Duration = Duration::from_secs(1);

/// The connections of a listener that wait for a request, with their slots. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Parking(Arc<Mutex<Lot>>);

#[derive(Debug, Default)]
struct Lot {
    last: u64,
    by_age: BTreeMap<u64, Parked>,
    by_peer: BTreeSet<(IpAddr, u64)>,
}

#[derive(Debug)]
struct Parked {
    peer: IpAddr,
    since: Instant,
    slot: Slot,
    evicted: oneshot::Sender<()>,
}

/// The place of one connection. Dropping it gives up the slot.
#[derive(Debug)]
pub(super) struct Place {
    parking: Parking,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

impl Parking {
    /// Parks a connection of this peer.
    pub(super) fn enter(&self, peer: IpAddr, slot: Slot) -> Place {
        let (sender, evicted) = oneshot::channel();
        let mut lot = self.0.lock();
        lot.last += 1;
        let number = lot.last;
        lot.by_peer.insert((peer, number));
        lot.by_age.insert(number, Parked { peer, since: Instant::now(), slot, evicted: sender });
        drop(lot);
        Place { parking: self.clone(), number, evicted }
    }

    /// Closes the connection that has waited longest. Returns its slot.
    pub(super) fn evict(&self) -> Option<Slot> {
        let mut lot = self.0.lock();
        let number = *lot.by_age.first_key_value()?.0;
        lot.evict(number)
    }

    /// Closes that connection of this peer that has waited longest. Returns its slot.
    pub(super) fn evict_from(&self, peer: IpAddr) -> Option<Slot> {
        let mut lot = self.0.lock();
        let (_, number) = *lot.by_peer.range((peer, 0)..=(peer, u64::MAX)).next()?;
        lot.evict(number)
    }
}

impl Lot {
    fn evict(&mut self, number: u64) -> Option<Slot> {
        if self.by_age.get(&number)?.since.elapsed() < GRACE {
            return None;
        }
        let parked = self.remove(number)?;
        // The connection may end by itself at this moment.
        let _gone = parked.evicted.send(());
        Some(parked.slot)
    }

    fn remove(&mut self, number: u64) -> Option<Parked> {
        let parked = self.by_age.remove(&number)?;
        self.by_peer.remove(&(parked.peer, number));
        Some(parked)
    }
}

impl Place {
    /// Completes when the connection has to make way. Cancel safe.
    pub(super) async fn evicted(&mut self) {
        // The sender is dropped only by `leave` and by an eviction.
        let _sent = (&mut self.evicted).await;
    }

    /// Gives the slot back, unless the connection has to make way.
    pub(super) fn leave(self) -> Option<Slot> {
        let parked = self.parking.0.lock().remove(self.number);
        parked.map(|parked| parked.slot)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let parked = self.parking.0.lock().remove(self.number);
        drop(parked);
    }
}
