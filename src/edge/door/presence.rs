//! The connections of each person on this instance, and which of them are ghosts: their line has died, and no FIN came.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::{DashMap, mapref::entry::Entry};
use hubbub_protocol::{CloseReason, Frame, UserId};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::Place;
use crate::{connection::Connection, socket::Ending};

/// How long a connection may leave a ping without an answer before it has to make way.
const GHOST_SILENCE: Duration = Duration::from_secs(2);

/// A connection of a person, with the place that it takes.
#[derive(Debug)]
pub(super) struct Presence {
    connection: Arc<Connection>,
    address: IpAddr,
    /// None once it has made way for another connection.
    place: Mutex<Option<Place>>,
    ping: Mutex<Option<Ping>>,
}

/// A ping that was sent to find out whether a connection is a ghost.
#[derive(Clone, Copy, Debug)]
struct Ping {
    at: Instant,
    /// When the peer had been heard last, before the ping.
    heard_at: Duration,
}

impl Presence {
    /// Pings the peer, unless a ping waits for its answer: many newcomers cost a ghost no more pings than one.
    fn ping(&self, now: Instant) {
        let (mut ping, link) = (self.ping.lock(), self.connection.link());
        let heard_at = link.heard_at();
        if ping.is_none_or(|ping| ping.heard_at != heard_at) {
            *ping = Some(Ping { at: now, heard_at });
            link.reply(&Frame::ping());
        }
    }

    /// Whether nothing came from the peer since the ping. A connection that is not read cannot answer.
    fn is_ghost(&self) -> bool {
        let ping = self.ping.lock().filter(|ping| ping.at.elapsed() >= GHOST_SILENCE);
        ping.is_some_and(|ping| ping.heard_at == self.connection.link().heard_at()) && self.connection.is_reading()
    }

    /// Closes the connection and gives its place back, although its socket still lingers for a moment.
    fn make_way(&self) {
        self.connection.link().close(Ending::Ours(CloseReason::HeartbeatLost));
        drop(self.place.lock().take());
    }
}

/// Every person with a connection to this instance.
#[derive(Debug, Default)]
pub(super) struct Presences(DashMap<UserId, Vec<Arc<Presence>>>);

impl Presences {
    pub(super) fn insert(&self, person: UserId, connection: &Arc<Connection>, address: IpAddr, place: Place) {
        let place = Mutex::new(Some(place));
        let presence = Presence { connection: Arc::clone(connection), address, place, ping: Mutex::default() };
        self.0.entry(person).or_default().push(Arc::new(presence));
    }

    pub(super) fn remove(&self, person: &UserId, connection: &Arc<Connection>) {
        if let Entry::Occupied(mut present) = self.0.entry(person.clone()) {
            present.get_mut().retain(|presence| !Arc::ptr_eq(&presence.connection, connection));
            if present.get().is_empty() {
                present.remove();
            }
        }
    }

    /// Pings the person's connections, of this address or of all, and closes those that stay silent. Cancel safe.
    pub(super) async fn close_ghosts(&self, person: &UserId, address: Option<IpAddr>) {
        let suspects = self.of(person, address);
        if suspects.is_empty() {
            return;
        }
        let now = Instant::now();
        for presence in &suspects {
            presence.ping(now);
        }
        drop(suspects);
        sleep(GHOST_SILENCE).await;
        for ghost in self.of(person, address).iter().filter(|presence| presence.is_ghost()) {
            ghost.make_way();
        }
    }

    fn of(&self, person: &UserId, address: Option<IpAddr>) -> Vec<Arc<Presence>> {
        let present = self.0.get(person);
        let present = present.iter().flat_map(|present| present.iter());
        present.filter(|presence| address.is_none_or(|address| presence.address == address)).cloned().collect()
    }
}
