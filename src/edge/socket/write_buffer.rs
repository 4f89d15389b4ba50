//! The bytes that wait for the kernel, and how a connection ends.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hubbub_protocol::{CloseReason, Frame};

/// Unread replies above which a socket is no longer read, in bytes.
const MAX_UNREAD_REPLIES: usize = 16 * 1024;

/// The outcome of handing frames to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has them all.
    All,
    /// So many of them are sent: the kernel has them, or the rest of the last one waits in front of everything else. The
    /// caller sends the others later.
    Cut(usize),
    /// The connection is closed or closing.
    Closed,
}

/// How a connection ends. The first decision counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This server closes, for this reason.
    Ours(CloseReason),
    /// The peer closed with this code; the answer carries the same.
    Theirs(Option<u16>),
    /// The transport failed: nothing can be said any more.
    Lost,
}

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    /// The rest of a frame of which the kernel has the beginning.
    torn: Bytes,
    /// Whole frames that wait: replies, pongs, at the end the close frame.
    replies: Vec<u8>,
    /// Once set, nothing is added any more.
    ending: Option<Ending>,
    /// Since when the kernel has taken nothing although something is due.
    blocked_since: Option<Instant>,
}

impl WriteBuffer {
    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// For how long the kernel has taken nothing although something is due.
    pub(super) fn blocked_for(&self) -> Option<Duration> {
        self.blocked_since.map(|since| since.elapsed())
    }

    /// Whether so many replies wait that the socket should not be read.
    pub(super) const fn has_too_many_replies(&self) -> bool {
        self.replies.len() > MAX_UNREAD_REPLIES
    }

