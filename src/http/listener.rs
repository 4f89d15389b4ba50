//! Accepts connections and serves HTTP/1.1 on them, with deadlines and bounds that `axum::serve` does not have.

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

/// Timeout for receiving the headers of a request, from the start of serving or from the end of the previous response.
/// A connection that has waited longer than this to be served is closed without an answer: its client has probably
/// given up.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// Upper bound for the headers of a request, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long requests in progress may take after shutdown has begun.
const LAST_REQUESTS_DEADLINE: Duration = Duration::from_secs(2);
/// Upper bound for connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 4096;
/// Upper bound for accepted connections that wait to be served.
const MAX_WAITING: usize = 8192;
/// Upper bound for connections that are served HTTP at the same time.
const MAX_SERVED: usize = 1024;
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

/// Counts one open connection towards the limit of [`serve`]. Every request carries it as an extension; a handler that
/// upgrades must keep it as long as the socket.
#[derive(Clone, Debug)]
pub struct Slot(#[cfg_attr(not(test), expect(dead_code, reason = "it is held, not read"))] Arc<OwnedSemaphorePermit>);

/// An accepted connection, and when it was accepted.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    at: Instant,
}

/// Serves `router` until shutdown begins. Requests in progress then end in tasks of their own, and [`Shutdown::finish`]
/// waits for those.
///
/// At most `connections` are open at the same time, and upgraded ones count as long as their [`Slot`] is kept. Further
/// connections wait in the kernel's accept queue. If that is full, the client's kernel tries again after a second, then
/// after two. To keep it short, connections are accepted before there is room to serve them: they wait here, which
/// costs no buffers, until one of the few that are served HTTP at the same time is done.
pub async fn serve(listener: TcpListener, connections: usize, router: Router, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let (sender, queue) = mpsc::channel(MAX_WAITING);
    let serving = async { tokio::join!(accept(listener, slots, sender), dispatch(queue, router, shutdown.clone())) };
    tokio::select! {
        () = shutdown.started() => (),
        _done = serving => (),
    }
}

async fn accept(listener: TcpListener, slots: Arc<Semaphore>, sender: mpsc::Sender<Accepted>) {
    while let Ok(entry) = sender.reserve().await {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let slot = Slot(Arc::new(permit));
                entry.send(Accepted { stream, peer, slot, at: Instant::now() });
            }
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

/// Starts to serve each connection when there is room for it.
async fn dispatch(mut queue: mpsc::Receiver<Accepted>, router: Router, shutdown: Shutdown) {
    let turns = Arc::new(Semaphore::new(MAX_SERVED));
    // The semaphore is never closed.
    while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
        let Some(accepted) = queue.recv().await else { return };
        if accepted.at.elapsed() > HEADER_DEADLINE {
            debug!(net.peer = %accepted.peer, "closing a connection that has waited too long to be served");
            continue;
        }
        let connection = serve_connection(accepted, router.clone(), shutdown.clone());
        shutdown.spawn_isolated(async move {
            connection.await;
            drop(turn);
        });
    }
}

async fn serve_connection(Accepted { stream, peer, slot, .. }: Accepted, router: Router, shutdown: Shutdown) {
    set_options(&stream);
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
            timeout(LAST_REQUESTS_DEADLINE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        debug!(%error, net.peer = %peer, "an HTTP connection failed");
    }
}

/// Errors are ignored: without these options the connection works too, but adds latency and notices a dead peer late.
fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _refused = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _refused = socket.set_tcp_user_timeout(Some(TRANSPORT_TIMEOUT));
}

fn concerns_one_peer(error: &io::Error) -> bool {
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
    async fn connections_that_cannot_be_served_yet_do_not_fill_the_queue_of_the_kernel() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, queue) = mpsc::channel(100);
        let shutdown = Shutdown::default();
        shutdown.spawn_until_shutdown(accept(listener, Arc::new(Semaphore::new(100)), sender));
        let mut clients = Vec::new();
        while queue.len() < 100 {
            let client = timeout(Duration::from_secs(30), TcpStream::connect(address)).await.unwrap();
            clients.push(client.unwrap());
        }
        shutdown.start();
    }

    #[tokio::test]
    async fn a_slot_is_free_again_when_neither_the_connection_nor_a_handler_keeps_it() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (keep, mut kept) = mpsc::channel(4);
        let route = get(async move |Extension(slot): Extension<Slot>| keep.send(slot).await.unwrap());
        let shutdown = Shutdown::default();
        shutdown.spawn(serve(listener, 1, Router::new().route("/", route), shutdown.clone()));

        let mut first = send_request(address).await;
        expect_200(&mut first).await;
        let mut second = send_request(address).await;
        drop(first);
        let slot = kept.recv().await.unwrap();
        let held = async {
            while Arc::strong_count(&slot.0) > 1 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), held).await.unwrap();
        assert_eq!(
            kept.try_recv().unwrap_err(),
            TryRecvError::Empty,
            "the handler keeps the slot of a connection that is closed"
        );
        drop(slot);
        expect_200(&mut second).await;
        shutdown.finish(Duration::from_secs(30)).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_has_waited_too_long_to_be_served_gets_no_answer() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut client = send_request(listener.local_addr().unwrap()).await;
        let (stream, peer) = listener.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let at = Instant::now().checked_sub(HEADER_DEADLINE + Duration::from_secs(1)).unwrap();
        let (sender, queue) = mpsc::channel(1);
        assert!(sender.send(Accepted { stream, peer, slot: Slot(Arc::new(permit)), at }).await.is_ok());
        let shutdown = Shutdown::default();
        shutdown.spawn_until_shutdown(dispatch(queue, Router::new(), shutdown.clone()));
        let received = timeout(Duration::from_secs(30), client.read(&mut [0; 12])).await.unwrap();
        assert_eq!(received.unwrap_or(0), 0, "the connection ends");
        shutdown.start();
    }

    async fn send_request(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        client
    }

    async fn expect_200(client: &mut TcpStream) {
        let mut status = [0; 12];
        timeout(Duration::from_secs(30), client.read_exact(&mut status)).await.unwrap().unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
}
