//! Accepts connections and speaks HTTP/1.1 on them, with the deadlines that `axum::serve` does not set.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hubbub_lifecycle::Shutdown;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt;
use tracing::{debug, warn};

/// From a connection's turn, or the end of a response, to the end of the next request's headers. Who has
/// waited longer than that when a turn comes has probably given up, and is let go of without an answer.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// What a request's headers may take, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long requests in progress may take once shutdown has begun.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Connections that may wait for their turn to speak HTTP.
const WAITING: usize = 8192;
/// Connections that speak HTTP at a time.
const HTTP_CONNECTIONS: usize = 1024;
/// How long a peer may leave what was sent to it unacknowledged, or take nothing at all.
#[cfg(target_os = "linux")]
const TRANSPORT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept: it fails because descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens at `address` with a queue that takes a storm of connections. Port 0 picks a free one.
///
/// # Errors
///
/// The address is taken, not this machine's, or not ours to take.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// One of the connections there may be. Every request carries it as an extension; a handler that upgrades keeps it as long as the socket.
#[derive(Clone, Debug)]
pub struct Slot(#[cfg_attr(not(test), expect(dead_code, reason = "it is held, not read"))] Arc<OwnedSemaphorePermit>);

/// A connection that was accepted.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    at: Instant,
}

/// Serves `router` until shutdown begins. Requests in progress then end in tasks of their own, which [`Shutdown::finish`] waits for.
///
/// Those that speak HTTP are bounded, since they need memory: the others wait, without any. At most `connections` are open, upgraded
/// ones among them as long as somebody keeps their [`Slot`]. What comes then waits in the kernel's queue: a client that finds that one full
/// is silent for a second before it tries again, and then for two.
pub async fn serve(listener: TcpListener, connections: usize, router: Router, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let (entrance, queue) = mpsc::channel(WAITING);
    let serving = async { tokio::join!(accept(listener, slots, entrance), converse(queue, router, shutdown.clone())) };
    tokio::select! {
        () = shutdown.started() => (),
        _ended = serving => (),
    }
}

async fn accept(listener: TcpListener, slots: Arc<Semaphore>, entrance: mpsc::Sender<Accepted>) {
    while let Ok(entry) = entrance.reserve().await {
        // it is never closed
        let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let slot = Slot(Arc::new(permit));
                entry.send(Accepted { stream, peer, slot, at: Instant::now() });
            }
            Err(error) if is_about_one_peer(&error) => debug!(%error, "a peer left before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(mut queue: mpsc::Receiver<Accepted>, router: Router, shutdown: Shutdown) {
    let turns = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
    // it is never closed
    while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
        let Some(accepted) = queue.recv().await else { return };
        if accepted.at.elapsed() > HEADER_DEADLINE {
            debug!(net.peer = %accepted.peer, "a connection had to wait too long for its turn");
            continue;
        }
        let conversation = talk(accepted, router.clone(), shutdown.clone());
        shutdown.spawn_expendable(async move {
            conversation.await;
            drop(turn);
        });
    }
}

async fn talk(Accepted { stream, peer, slot, .. }: Accepted, router: Router, shutdown: Shutdown) {
    tune(&stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(slot.clone());
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {}))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.started() => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_REQUESTS, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        debug!(%error, net.peer = %peer, "an HTTP connection failed");
    }
}

/// Without these the connection works, with latency and patience that are the system's choice.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _refused = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _refused = socket.set_tcp_user_timeout(Some(TRANSPORT_TIMEOUT));
}

fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::{Extension, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::mpsc::error::TryRecvError,
        task::yield_now,
    };

    use super::*;

    #[tokio::test]
    async fn who_comes_before_there_is_room_waits_here_not_in_the_short_queue_of_the_kernel() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        let (entrance, queue) = mpsc::channel(100);
        let shutdown = Shutdown::default();
        shutdown.spawn_until_started(accept(listener, Arc::new(Semaphore::new(100)), entrance));
        let mut clients = Vec::new();
        while queue.len() < 100 {
            let client = timeout(Duration::from_secs(30), TcpStream::connect(address)).await.unwrap();
            clients.push(client.unwrap());
        }
        shutdown.start();
    }

    #[tokio::test]
    async fn a_connection_has_its_place_as_long_as_it_lasts_or_what_came_of_it() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (keep, mut kept) = mpsc::channel(4);
        let route = get(async move |Extension(slot): Extension<Slot>| keep.send(slot).await.unwrap());
        let shutdown = Shutdown::default();
        shutdown.spawn(serve(listener, 1, Router::new().route("/", route), shutdown.clone()));

        let mut first = ask(address).await;
        hear(&mut first).await;
        let mut second = ask(address).await;
        drop(first);
        let slot = kept.recv().await.unwrap();
        let held = async {
            while Arc::strong_count(&slot.0) > 1 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), held).await.unwrap();
        assert_eq!(kept.try_recv().unwrap_err(), TryRecvError::Empty, "the connection is gone, and its slot is not");
        drop(slot);
        hear(&mut second).await;
        shutdown.finish(Duration::from_secs(30)).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_waited_too_long_for_a_turn_gets_no_answer() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut client = ask(listener.local_addr().unwrap()).await;
        let (stream, peer) = listener.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let at = Instant::now().checked_sub(HEADER_DEADLINE + Duration::from_secs(1)).unwrap();
        let (entrance, queue) = mpsc::channel(1);
        assert!(entrance.send(Accepted { stream, peer, slot: Slot(Arc::new(permit)), at }).await.is_ok());
        let shutdown = Shutdown::default();
        shutdown.spawn_until_started(converse(queue, Router::new(), shutdown.clone()));
        let heard = timeout(Duration::from_secs(30), client.read(&mut [0; 12])).await.unwrap();
        assert_eq!(heard.unwrap_or(0), 0, "the connection ends");
        shutdown.start();
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        client
    }

    async fn hear(client: &mut TcpStream) {
        let mut status = [0; 12];
        timeout(Duration::from_secs(30), client.read_exact(&mut status)).await.unwrap().unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
}
