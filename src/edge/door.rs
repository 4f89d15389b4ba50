//! Who may come in, and how much each person and each address may publish.
//!
//! Connections are counted by address before `hello`, and by person after it. At a limit, a newcomer takes the place of
//! a connection of its own that is dead: see [`presence`]. To learn who the newcomer is, its hello is read even if its
//! address is full. Few newcomers of an address may wait for that, and not for long.

mod presence;

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use hubbub_lifecycle::{Buckets, Permit, Quota, Rate, Throttle, metric};
use hubbub_protocol::{CloseReason, HELLO_TIMEOUT, MAX_CONNECTIONS_PER_SESSION, UserId};
use metrics::Counter;
use tracing::warn;

use self::presence::Presences;
use crate::connection::Connection;

/// Upper bound for the connections of a full address whose hello is awaited.
const WAITING_PER_ADDRESS: usize = 16;
/// Timeout for the hello of a connection whose address is full.
const WAITING_HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// Frames of one address that are read in a second, at least.
const READS_PER_SECOND: f64 = 1000.0;
/// Upper bound for a pause. A connection is heard at least that often, so that it is not taken for a dead one, and so that
/// the refusals of a client that goes on too fast count as one flood.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

static PAUSES: LazyLock<Counter> = LazyLock::new(|| metrics::counter!(metric::PAUSES, "what" => "frames"));
static ADDRESS_FULL: Throttle = Throttle::new();
static PERSON_FULL: Throttle = Throttle::new();
static ADDRESS_TOO_FAST: Throttle = Throttle::new();
static ADDRESS_PAUSED: Throttle = Throttle::new();

/// The limits of one instance.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Upper bound for the connections of one address.
    pub connections_per_address: usize,
    /// What one person may publish, over all its connections to this instance.
    pub publish_rate: Rate,
    /// What all persons of one address may publish together.
    pub publish_rate_of_address: Rate,
}

/// The limits, and who counts towards them. Clones share it.
///
/// An address is the one that limits count: for IPv6 the caller passes the /64.
#[derive(Clone, Debug)]
pub struct Door(Arc<State>);

#[derive(Debug)]
struct State {
    limits: Limits,
    addresses: Quota<IpAddr>,
    waiting: Quota<IpAddr>,
    persons: Quota<UserId>,
    presences: Presences,
    person_rates: Buckets<UserId>,
    address_rates: Buckets<IpAddr>,
    read_rates: Buckets<IpAddr>,
}

/// A connection before its hello.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It has a place among those of its address.
    Placed(Permit<IpAddr>),
    /// Its address is full, but it may say who it is.
    Waiting { _turn: Permit<IpAddr> },
}

impl Entry {
    /// How long it may take to send its hello.
    pub(crate) const fn hello_timeout(&self) -> Duration {
        match self {
            Self::Placed(_) => HELLO_TIMEOUT,
            Self::Waiting { .. } => WAITING_HELLO_TIMEOUT,
        }
    }
}

/// A connection's place among those of its address and among those of its person.
#[derive(Debug)]
pub(crate) struct Place {
    _address: Permit<IpAddr>,
    _person: Permit<UserId>,
}

/// An admitted connection counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Stay {
    door: Door,
    person: UserId,
    connection: Arc<Connection>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.door.0.presences.remove(&self.person, &self.connection);
    }
}

/// A publish is refused, with the time until the next one is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooFast {
    /// The person has published too much.
    Person(Duration),
    /// The address has: perhaps other persons there.
    Address(Duration),
}