    /// Bytes that wait.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.torn.len() + self.replies.len()
    }

    /// Adds a whole frame. Nothing is added to a connection that is closing.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        if self.ending.is_none() {
            self.replies.extend_from_slice(bytes);
        }
    }

    /// Decides the ending, unless it is decided. Adds `last` and the close frame.
    pub(super) fn close_after(&mut self, last: Option<&Frame>, ending: Ending) {
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

    /// As [`write`](Self::write), of one frame that may be left out: a kernel that takes nothing of it does not count as blocked.
    pub(super) fn offer(&mut self, kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy, frame: &Frame) -> Sent {
        let before = self.blocked_since;
        let sent = self.write(kernel, frame.bytes(), &[frame.len()]);
        if sent == Sent::Cut(0) && !self.has_waiting() {
            // nothing is due because of it
            self.blocked_since = before;
        }
        sent
    }

    /// Writes what waits, then these frames. `ends` are their ends in `bytes`.
    pub(super) fn write(
        &mut self,
        kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy,
        bytes: &[u8],
        ends: &[usize],
    ) -> Sent {
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

    pub(super) const fn has_waiting(&self) -> bool {
        !self.torn.is_empty() || !self.replies.is_empty()
    }

    /// Writes as much as the kernel takes. True when nothing waits any more.
    pub(super) fn flush(&mut self, kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy) -> io::Result<bool> {
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
    struct Peer {
        buffer: WriteBuffer,
        script: RefCell<VecDeque<Take>>,
        broken: Cell<bool>,
        heard: RefCell<Vec<u8>>,
        /// What the peer is to hear, by what the callers were told.
        due: Vec<Frame>,
        frames: usize,
    }

    impl Peer {
        fn new(script: Vec<Take>) -> Self {
            let (script, heard) = (RefCell::new(script.into()), RefCell::default());
            Self { buffer: WriteBuffer::default(), script, broken: Cell::new(false), heard, due: Vec::new(), frames: 0 }
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
                    let sent = self.with_kernel(|buffer, kernel| buffer.write(kernel, &bytes, &ends));
                    self.told(sent, frames);
                }
                Op::Offer(length) => {
                    let frame = self.frame(*length);
                    let sent = self.with_kernel(|buffer, kernel| buffer.offer(kernel, &frame));
                    self.told(sent, vec![frame]);
                }
                Op::Reply(length) => {
                    let frame = self.frame(*length);
                    self.buffer.queue(frame.bytes());
                    self.due.extend(self.buffer.ending.is_none().then_some(frame));
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
            assert_eq!(sent == Sent::Closed, self.buffer.ending.is_some());
            self.due.append(&mut frames);
        }

        /// As the connection's task does it.
        fn flush(&mut self) {
            if let Ok(done) = self.with_kernel(|buffer, kernel| buffer.flush(kernel)) {
                assert_eq!(done, !self.buffer.has_waiting());
            } else {
                self.buffer.close_after(None, Ending::Lost);
                self.buffer.discard();
            }
        }

        fn close(&mut self, last: Option<usize>, ending: Ending) {
            let last = last.map(|length| self.frame(length));
            let open = self.buffer.ending.is_none();
            self.buffer.close_after(last.as_ref(), ending);
            if open {
                let close = match ending {
                    Ending::Ours(reason) => Some(Frame::close(reason)),
                    Ending::Theirs(code) => Some(Frame::close_reply(code)),
                    Ending::Lost => None,
                };
                self.due.extend(last.into_iter().filter(|_| close.is_some()));
                self.due.extend(close);
            }
            assert!(self.buffer.ending.is_some());
        }

        fn with_kernel<T>(
            &mut self,
            act: impl FnOnce(&mut WriteBuffer, &dyn Fn(&[u8]) -> io::Result<usize>) -> T,
        ) -> T {
            let Self { buffer, script, broken, heard, .. } = self;
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
            act(buffer, &kernel)
        }

        fn due(&self) -> Vec<u8> {
            self.due.iter().flat_map(|frame| frame.bytes().to_vec()).collect()
        }

        fn is_lost(&self) -> bool {
            self.broken.get() || self.buffer.ending == Some(Ending::Lost)
        }
    }

    fn text(frame: &Frame) -> Option<Message> {
        (frame.bytes()[0] == 0x81).then(|| Message::text(std::str::from_utf8(frame.payload()).unwrap()))
    }

    #[test]
    fn a_cut_on_a_frame_boundary_tears_nothing() {
        let mut buffer = WriteBuffer::default();
        assert_eq!(buffer.cut(b"aabbcc", &[2, 4, 6], 2), Sent::Cut(1));
        assert!(buffer.torn.is_empty());
        assert_eq!(buffer.cut(b"aabbcc", &[2, 4, 6], 0), Sent::Cut(0));
        assert!(buffer.torn.is_empty());
    }

    proptest! {
        #[test]
        fn the_peer_hears_whole_frames_in_order_however_the_kernel_cuts_them(
            ops in prop::collection::vec(op(), 1..40), script in prop::collection::vec(take(), 0..80),
        ) {
            let mut peer_state = Peer::new(script);
            for op in &ops {
                peer_state.step(op);
                let (due, heard) = (peer_state.due(), peer_state.heard.borrow().clone());
                prop_assert!(due.starts_with(&heard), "{op:?}");
                let silent = peer_state.is_lost() || peer_state.buffer.has_waiting();
                prop_assert!(silent || heard == due, "{op:?}: something was forgotten");
            }
            if !peer_state.is_lost() {
                *peer_state.script.borrow_mut() = [Take::UpTo(usize::MAX); 2].into();
                peer_state.flush();
                let heard = peer::hear(&peer_state.heard.borrow());
                let texts: Vec<_> = peer_state.due.iter().filter_map(text).collect();
                prop_assert_eq!(&heard[..texts.len()], &texts);
                prop_assert_eq!(heard.len(), peer_state.due.len());
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
            let mut buffer = WriteBuffer::default();

            let Sent::Cut(frames) = buffer.cut(&bytes, &ends, written) else { panic!("not a cut") };

            let boundary = if frames == 0 { 0 } else { ends[frames - 1] };
            prop_assert_eq!(written + buffer.torn.len(), boundary);
            prop_assert_eq!(buffer.torn.as_ref(), &bytes[written..boundary]);
            prop_assert!(frames == 0 || frames == 1 || ends[frames - 2] <= written);
        }
    }
}
