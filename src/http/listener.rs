//! Accepts connections and serves HTTP/1.1 on them, with deadlines and bounds that `axum::serve` does not have.
//!
//! A connection that waits for a request costs a task and its socket, nothing else. With the first byte of a request it
//! takes a turn: only then hyper gets it, with its buffers, until the answer is written. The turns are few and no peer
//! may have more than a part of them, so one peer cannot keep the others waiting, whatever it sends.

mod exchange;
pub(crate) mod parking;
mod peers;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode};
use hubbub_lifecycle::{Shutdown, Throttle, metric};
use ipnet::IpNet;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

pub(crate) use self::wire::{Cutter, Wire};
use self::{
    exchange::Exchanger,
    parking::{Parking, make_room},
    peers::{Peer, Peers},
    wire::Progress,
};
use super::problem::Problem;

/// Timeout for the headers of a request, from its first byte on, and for the first byte of a new connection. A request that
/// has waited longer than this for its turn is not served: its client has probably given up.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// An idle connection makes way only after it has waited this long: a client that has just connected is about to ask.
const IDLE_GRACE: Duration = Duration::from_secs(1);
/// While others wait for a turn: how long the headers of a request, and then the reading of its answer, may take.
const STALL_GRACE: Duration = Duration::from_secs(3);
/// How long requests in progress may take after shutdown has begun.
pub const LAST_REQUESTS_DEADLINE: Duration = Duration::from_secs(2);
/// Upper bound for connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 4096;
/// Requests that are served at the same time.
const TURNS: usize = 1024;
/// Those of one peer.
const TURNS_OF_PEER: usize = 256;
/// The slots that one peer leaves to others, but at most a quarter of all.
const SLOTS_FOR_OTHERS: usize = 1024;
/// `Retry-After` of a refused connection, in milliseconds.
const RETRY_MS: u64 = 5000;
/// How often to look for room while every slot is taken.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);
/// The kernel's send buffer, in bytes. By default it may grow to megabytes for each client that does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged, or the peer's receive window closed.
#[cfg(target_os = "linux")]
const TRANSPORT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an accept that failed because descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens at `address`, with an accept queue long enough for thousands of clients that reconnect at once. Port 0 picks
/// a free port.
///
/// # Errors
///
/// The port is in use, the address is not one of this machine, or the process lacks the permission.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The bounds of a listener.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections open at the same time. Upgraded ones count as long as their [`Slot`] is kept.
    pub connections: usize,
    /// Those of one IPv4 address or IPv6 /64.
    pub per_address: usize,
    /// Peers that `per_address` does not count for, because each stands for many clients.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a connection may wait for another request.
    pub keep_alive: Duration,
    /// Upper bound for the headers of a request, in bytes.
    pub max_header_bytes: usize,
}

impl Bounds {
    /// So many connections from any address, and the defaults of `hubbub serve`.
    pub fn of(connections: usize) -> Self {
        Self {
            connections,
            per_address: connections,
            trusted_proxies: Vec::new(),
            keep_alive: Duration::from_secs(75),
            max_header_bytes: 32 * 1024,
        }
    }
}