impl Door {
    /// A door with these limits, through which nobody has come.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(State {
            limits,
            addresses: Quota::new(limits.connections_per_address),
            waiting: Quota::new(WAITING_PER_ADDRESS),
            persons: Quota::new(MAX_CONNECTIONS_PER_SESSION),
            presences: Presences::default(),
            person_rates: Buckets::new(limits.publish_rate),
            address_rates: Buckets::new(limits.publish_rate_of_address),
            read_rates: Buckets::new(read_rate(limits.publish_rate_of_address)),
        }))
    }

    /// What one person may publish.
    pub(crate) fn publish_rate(&self) -> Rate {
        self.0.limits.publish_rate
    }

    /// A new connection comes from this address.
    ///
    /// # Errors
    ///
    /// `AddressFull` if the address is full and enough others wait already.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Entry, CloseReason> {
        let placed = self.0.addresses.take(address).map(Entry::Placed);
        let waiting = || self.0.waiting.take(address).map(|turn| Entry::Waiting { _turn: turn });
        placed.or_else(waiting).ok_or_else(|| self.address_full(address))
    }

    /// Why a connection is closed that has not said in time who it is.
    pub(crate) fn too_late(&self, entry: &Entry, address: IpAddr) -> CloseReason {
        match entry {
            Entry::Placed(_) => CloseReason::HelloTimeout,
            Entry::Waiting { .. } => self.address_full(address),
        }
    }

    /// The connection has said that it is this person. Takes up to 4 s if ghosts must be found. Cancel safe.
    ///
    /// # Errors
    ///
    /// `AddressFull` or `TooManyConnections`, if that limit is reached and no connection of the person makes way.
    pub(crate) async fn admit(&self, entry: Entry, address: IpAddr, person: &UserId) -> Result<Place, CloseReason> {
        let state = &self.0;
        let placed = match entry {
            Entry::Placed(permit) => Some(permit),
            Entry::Waiting { .. } => self.make_room(&state.addresses, address, person, Some(address)).await,
        };
        let placed = placed.ok_or_else(|| self.address_full(address))?;
        let known = self.make_room(&state.persons, person.clone(), person, None).await;
        let known = known.ok_or_else(|| person_full(person, address))?;
        Ok(Place { _address: placed, _person: known })
    }

    /// Counts an admitted connection until the returned value is dropped.
    pub(crate) fn settle(&self, place: Place, address: IpAddr, person: &UserId, connection: &Arc<Connection>) -> Stay {
        self.0.presences.insert(person.clone(), connection, address, place);
        Stay { door: self.clone(), person: person.clone(), connection: Arc::clone(connection) }
    }

    /// Takes one publish from what this person and this address may publish.
    pub(crate) fn take_publish(&self, person: &UserId, address: IpAddr, now: Instant) -> Result<(), TooFast> {
        self.0.person_rates.take(person, now).map_err(TooFast::Person)?;
        self.0.address_rates.take(&address, now).map_err(|wait| {
            self.warn_of_fast_address(address);
            TooFast::Address(wait)
        })
    }

    /// A frame of this address was read, whatever it was. Returns how long its connection must not be read: then the other
    /// connections of a busy address have their turns. So an address costs a bounded part of the processors, and the
    /// kernel holds back what it sends too fast.
    pub(crate) fn pause_after_frame(&self, address: IpAddr, now: Instant) -> Duration {
        let pause = self.0.read_rates.borrow(&address, now, LONGEST_PAUSE);
        if !pause.is_zero() {
            PAUSES.increment(1);
            if let Some(held_back) = ADDRESS_PAUSED.pass() {
                let limit = read_rate(self.0.limits.publish_rate_of_address).per_second;
                warn!(
                    net.address = %address,
                    limit,
                    held_back,
                    "an address sends more frames a second than are read: its connections are read in turn. If it is a \
                     proxy, name it in --trusted-proxies"
                );
            }
        }
        pause
    }

    /// A permit of `quota`, if need be that of a ghost of this person.
    async fn make_room<K: Clone + Eq + Hash>(
        &self,
        quota: &Quota<K>,
        key: K,
        person: &UserId,
        address: Option<IpAddr>,
    ) -> Option<Permit<K>> {
        if let Some(permit) = quota.take(key.clone()) {
            return Some(permit);
        }
        self.0.presences.close_ghosts(person, address).await;
        quota.take(key)
    }

    fn address_full(&self, address: IpAddr) -> CloseReason {
        if let Some(held_back) = ADDRESS_FULL.pass() {
            let limit = self.0.limits.connections_per_address;
            warn!(
                net.address = %address,
                limit,
                held_back,
                "an address has as many connections as --max-per-address allows: more are closed with 4004 (address_full) \
                 and come back later. If it is a proxy, name it in --trusted-proxies"
            );
        }
        CloseReason::AddressFull
    }

    fn warn_of_fast_address(&self, address: IpAddr) {
        if let Some(held_back) = ADDRESS_TOO_FAST.pass() {
            let limit = self.0.limits.publish_rate_of_address.per_second;
            warn!(
                net.address = %address,
                limit,
                held_back,
                "an address publishes more than --publish-rate-address allows: the rest is refused with rate_limited. If it \
                 is a proxy, name it in --trusted-proxies"
            );
        }
    }
}

/// How many frames of an address are read: twice what it may publish, so that there is room for everything else.
fn read_rate(publish_rate: Rate) -> Rate {
    let twice = |limit: f64| (2.0 * limit).max(READS_PER_SECOND);
    Rate { per_second: twice(publish_rate.per_second), burst: twice(publish_rate.burst) }
}

fn person_full(person: &UserId, address: IpAddr) -> CloseReason {
    if let Some(held_back) = PERSON_FULL.pass() {
        let limit = MAX_CONNECTIONS_PER_SESSION;
        warn!(
            user.id = person.as_str(),
            net.address = %address,
            limit,
            held_back,
            "a session has as many connections as one may have: more are closed with 4501 (too_many_connections)"
        );
    }
    CloseReason::TooManyConnections
}

#[cfg(test)]
mod tests;
