//! The shares of each peer: how many connections it may open in a second and have open, and how many of them may be served
//! at a time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use dashmap::{DashMap, mapref::entry::Entry};
use hubbub_lifecycle::{Buckets, Rate};
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::{address::quota_key, forwarded::is_in};

/// Connections that a peer may open at once, at least. Then it may open a quarter of them each second.
const LEAST_AT_ONCE: usize = 256;
/// Upper bound for the pause of a new connection.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Shares = DashMap<IpAddr, Weak<Share>>;

/// The peers with open connections.
#[derive(Debug)]
pub(super) struct Peers {
    shares: Arc<Shares>,
    connections: usize,
    turns: usize,
    proxies: Vec<IpNet>,
    openings: Buckets<IpAddr>,
}

#[derive(Debug)]
struct Share {
    connections: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// One peer: an IPv4 address or an IPv6 /64. Without a share, it is a trusted proxy, by its whole address: it stands for
/// many clients.
#[derive(Debug)]
pub(super) struct Peer {
    key: IpAddr,
    share: Option<Arc<Share>>,
    shares: Arc<Shares>,
}

impl Peers {
    /// Each peer may have so many connections open, and be served on so many of them at a time. It may open as many at
    /// once, then a quarter of that each second. The bounds do not count for `proxies`.
    pub(super) fn new(connections: usize, turns: usize, proxies: Vec<IpNet>) -> Self {
        let burst = f64::from(u32::try_from(connections.max(LEAST_AT_ONCE)).unwrap_or(u32::MAX));
        let openings = Buckets::new(Rate { per_second: burst / 4.0, burst });
        Self { shares: Arc::default(), connections, turns, proxies, openings }
    }

    /// How long a new connection of this peer has to wait before it is read, because the peer opens too many.
    pub(super) fn pause(&self, peer: &Peer) -> Duration {
        let pause = |_| self.openings.borrow(&peer.key, Instant::now(), LONGEST_PAUSE);
        peer.share.as_ref().map(pause).unwrap_or_default()
    }

    /// The peer at this address.
    pub(super) fn get(&self, address: SocketAddr) -> Peer {
        let address = address.ip().to_canonical();
        let is_proxy = is_in(address, &self.proxies);
        // A proxy is parked by its whole address: others of its /64 must not take its place.
        let key = if is_proxy { address } else { quota_key(address) };
        let share = (!is_proxy).then(|| self.share(key));
        Peer { key, share, shares: Arc::clone(&self.shares) }
    }

    fn share(&self, key: IpAddr) -> Arc<Share> {
        let mut known = self.shares.entry(key).or_default();
        if let Some(share) = known.upgrade() {
            return share;
        }
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let share = Arc::new(Share { connections: semaphore(self.connections), turns: semaphore(self.turns) });
        *known = Arc::downgrade(&share);
        share
    }
}

impl Peer {
    /// What the peer is counted by.
    pub(super) fn key(&self) -> IpAddr {
        self.key
    }

    /// Counts one more connection. None: a trusted proxy needs no permit.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(super) fn connect(&self) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
        self.share.as_ref().map(|share| Arc::clone(&share.connections).try_acquire_owned()).transpose()
    }

    /// Waits for one of the turns of this peer. Cancel safe.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let share = self.share.as_ref()?;
        // The semaphore is never closed.
        Arc::clone(&share.turns).acquire_owned().await.ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(share) = self.share.take() else { return };
        if let Entry::Occupied(known) = self.shares.entry(self.key) {
            // Under the lock of the entry, so that the last one to leave sees that it is the last.
            drop(share);
            if known.get().strong_count() == 0 {
                known.remove();
            }
        }
    }
}
