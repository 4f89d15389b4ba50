//! The write side of a connection, shared by its own task and the fan-out worker that owns it.
//!
//! Everything that goes to the peer passes the [`Outbox`]: the rest of a frame that the kernel took only in part, whole
//! frames that wait (replies, pongs), and at the end the close frame. There is no queue of messages here: what a slow
//! client misses stays in the ring.

use std::{
    fmt,
    io::{self, Read},
    net::Shutdown,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hubbub_protocol::{CloseReason, Frame};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// Unread replies above which a socket is no longer read, in bytes.
const MAX_UNREAD_REPLIES: usize = 16 * 1024;
/// Room in the kernel beyond what waits when a connection ends, in bytes.
const LAST_WORDS_ROOM: usize = 64 * 1024;

/// What became of frames handed to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has them all.
    All,
    /// The first so many are as good as sent: the kernel has them, or the rest of the last one waits in front of
    /// everything else. The others are the caller's to send later.
    Cut(usize),
    /// The connection is closed or closing.
    Closed,
}

/// How a connection ends, as decided by the first who had a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This server closes, for this reason.
    Ours(CloseReason),
    /// The peer closed with this code; the answer carries the same.
    Theirs(Option<u16>),
    /// The transport failed: nothing can be said any more.
    Lost,
}

#[derive(Debug, Default)]
struct Outbox {
    /// The rest of a frame of which the kernel has the beginning.
    torn: Bytes,
    /// Whole frames that wait.
    replies: Vec<u8>,
    /// Once set, nothing is added any more.
    ending: Option<Ending>,
    /// Since when the kernel has taken nothing although something is due.
    blocked_since: Option<Instant>,
}

/// What carries the bytes of a connection to its peer: a TCP stream, or memory where only the fan-out is of interest.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Takes what it has room for, and says how much that was. Never blocks.
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
    outbox: Mutex<Outbox>,
    task: AtomicWaker,
    /// When the peer was last heard, in milliseconds of the process clock.
    heard_at: AtomicU64,
}

impl<T: Transport> Link<T> {
    /// A connection over this transport, whose peer has just been heard.
    pub fn new(stream: T) -> Self {
        let heard_at = AtomicU64::new(uptime_millis());
        Self { stream, outbox: Mutex::default(), task: AtomicWaker::new(), heard_at }
    }

    /// Writes whole frames straight to the socket, after whatever waits there.
    ///
    /// `ends` are the offsets in `bytes` at which the frames end. Never blocks. The caller knows from the result whether
    /// the connection's task has to be woken to flush.
    pub fn write(&self, bytes: &[u8], ends: &[usize]) -> Sent {
        let sent = self.outbox.lock().write(self.kernel(), bytes, ends);
        if sent == Sent::Closed {
            self.task.wake();
        }
        sent
    }

    /// Writes a frame that may be left out, if the kernel takes it now. Whether the peer will have it.
    pub fn offer(&self, frame: &Frame) -> bool {
        let sent = self.outbox.lock().offer(self.kernel(), frame);
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
        self.outbox.lock().queue(bytes);
    }

    /// Decides how the connection ends, unless that is decided already, and wakes its task to carry it out.
    pub fn close(&self, ending: Ending) {
        self.close_after(None, ending);
    }

    /// The same, with a last frame in front of the close frame.
    pub fn close_after(&self, last: Option<&Frame>, ending: Ending) {
        self.outbox.lock().close_after(last, ending);
        self.task.wake();
    }

    /// How the connection ends, once that is decided.
    pub fn ending(&self) -> Option<Ending> {
        self.outbox.lock().ending
    }

    /// For how long the kernel has taken nothing although something is due.
    pub fn blocked_for(&self) -> Option<Duration> {
        self.outbox.lock().blocked_since.map(|since| since.elapsed())
    }

