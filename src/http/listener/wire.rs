//! The TCP stream as hyper sees it, with a deadline for slow readers, and with what the listener has to know of it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    body::{Buf, Bytes},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep},
};

/// How long a client may take to read an answer, from the moment when the kernel can take no more of it.
const ANSWER_DEADLINE: Duration = Duration::from_mins(1);

/// A TCP stream for hyper. The handler of an upgrade gets it back.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TokioIo<TcpStream>,
    /// Bytes to read before those of the stream.
    ahead: Bytes,
    progress: Arc<Progress>,
    answer_deadline: Option<Pin<Box<Sleep>>>,
}

/// How far the request on a wire is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A request was handed to the service.
    served: AtomicBool,
    /// The answer, or a part of it, is not handed to hyper yet.
    answering: AtomicBool,
    /// A part of the request's body was not read.
    body_unread: AtomicBool,
    read_blocked: AtomicBool,
    write_blocked: AtomicBool,
    /// The headers are there, and the client has read what it was sent, as far as the kernel tells.
    moving: AtomicBool,
    cut: AtomicBool,
    changed: Notify,
}

impl Progress {
    pub(super) fn begin_request(&self, has_body: bool) {
        self.body_unread.store(has_body, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
        self.move_on();
    }

    /// Whether nothing happens before the client sends the rest of the headers, or reads of the answer.
    pub(super) fn is_stalled(&self) -> bool {
        !self.moving.load(Ordering::Relaxed)
    }

    /// Whether the exchange has to end.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Completes after a change of these two. For one task only.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn move_on(&self) {
        if !self.moving.swap(true, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    fn stall(&self) {
        if self.moving.swap(false, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    pub(super) fn body_read(&self) {
        self.body_unread.store(false, Ordering::Relaxed);
    }

    /// Whether a part of the request's body was not read.
    pub(super) fn is_body_unread(&self) -> bool {
        self.body_unread.load(Ordering::Relaxed)
    }

    pub(super) fn answer_handed_over(&self) {
        self.answering.store(false, Ordering::Relaxed);
    }

    /// Whether a request was handed to the service.
    pub(super) fn is_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Whether a request was answered and nothing more can be done before the client sends something. Meaningful when
    /// hyper has just returned `Pending`: it then has tried to flush and to read.
    pub(super) fn is_idle(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let at_work = is(&self.answering) || self.is_body_unread() || is(&self.write_blocked);
        is(&self.served) && is(&self.read_blocked) && !at_work
    }
}

/// Ends one exchange. Every request carries its own as an extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cutter(pub(super) Arc<Progress>);

impl Cutter {
    /// Closes the connection, whatever of the answer is not sent.
    pub(crate) fn cut(&self) {
        self.0.cut.store(true, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: TokioIo::new(stream), ahead: Bytes::new(), progress: Arc::default(), answer_deadline: None }
    }

    /// The same wire before another request. `ahead` was read from it already. Line ends in front of a request are
    /// nothing (RFC 9112, 2.2).
    pub(super) fn renewed(self, mut ahead: Bytes) -> Self {
        let line_ends = ahead.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        ahead.advance(line_ends);
        Self { ahead, ..Self::new(self.into_inner()) }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Waits until the client has sent something. False if it has closed the connection. Takes no buffer. Cancel safe.
    pub(super) async fn readable(&self) -> bool {
        !self.ahead.is_empty() || matches!(self.stream.inner().peek(&mut [0]).await, Ok(1))
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Hyper answers what is no request by itself, without a body. That answer is dropped: the listener has a better one.
    fn is_automatic_answer(&self) -> bool {
        !self.progress.is_served()
    }

    fn note_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.progress.write_blocked.store(outcome.is_pending(), Ordering::Relaxed);
        if outcome.is_pending() {
            self.progress.stall();
            let deadline = self.answer_deadline.get_or_insert_with(|| Box::pin(sleep(ANSWER_DEADLINE)));
            if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        outcome
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.progress.read_blocked.store(outcome.is_pending(), Ordering::Relaxed);
        outcome
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_automatic_answer() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_automatic_answer() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Hyper has written all that it has.
        if !self.progress.answering.load(Ordering::Relaxed) {
            self.answer_deadline = None;
            if self.progress.is_served() {
                self.progress.move_on();
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_automatic_answer() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
