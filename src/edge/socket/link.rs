//! The write side of a connection, shared by its conversation task and its fan-out worker.
//!
//! All bytes to the peer pass the [`WriteBuffer`]. There is no queue of messages here: messages that a slow client has
//! not been sent stay in the ring.

use std::{
    fmt,
    io::{self, Read},
    net::Shutdown,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use hubbub_protocol::Frame;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use super::write_buffer::{Ending, Sent, WriteBuffer};

/// Free bytes in the kernel's send buffer at the end of a connection, besides the waiting bytes.
const CLOSING_ROOM: usize = 64 * 1024;

/// The transport of a connection: a TCP stream, or memory in tests and benches of the fan-out.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Writes as many bytes as fit, and returns their number. Never blocks.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if none fit. Any other error ends the connection.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Ready once it may take more.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Transport for TcpStream {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }
}

/// The write side of one connection.
#[derive(Debug)]
pub struct Link<T = TcpStream> {
    stream: T,
    buffer: Mutex<WriteBuffer>,
    task: AtomicWaker,
    /// When bytes were received last, in microseconds of [`uptime_micros`].
    received_at: AtomicU64,
}

impl<T: Transport> Link<T> {
    /// A connection over this transport. [`silent_for`](Self::silent_for) counts from now.
    pub fn new(stream: T) -> Self {
        let received_at = AtomicU64::new(uptime_micros());
        Self { stream, buffer: Mutex::default(), task: AtomicWaker::new(), received_at }
    }

    /// Writes whole frames to the socket, after the bytes that wait.
    ///
    /// `ends` are the offsets in `bytes` at which the frames end. Never blocks. After [`Sent::Cut`] the caller must
    /// wake the conversation task to flush.
    pub fn write(&self, bytes: &[u8], ends: &[usize]) -> Sent {
        let sent = self.buffer.lock().write(self.kernel(), bytes, ends);
        if sent == Sent::Closed {
            self.task.wake();
        }
        sent
    }

    /// Writes a frame that may be dropped, if the kernel takes it now. Returns true if the peer gets it.
    pub fn try_send(&self, frame: &Frame) -> bool {
        let sent = self.buffer.lock().try_send(self.kernel(), frame);
        if matches!(sent, Sent::Closed | Sent::Cut(1)) {
            self.task.wake();
        }
        matches!(sent, Sent::All | Sent::Cut(1))
    }

    /// Queues a frame behind the bytes that wait, and wakes the conversation task to write it.
    ///
    /// Does nothing on a connection that is closing.
    pub fn reply(&self, frame: &Frame) {
        self.queue(frame.bytes());
        self.task.wake();
    }

    pub(super) fn queue(&self, bytes: &[u8]) {
        self.buffer.lock().queue(bytes);
    }

    /// Sets the ending and queues the close frame, unless an ending is set. Wakes the conversation task to carry it
    /// out.
    pub fn close(&self, ending: Ending) {
        self.close_after(None, ending);
    }

    /// As [`close`](Self::close), with a last frame in front of the close frame.
    pub fn close_after(&self, last: Option<&Frame>, ending: Ending) {
        self.buffer.lock().close_after(last, ending);
        self.task.wake();
    }

    /// The ending of the connection, once it is set.
    pub fn ending(&self) -> Option<Ending> {
        self.buffer.lock().ending()
    }

    /// How long the kernel has taken no bytes although some wait. None if it is not blocked.
    pub fn blocked_for(&self) -> Option<Duration> {
        self.buffer.lock().blocked_for()
    }

    /// Number of frames that were written or queued, with those that are not sent yet.
    pub fn frames_out(&self) -> u64 {
        self.buffer.lock().frames()
    }

    /// How long nothing was received from the peer.
    pub fn silent_for(&self) -> Duration {
        Duration::from_micros(uptime_micros().saturating_sub(self.received_at.load(Ordering::Relaxed)))
    }

    /// When bytes were received last, counted from some moment of this process.
    pub fn heard_at(&self) -> Duration {
        Duration::from_micros(self.received_at.load(Ordering::Relaxed))
    }

    /// Wakes the conversation task, which checks its state again.
    pub fn wake(&self) {
        self.task.wake();
    }

    /// Makes the current task the one that [`wake`](Self::wake) wakes.
    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Whether too many replies wait to read more from the socket.
    pub(super) fn is_choked(&self) -> bool {
        self.buffer.lock().has_too_many_replies()
    }

    /// Writes the bytes that wait. Ready when none wait.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.buffer.lock().flush(self.kernel())? {
                return Poll::Ready(Ok(()));
            }
            std::task::ready!(self.stream.poll_write_ready(cx))?;
        }
    }

    /// Ready when the kernel may take more bytes.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Writes as many of the waiting bytes as the kernel takes now.
    pub fn flush(&self) {
        // an error returns at the next write of the conversation task
        let _flushed = self.buffer.lock().flush(self.kernel());
    }

    fn kernel(&self) -> impl Fn(&[u8]) -> io::Result<usize> + Copy {
        |bytes| self.stream.try_write(bytes)
    }
}

impl Link {
    /// Reads bytes from the peer. Returns [`io::ErrorKind::WouldBlock`] if there are none.
    ///
    /// A read that does not fill the buffer has emptied the socket. The socket then counts as not readable until the
    /// kernel reports new bytes, as in tokio's `poll_read`. This saves a second read that would only return
    /// `WouldBlock`.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut all = None;
        let read = self.stream.try_io(Interest::READABLE, || {
            let length = (&*SockRef::from(&self.stream)).read(buffer)?;
            if length == 0 || length == buffer.len() {
                return Ok(length);
            }
            all = Some(length);
            Err(io::ErrorKind::WouldBlock.into())
        });
        let length = all.map_or(read, Ok)?;
        self.received_at.store(uptime_micros(), Ordering::Relaxed);
        Ok(length)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    /// Reads and discards. Ready when the peer has closed its side.
    pub(super) fn poll_hang_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 512];
        while std::task::ready!(self.poll_read_ready(cx)).is_ok() {
            match self.try_read(&mut scratch) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                _ => {}
            }
        }
        Poll::Ready(())
    }

    /// Enlarges the kernel's send buffer for the rest of a torn frame and the close frame. So a peer that does not read
    /// now still receives them later, when this process has dropped the connection.
    pub(super) fn make_room_to_close(&self) {
        let waiting = self.buffer.lock().waiting_bytes();
        if waiting > 0 {
            let socket = SockRef::from(&self.stream);
            let room = socket.send_buffer_size().unwrap_or_default() + waiting + CLOSING_ROOM;
            // on failure the peer may lose the close code
            let _refused = socket.set_send_buffer_size(room);
        }
    }

    pub(super) fn shut_down_write(&self) {
        // fails only if the connection is closed already
        let _closed = SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }
}

/// Microseconds since the process first asked.
fn uptime_micros() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}