    /// For how long nothing has been heard from the peer.
    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(uptime_millis().saturating_sub(self.heard_at.load(Ordering::Relaxed)))
    }

    /// Lets the connection's task look at its state.
    pub fn wake(&self) {
        self.task.wake();
    }

    /// Makes the current task the one that [`wake`](Self::wake) wakes.
    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Whether so many replies wait that the socket should not be read.
    pub(super) fn is_choked(&self) -> bool {
        self.outbox.lock().replies.len() > MAX_UNREAD_REPLIES
    }

    /// Writes what waits. Ready once nothing does.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.outbox.lock().flush(self.kernel())? {
                return Poll::Ready(Ok(()));
            }
            std::task::ready!(self.stream.poll_write_ready(cx))?;
        }
    }

    /// Ready once the kernel may take more.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Writes what the kernel takes of what waits, for who cannot wait himself.
    pub fn flush(&self) {
        // whatever goes wrong, nobody is left to hear of it
        let _flushed = self.outbox.lock().flush(self.kernel());
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
        self.heard_at.store(uptime_millis(), Ordering::Relaxed);
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
    pub(super) fn make_room_for_last_words(&self) {
        let waiting = {
            let outbox = self.outbox.lock();
            outbox.torn.len() + outbox.replies.len()
        };
        if waiting > 0 {
            let socket = SockRef::from(&self.stream);
            let room = socket.send_buffer_size().unwrap_or_default() + waiting + LAST_WORDS_ROOM;
            // a kernel that refuses costs the peer the close code, nothing else
            let _refused = socket.set_send_buffer_size(room);
        }
    }

    pub(super) fn shut_down_write(&self) {
        // fails only when the peer is gone already
        let _gone = SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }
}

impl Outbox {
    fn queue(&mut self, bytes: &[u8]) {
        if self.ending.is_none() {
            self.replies.extend_from_slice(bytes);
        }
    }

    fn close_after(&mut self, last: Option<&Frame>, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        if let Some(frame) = last {
            self.queue(frame.bytes());
        }
        match ending {
            Ending::Ours(reason) => self.queue(Frame::close(reason).bytes()),
            Ending::Theirs(code) => self.queue(Frame::close_reply(code).bytes()),
            Ending::Lost => self.discard(),
        }
        self.ending = Some(ending);
    }

    fn offer(&mut self, kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy, frame: &Frame) -> Sent {
        let before = self.blocked_since;
        let sent = self.write(kernel, frame.bytes(), &[frame.len()]);
        if sent == Sent::Cut(0) && !self.has_waiting() {
            // nothing is due because of it
            self.blocked_since = before;
        }
        sent
    }

