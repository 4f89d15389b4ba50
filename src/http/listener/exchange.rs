//! One turn of a connection: hyper reads a request, the router answers it.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use hubbub_lifecycle::{Shutdown, Throttle, metric};
use hyper::{
    body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{
    HEADER_DEADLINE, LAST_REQUESTS_DEADLINE, Slot,
    wire::{Cutter, Progress, Wire},
};
use crate::problem::Problem;

/// Hyper's lower bound for its buffers, in bytes.
const MIN_BUFFER: usize = 8192;
/// How long the client has to read the answer to what was no request, and how much more of it is read meanwhile. To close
/// with unread bytes would reset the connection, and the client could lose the answer.
const LINGER: Duration = Duration::from_secs(1);
const MAX_LINGER_BYTES: u64 = 512 * 1024;

/// Serves requests with a router.
#[derive(Debug)]
pub(super) struct Exchanger {
    hyper: http1::Builder,
    router: Router,
    max_header_bytes: usize,
    shutdown: Shutdown,
}

impl Exchanger {
    pub(super) fn new(router: Router, max_header_bytes: usize, shutdown: Shutdown) -> Self {
        let mut hyper = http1::Builder::new();
        hyper
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_header_size(max_header_bytes)
            .max_buf_size(max_header_bytes.max(MIN_BUFFER));
        Self { hyper, router, max_header_bytes, shutdown }
    }

    /// Serves the next request, and those that the client has sent ahead. Returns the wire if the client may send more,
    /// and None if the connection is over or upgraded.
    pub(super) async fn exchange(&self, wire: Wire, peer: SocketAddr, slot: Slot) -> Option<Wire> {
        let progress = wire.progress();
        let service = service_fn(|request| self.answer(request, Arc::clone(&progress), peer, slot.clone()));
        let mut connection = self.hyper.serve_connection(wire, service).with_upgrades();
        let mut outcome = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if progress.is_idle() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let outcome = tokio::select! {
            outcome = &mut outcome => outcome,
            () = self.shutdown.started() => {
                Pin::new(&mut connection).graceful_shutdown();
                let last = poll_fn(|cx| Pin::new(&mut connection).poll(cx));
                timeout(LAST_REQUESTS_DEADLINE, last).await.ok()?.into()
            }
        };
        match outcome {
            None => connection.into_parts().map(|parts| parts.io.renewed(parts.read_buf)),
            Some(Ok(())) => None,
            Some(Err(error)) => {
                debug!(%error, net.peer = %peer, "an HTTP connection failed");
                let problem = self.problem(&error, peer).filter(|_| !progress.is_served())?;
                send(connection.into_parts()?.io.into_inner(), problem).await;
                None
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        progress: Arc<Progress>,
        peer: SocketAddr,
        slot: Slot,
    ) -> Result<Response<Answer>, Infallible> {
        progress.begin_request(!request.body().is_end_stream());
        let guard = HandedOver(Arc::clone(&progress));
        let mut request = request.map(|body| Body::new(Question { body, progress: Arc::clone(&progress) }));
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(slot);
        request.extensions_mut().insert(Cutter(Arc::clone(&progress)));
        let mut answered = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        // Hyper would drain a body that no handler has read, and nothing tells when it is done: the connection would keep
        // its turn meanwhile.
        if progress.is_body_unread() {
            answered.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answered.map(|body| Answer { body, _guard: guard }))
    }

    /// The answer to what is no request.
    fn problem(&self, error: &hyper::Error, peer: SocketAddr) -> Option<Problem> {
        static TOO_LARGE: Throttle = Throttle::new();
        if error.is_parse_too_large() {
            let limit = self.max_header_bytes;
            metrics::counter!(metric::HTTP_REFUSALS, "reason" => "headers").increment(1);
            if let Some(held_back) = TOO_LARGE.pass() {
                warn!(net.peer = %peer, limit, held_back, "refusing a request with large headers: see --max-header-bytes");
            }
            let detail = format!("the headers are above {limit} bytes or 100 fields: see --max-header-bytes");
            return Some(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
        }
        if error.is_parse() {
            return Some(Problem::new(StatusCode::BAD_REQUEST, "this is no request of HTTP/1.1"));
        }
        error.is_timeout().then(|| Problem::new(StatusCode::REQUEST_TIMEOUT, "the headers took too long"))
    }
}

/// Sends a last answer and closes the connection.
async fn send(mut stream: TcpStream, problem: Problem) {
    let exchange = async {
        stream.write_all(problem.closing_bytes().as_bytes()).await?;
        stream.shutdown().await?;
        let rest = &mut stream.take(MAX_LINGER_BYTES);
        tokio::io::copy(rest, &mut tokio::io::sink()).await
    };
    // It was a courtesy: the connection is closed in any case.
    let _sent = timeout(LINGER, exchange).await;
}

/// Notes that hyper has the whole answer, or that there will be none.
struct HandedOver(Arc<Progress>);

impl Drop for HandedOver {
    fn drop(&mut self) {
        self.0.answer_handed_over();
    }
}

/// The body of an answer.
struct Answer {
    body: Body,
    _guard: HandedOver,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request.
struct Question {
    body: Incoming,
    progress: Arc<Progress>,
}

impl HttpBody for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.progress.body_read();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