/// Counts one open connection towards the limits of [`serve`]. Every request carries it as an extension; a handler that
/// upgrades must keep it as long as the socket.
#[derive(Clone, Debug)]
pub struct Slot(#[cfg_attr(not(test), expect(dead_code, reason = "it is held, not read"))] Arc<Held>);

#[derive(Debug)]
struct Held {
    _slot: OwnedSemaphorePermit,
    _connection: Option<OwnedSemaphorePermit>,
    /// Keeps the counts of the peer.
    _peer: Arc<Peer>,
}

/// Serves `router` until shutdown begins. Requests in progress then end in tasks of their own, and [`Shutdown::finish`]
/// waits for those.
///
/// When every slot of the listener or of a peer is taken, the connection that has waited longest for a request makes way.
/// If there is none, a peer with too many connections is refused with 429, and others wait in the kernel's accept queue.
/// If that is full, the client's kernel tries again after a second, then after two.
pub async fn serve(listener: TcpListener, bounds: Bounds, router: Router, shutdown: Shutdown) {
    let gate = Arc::new(Gate::new(bounds, router, shutdown.clone()));
    tokio::select! {
        () = shutdown.started() => (),
        () = gate.accept(listener) => (),
    }
}

/// One listener: who may connect, and whose turn it is.
#[derive(Debug)]
struct Gate {
    slots: Arc<Semaphore>,
    peers: Peers,
    per_address: usize,
    /// The connections that wait for a request.
    idle: Parking<Idle>,
    turns: Arc<Semaphore>,
    /// The turns that wait for their clients: to send the rest of the headers, or to read the answer.
    stalled: Parking<Cutter>,
    exchanger: Exchanger,
    keep_alive: Duration,
    /// The answer to a peer with too many connections.
    refusal: String,
    shutdown: Shutdown,
}

impl Gate {
    fn new(bounds: Bounds, router: Router, shutdown: Shutdown) -> Self {
        let slots = bounds.connections.min(Semaphore::MAX_PERMITS);
        let per_address = bounds.per_address.min(slots - SLOTS_FOR_OTHERS.min(slots / 4));
        let detail = "this address has too many connections to this instance: see --max-per-address";
        let refusal = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            peers: Peers::new(per_address, TURNS_OF_PEER, bounds.trusted_proxies),
            per_address,
            idle: Parking::new(IDLE_GRACE),
            turns: Arc::new(Semaphore::new(TURNS)),
            stalled: Parking::new(STALL_GRACE),
            exchanger: Exchanger::new(router, bounds.max_header_bytes, shutdown.clone()),
            keep_alive: bounds.keep_alive,
            refusal: refusal.retry_after_ms(RETRY_MS).closing_bytes(),
            shutdown,
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Some(slot) = self.free_slot().await {
            match listener.accept().await {
                Ok((stream, address)) => self.admit(stream, address, slot),
                Err(error) if concerns_one_peer(&error) => {
                    debug!(%error, "a client closed its connection before it was accepted");
                }
                Err(error) => {
                    warn!(%error, "cannot accept connections; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits for a free slot. Meanwhile connections that wait for a request make way.
    async fn free_slot(&self) -> Option<OwnedSemaphorePermit> {
        static FULL: Throttle = Throttle::new();
        loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return Some(slot);
            }
            if self.idle.evict().is_some() {
                continue;
            }
            if let Some(held_back) = FULL.pass() {
                warn!(
                    held_back,
                    "every connection slot is taken: new clients wait. Raise the limit of open files (ulimit -n)"
                );
            }
            if let Ok(slot) = timeout(ROOM_INTERVAL, Arc::clone(&self.slots).acquire_owned()).await {
                // The semaphore is never closed.
                return slot.ok();
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, address: SocketAddr, slot: OwnedSemaphorePermit) {
        let peer = Arc::new(self.peers.get(address));
        let slot = match peer.connect() {
            Ok(connection) => {
                Some(Slot(Arc::new(Held { _slot: slot, _connection: connection, _peer: Arc::clone(&peer) })))
            }
            Err(_) => self.idle.evict_from(peer.key()).map(|idle| idle.slot),
        };
        match slot {
            Some(slot) => self.shutdown.spawn_isolated(Arc::clone(self).serve(stream, address, peer, slot)),
            None => self.refuse(&stream, address),
        }
    }

    fn refuse(&self, stream: &TcpStream, address: SocketAddr) {
        static TOO_MANY: Throttle = Throttle::new();
        metrics::counter!(metric::HTTP_REFUSALS, "reason" => "address").increment(1);
        if let Some(held_back) = TOO_MANY.pass() {
            let (address, limit) = (address.ip().to_canonical(), self.per_address);
            warn!(
                net.peer = %address, limit, held_back,
                "refusing connections: this address has too many. See --max-per-address, and --trusted-proxies if it is a proxy"
            );
        }
        // A courtesy: a new connection has room for it, and the client may not read it.
        let _sent = stream.try_write(self.refusal.as_bytes());
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, address: SocketAddr, peer: Arc<Peer>, mut slot: Slot) {
        set_options(&stream);
        let (mut wire, mut patience) = (Wire::new(stream), HEADER_DEADLINE);
        let mut pause = self.peers.pause(&peer);
        if !pause.is_zero() {
            tell_of_haste(address);
        }
        loop {
            let (evict, evicted) = oneshot::channel();
            let place = self.idle.enter(peer.key(), Idle { slot, _evict: evict });
            let request = async {
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                timeout(patience, wire.readable()).await.unwrap_or(false)
            };
            let sent = tokio::select! {
                sent = request => sent,
                _dropped = evicted => false,
                () = self.shutdown.started() => false,
            };
            let Some(idle) = place.leave().filter(|_| sent) else { return };
            slot = idle.slot;

            let Some(turn) = self.turn(&peer, address).await else { return };
            // Boxed: a connection that waits must not carry the state of a request.
            let progress = wire.progress();
            let exchange = Box::pin(self.exchanger.exchange(wire, address, slot.clone()));
            let rest = tokio::select! {
                rest = exchange => rest,
                () = self.cut(&peer, &progress) => {
                    tell_of_crowd(address);
                    None
                }
            };
            let Some(rest) = rest else { return };
            drop(turn);
            wire = rest;
            (pause, patience) = (Duration::ZERO, self.keep_alive);
        }
    }

    /// Waits for a turn. Meanwhile turns that wait for their clients make way.
    async fn turn(&self, peer: &Peer, address: SocketAddr) -> Option<Turn> {
        let turn = async {
            let share = make_room(peer.turn(), || self.stalled.evict_from(peer.key())).await;
            let turn = make_room(Arc::clone(&self.turns).acquire_owned(), || self.stalled.evict()).await;
            // The semaphore is never closed.
            Some(Turn { _share: share, _turn: turn.ok()? })
        };
        tokio::select! {
            turn = timeout(HEADER_DEADLINE, turn) => turn.unwrap_or_else(|_| {
                tell_of_crowd(address);
                None
            }),
            () = self.shutdown.started() => None,
        }
    }

    /// Completes when the exchange has to make way. It can be found while it waits for its client.
    async fn cut(&self, peer: &Peer, progress: &Arc<Progress>) {
        while !progress.is_cut() {
            let stalled = progress.is_stalled().then(|| Cutter(Arc::clone(progress)));
            let _place = stalled.map(|cutter| self.stalled.enter(peer.key(), cutter));
            progress.changed().await;
        }
    }
}

/// A connection that waits for a request. Dropping this closes it.
#[derive(Debug)]
struct Idle {
    slot: Slot,
    _evict: oneshot::Sender<()>,
}

fn tell_of_haste(address: SocketAddr) {
    static HASTE: Throttle = Throttle::new();
    metrics::counter!(metric::PAUSES, "what" => "connections").increment(1);
    if let Some(held_back) = HASTE.pass() {
        warn!(
            net.peer = %address, held_back,
            "an address opens connections too fast: they wait. See --max-per-address, and --trusted-proxies if it is a proxy"
        );
    }
}

fn tell_of_crowd(address: SocketAddr) {
    static CROWD: Throttle = Throttle::new();
    metrics::counter!(metric::HTTP_REFUSALS, "reason" => "turn").increment(1);
    if let Some(held_back) = CROWD.pass() {
        warn!(
            net.peer = %address, held_back,
            "too many requests at a time: closing a connection whose client is slow, or that has waited too long"
        );
    }
}

/// The right to be served, until it is dropped.
#[derive(Debug)]
struct Turn {
    _share: Option<OwnedSemaphorePermit>,
    _turn: OwnedSemaphorePermit,
}

/// Errors are ignored: without these options the connection works too, but adds latency and notices a dead peer late.
fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _refused = socket.set_tcp_nodelay(true);
    let _refused = socket.set_send_buffer_size(SEND_BUFFER);
    #[cfg(target_os = "linux")]
    let _refused = socket.set_tcp_user_timeout(Some(TRANSPORT_TIMEOUT));
}

fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
