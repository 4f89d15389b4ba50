//! The write side of a connection, shared by its own task and the fan-out worker that owns it.
//!
//! Everything that goes to the peer passes the [`WriteBuffer`]. There is no queue of messages here: what a slow client
//! has not been sent stays in the ring.

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

/// Room in the kernel's buffer beyond what waits when a connection ends, in bytes.
const CLOSING_ROOM: usize = 64 * 1024;

/// What carries the bytes of a connection to its peer: a TCP stream, or memory in tests and benches of the fan-out.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Takes as many bytes as it has room for, and returns how many. Never blocks.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if it has no room; anything else ends the connection.
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
    /// When bytes came from the peer last, in milliseconds of the process clock.
    received_at: AtomicU64,
}

impl<T: Transport> Link<T> {
    /// A connection over this transport. The time of silence starts now.
    pub fn new(stream: T) -> Self {
        let received_at = AtomicU64::new(uptime_millis());
        Self { stream, buffer: Mutex::default(), task: AtomicWaker::new(), received_at }
    }

    /// Writes whole frames straight to the socket, after whatever waits there.
    ///
    /// `ends` are the offsets in `bytes` at which the frames end. Never blocks. The caller knows from the result whether
    /// the connection's task has to be woken to flush.
    pub fn write(&self, bytes: &[u8], ends: &[usize]) -> Sent {
        let sent = self.buffer.lock().write(self.kernel(), bytes, ends);
        if sent == Sent::Closed {
            self.task.wake();
        }
        sent
    }

    /// Writes a frame that may be left out, if the kernel takes it now. Says whether the peer gets it.
    pub fn offer(&self, frame: &Frame) -> bool {
        let sent = self.buffer.lock().offer(self.kernel(), frame);
        if matches!(sent, Sent::Closed | Sent::Cut(1)) {
            self.task.wake();
        }
        matches!(sent, Sent::All | Sent::Cut(1))
    }

    /// Queues a frame behind what waits and lets the connection's task write it.
    ///
    /// Nothing is queued on a connection that is closing.
    pub fn reply(&self, frame: &Frame) {
        self.queue(frame.bytes());
        self.task.wake();
    }

    pub(super) fn queue(&self, bytes: &[u8]) {
        self.buffer.lock().queue(bytes);
    }

    /// Decides how the connection ends, unless that is decided already, and wakes its task to carry it out.
    pub fn close(&self, ending: Ending) {
        self.close_after(None, ending);
    }

    /// The same, with a last frame in front of the close frame.
    pub fn close_after(&self, last: Option<&Frame>, ending: Ending) {
        self.buffer.lock().close_after(last, ending);
        self.task.wake();
    }

    /// How the connection ends, once that is decided.
    pub fn ending(&self) -> Option<Ending> {
        self.buffer.lock().ending()
    }

    /// For how long the kernel has taken nothing although something is due.
    pub fn blocked_for(&self) -> Option<Duration> {
        self.buffer.lock().blocked_for()
    }

    /// For how long nothing has come from the peer.
    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(uptime_millis().saturating_sub(self.received_at.load(Ordering::Relaxed)))
    }

    /// Wakes the connection's task, which looks at its state.
    pub fn wake(&self) {
        self.task.wake();
    }

    /// Makes the current task the one that [`wake`](Self::wake) wakes.
    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Whether so many replies wait that the socket should not be read.
    pub(super) fn is_choked(&self) -> bool {
        self.buffer.lock().has_too_many_replies()
    }

    /// Writes what waits. Ready once nothing does.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.buffer.lock().flush(self.kernel())? {
                return Poll::Ready(Ok(()));
            }
            std::task::ready!(self.stream.poll_write_ready(cx))?;
        }
    }

    /// Ready once the kernel may take more.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Writes what the kernel takes now of what waits.
    pub fn flush(&self) {
        // an error shows at the next write of the task
        let _flushed = self.buffer.lock().flush(self.kernel());
    }

    fn kernel(&self) -> impl Fn(&[u8]) -> io::Result<usize> + Copy {
        |bytes| self.stream.try_write(bytes)
    }
}

impl Link {
    /// Reads what the peer sent. Returns [`io::ErrorKind::WouldBlock`] when there is nothing.
    ///
    /// What does not fill the buffer was all: then there is nothing until the kernel says so again, as tokio's own
    /// `poll_read` has it. Half of all reads would be to find that out.
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
        self.received_at.store(uptime_millis(), Ordering::Relaxed);
        Ok(length)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    /// Reads and forgets. Ready once the peer has hung up.
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

    /// Makes room in the kernel for the rest of a torn frame and the close frame, so that a peer which does not read now
    /// still finds them when it does, although this process has forgotten it by then.
    pub(super) fn make_room_to_close(&self) {
        let waiting = self.buffer.lock().waiting_bytes();
        if waiting > 0 {
            let socket = SockRef::from(&self.stream);
            let room = socket.send_buffer_size().unwrap_or_default() + waiting + CLOSING_ROOM;
            // a kernel that refuses costs the peer the close code, nothing else
            let _refused = socket.set_send_buffer_size(room);
        }
    }

    pub(super) fn shut_down_write(&self) {
        // fails only when the peer is gone already
        let _gone = SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }
}

/// Milliseconds since the process first asked.
fn uptime_millis() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}