    fn write(&mut self, kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy, bytes: &[u8], ends: &[usize]) -> Sent {
        if self.ending.is_some() {
            return Sent::Closed;
        }
        match self.flush(kernel) {
            Ok(true) => {}
            Ok(false) => return Sent::Cut(0),
            Err(_) => return self.lose(),
        }
        match kernel(bytes) {
            Ok(written) => {
                self.blocked_since = None;
                if written == bytes.len() { Sent::All } else { self.cut(bytes, ends, written) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.cut(bytes, ends, 0),
            Err(_) => self.lose(),
        }
    }

    const fn has_waiting(&self) -> bool {
        !self.torn.is_empty() || !self.replies.is_empty()
    }

    /// Writes as much as the kernel takes. True when nothing waits any more.
    fn flush(&mut self, kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy) -> io::Result<bool> {
        while !self.torn.is_empty() {
            match kernel(&self.torn) {
                Ok(written) => {
                    bytes::Buf::advance(&mut self.torn, written);
                    self.blocked_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.blocked()),
                Err(error) => return Err(error),
            }
        }
        while !self.replies.is_empty() {
            match kernel(&self.replies) {
                Ok(written) if written == self.replies.len() => {
                    self.replies = Vec::new();
                    self.blocked_since = None;
                }
                Ok(written) => {
                    // what is left of the replies goes first next time: the cut may be inside a frame
                    self.torn = Bytes::copy_from_slice(self.replies.get(written..).unwrap_or_default());
                    self.replies = Vec::new();
                    self.blocked_since = None;
                    return Ok(self.blocked());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.blocked()),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Keeps the rest of the frame in which `written` falls, and forgets the frames behind it.
    fn cut(&mut self, bytes: &[u8], ends: &[usize], written: usize) -> Sent {
        let whole = ends.partition_point(|end| *end <= written);
        let start = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        self.blocked();
        if written == start {
            return Sent::Cut(whole);
        }
        let end = ends.get(whole).copied().unwrap_or(bytes.len());
        self.torn = Bytes::copy_from_slice(bytes.get(written..end).unwrap_or_default());
        Sent::Cut(whole + 1)
    }

    fn blocked(&mut self) -> bool {
        self.blocked_since.get_or_insert_with(Instant::now);
        false
    }

    fn lose(&mut self) -> Sent {
        self.discard();
        self.ending = Some(Ending::Lost);
        Sent::Closed
    }

    fn discard(&mut self) {
        self.torn = Bytes::new();
        self.replies = Vec::new();
        self.blocked_since = None;
    }
}

/// Milliseconds since the process first asked.
fn uptime_millis() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::VecDeque,
    };

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;
    use crate::socket::peer;

    /// What the kernel does with a write.
    #[derive(Clone, Copy, Debug)]
    enum Take {
        UpTo(usize),
        Nothing,
        Fails,
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// A batch of frames with texts of these lengths, from the fan-out.
        Write(Vec<usize>),
        Offer(usize),
        Reply(usize),
        Flush,
        Close(Option<usize>, Ending),
    }

    fn take() -> impl Strategy<Value = Take> {
        prop_oneof![10 => (0..400_usize).prop_map(Take::UpTo), 5 => Just(Take::Nothing), 1 => Just(Take::Fails)]
    }

    fn op() -> impl Strategy<Value = Op> {
        let ending = prop_oneof![
            4 => Just(Ending::Ours(CloseReason::Drain)),
            2 => Just(Ending::Theirs(Some(1000))),
            1 => Just(Ending::Theirs(None)),
            1 => Just(Ending::Lost),
        ];
        prop_oneof![
            8 => prop::collection::vec(0..200_usize, 1..6).prop_map(Op::Write),
            3 => (0..200_usize).prop_map(Op::Offer),
            4 => (0..200_usize).prop_map(Op::Reply),
            4 => Just(Op::Flush),
            1 => (prop::option::of(0..200_usize), ending).prop_map(|(last, ending)| Op::Close(last, ending)),
        ]
    }

    /// A connection whose kernel follows a script, and takes nothing when that is over.
    struct Conversation {
        outbox: Outbox,
        script: RefCell<VecDeque<Take>>,
        broken: Cell<bool>,
        heard: RefCell<Vec<u8>>,
        /// What the peer is to hear, by what the callers were told.
        due: Vec<Frame>,
        frames: usize,
    }

    impl Conversation {
        fn new(script: Vec<Take>) -> Self {
            let (script, heard) = (RefCell::new(script.into()), RefCell::default());
            Self { outbox: Outbox::default(), script, broken: Cell::new(false), heard, due: Vec::new(), frames: 0 }
        }

        /// A frame like no other.
        fn frame(&mut self, length: usize) -> Frame {
            self.frames += 1;
            Frame::text(&format!("{:>length$}", self.frames))
        }

        fn step(&mut self, op: &Op) {
            match op {
                Op::Write(lengths) => {
                    let frames: Vec<_> = lengths.iter().map(|length| self.frame(*length)).collect();
                    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
                    for frame in &frames {
                        bytes.extend_from_slice(frame.bytes());
                        ends.push(bytes.len());
                    }
                    let sent = self.with_kernel(|outbox, kernel| outbox.write(kernel, &bytes, &ends));
                    self.told(sent, frames);
                }
                Op::Offer(length) => {
                    let frame = self.frame(*length);
                    let sent = self.with_kernel(|outbox, kernel| outbox.offer(kernel, &frame));
                    self.told(sent, vec![frame]);
                }
                Op::Reply(length) => {
                    let frame = self.frame(*length);
                    self.outbox.queue(frame.bytes());
                    self.due.extend(self.outbox.ending.is_none().then_some(frame));
                }
                Op::Flush => self.flush(),
                Op::Close(last, ending) => self.close(*last, *ending),
            }
        }

        fn told(&mut self, sent: Sent, mut frames: Vec<Frame>) {
            match sent {
                Sent::All => (),
                Sent::Cut(count) => frames.truncate(count),
                Sent::Closed => frames.clear(),
            }
            assert_eq!(sent == Sent::Closed, self.outbox.ending.is_some());
            self.due.append(&mut frames);
        }

        /// As the connection's task does it.
        fn flush(&mut self) {
            if let Ok(done) = self.with_kernel(|outbox, kernel| outbox.flush(kernel)) {
                assert_eq!(done, !self.outbox.has_waiting());
            } else {
                self.outbox.close_after(None, Ending::Lost);
                self.outbox.discard();
            }
        }

        fn close(&mut self, last: Option<usize>, ending: Ending) {
            let last = last.map(|length| self.frame(length));
            let open = self.outbox.ending.is_none();
            self.outbox.close_after(last.as_ref(), ending);
            if open {
                let close = match ending {
                    Ending::Ours(reason) => Some(Frame::close(reason)),
                    Ending::Theirs(code) => Some(Frame::close_reply(code)),
                    Ending::Lost => None,
                };
                self.due.extend(last.into_iter().filter(|_| close.is_some()));
                self.due.extend(close);
            }
            assert!(self.outbox.ending.is_some());
        }

        fn with_kernel<T>(&mut self, act: impl FnOnce(&mut Outbox, &dyn Fn(&[u8]) -> io::Result<usize>) -> T) -> T {
            let Self { outbox, script, broken, heard, .. } = self;
            let kernel = |bytes: &[u8]| {
                assert!(!bytes.is_empty(), "nothing to write, and yet a system call");
                let take = script.borrow_mut().pop_front().unwrap_or(Take::Nothing);
                broken.set(broken.get() || matches!(take, Take::Fails));
                match take {
                    _ if broken.get() => Err(io::ErrorKind::BrokenPipe.into()),
                    Take::UpTo(room) => {
                        let taken = &bytes[..room.min(bytes.len())];
                        heard.borrow_mut().extend_from_slice(taken);
                        Ok(taken.len())
                    }
                    Take::Nothing | Take::Fails => Err(io::ErrorKind::WouldBlock.into()),
                }
            };
            act(outbox, &kernel)
        }

        fn due(&self) -> Vec<u8> {
            self.due.iter().flat_map(|frame| frame.bytes().to_vec()).collect()
        }

        fn is_lost(&self) -> bool {
            self.broken.get() || self.outbox.ending == Some(Ending::Lost)
        }
    }

    fn text(frame: &Frame) -> Option<Message> {
        (frame.bytes()[0] == 0x81).then(|| Message::text(std::str::from_utf8(frame.payload()).unwrap()))
    }

    #[test]
    fn a_cut_on_a_frame_boundary_tears_nothing() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.cut(b"aabbcc", &[2, 4, 6], 2), Sent::Cut(1));
        assert!(outbox.torn.is_empty());
        assert_eq!(outbox.cut(b"aabbcc", &[2, 4, 6], 0), Sent::Cut(0));
        assert!(outbox.torn.is_empty());
    }

    proptest! {
        #[test]
        fn the_peer_hears_whole_frames_in_order_however_the_kernel_cuts_them(
            ops in prop::collection::vec(op(), 1..40), script in prop::collection::vec(take(), 0..80),
        ) {
            let mut conversation = Conversation::new(script);
            for op in &ops {
                conversation.step(op);
                let (due, heard) = (conversation.due(), conversation.heard.borrow().clone());
                prop_assert!(due.starts_with(&heard), "{op:?}");
                let silent = conversation.is_lost() || conversation.outbox.has_waiting();
                prop_assert!(silent || heard == due, "{op:?}: something was forgotten");
            }
            if !conversation.is_lost() {
                *conversation.script.borrow_mut() = [Take::UpTo(usize::MAX); 2].into();
                conversation.flush();
                let heard = peer::hear(&conversation.heard.borrow());
                let texts: Vec<_> = conversation.due.iter().filter_map(text).collect();
                prop_assert_eq!(&heard[..texts.len()], &texts);
                prop_assert_eq!(heard.len(), conversation.due.len());
            }
        }

        #[test]
        fn what_was_written_and_what_is_kept_end_on_a_frame_boundary(
            lengths in prop::collection::vec(1_usize..20, 1..20), cut in 0_usize..400,
        ) {
            let ends: Vec<usize> = lengths.iter().scan(0, |sum, length| { *sum += length; Some(*sum) }).collect();
            let total = *ends.last().unwrap();
            let bytes: Vec<u8> = (0..total).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let written = cut % total;
            let mut outbox = Outbox::default();

            let Sent::Cut(frames) = outbox.cut(&bytes, &ends, written) else { panic!("not a cut") };

            let boundary = if frames == 0 { 0 } else { ends[frames - 1] };
            prop_assert_eq!(written + outbox.torn.len(), boundary);
            prop_assert_eq!(outbox.torn.as_ref(), &bytes[written..boundary]);
            prop_assert!(frames == 0 || frames == 1 || ends[frames - 2] <= written);
        }
    }
}
