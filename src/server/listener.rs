//! Accepts connections and speaks HTTP/1.1 on them, with the deadlines that `axum::serve` does not set.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::shutdown::Shutdown;

/// From the first moment of a connection, or the end of a response, to the end of the next request's headers.
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

/// Serves `router` until dropped. Once shutdown has begun, the requests in progress end.
///
/// Connections that speak HTTP are bounded, since they need memory. Above, they wait here, and above [`WAITING`] in the kernel's queue: a
/// client that finds that one full is silent for a second before it tries again, and then for two.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let (entrance, waiting) = mpsc::channel(WAITING);
    tokio::join!(accept(listener, entrance), converse(waiting, router, shutdown));
}

async fn accept(listener: TcpListener, entrance: mpsc::Sender<(TcpStream, SocketAddr)>) {
    while let Ok(place) = entrance.reserve().await {
        match listener.accept().await {
            Ok(accepted) => place.send(accepted),
            Err(error) if is_about_one_peer(&error) => debug!(%error, "a peer left before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(mut waiting: mpsc::Receiver<(TcpStream, SocketAddr)>, router: Router, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
    // it is never closed
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Some((stream, peer)) = waiting.recv().await else { return };
        let conversation = talk(stream, peer, router.clone(), shutdown.clone());
        shutdown.spawn_expendable(async move {
            conversation.await;
            drop(place);
        });
    }
}

async fn talk(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: Shutdown) {
    tune(&stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
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

    use super::*;

    #[tokio::test]
    async fn who_comes_before_there_is_room_waits_here_not_in_the_short_queue_of_the_kernel() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        let (entrance, waiting) = mpsc::channel(100);
        let shutdown = Shutdown::default();
        shutdown.spawn_until_started(accept(listener, entrance));
        let mut clients = Vec::new();
        while waiting.len() < 100 {
            let client = timeout(Duration::from_secs(30), TcpStream::connect(address)).await.unwrap();
            clients.push(client.unwrap());
            assert!(clients.len() <= 100 + 8 + 1, "more than there is room for: {}", waiting.len());
        }
        shutdown.start();
    }
}
