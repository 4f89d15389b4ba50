//! The bytes of a connection that wait to be written, and its ending.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hubbub_lifecycle::metric;
use hubbub_protocol::{CloseReason, Frame};

/// Waiting replies above which a socket is no longer read, in bytes.
const MAX_UNREAD_REPLIES: usize = 16 * 1024;

/// The result of writing frames to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All are sent.
    All,
    /// This number of frames is sent. The rest of the last one may wait first in the write buffer. The caller sends the
    /// other frames later.
    Cut(usize),
    /// The connection is closed or closing.
    Closed,
}

/// How a connection ends. The first ending counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This server closes with this reason.
    Ours(CloseReason),
    /// The peer closed with this code; the answer carries the same.
    Theirs(Option<u16>),
    /// The transport failed: nothing can be sent any more.
    Lost,
}

/// The bytes that wait to be written to one connection.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    /// The rest of a frame whose beginning is written.
    torn: Bytes,
    /// Waiting whole frames: replies, pongs, and last the close frame.
    replies: Vec<u8>,
    /// Once set, nothing is added any more.
    ending: Option<Ending>,
    /// Since when the kernel has taken no bytes although some wait.
    blocked_since: Option<Instant>,
    /// Frames that were written or queued.
    frames: u64,
}

impl WriteBuffer {
    /// Number of frames that were written or queued.
    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// How long the kernel has taken no bytes although some wait. None if it is not blocked.
    pub(super) fn blocked_for(&self) -> Option<Duration> {
        self.blocked_since.map(|since| since.elapsed())
    }

    /// Whether too many replies wait to read more from the socket.
    pub(super) const fn has_too_many_replies(&self) -> bool {
        self.replies.len() > MAX_UNREAD_REPLIES
    }

    /// Number of waiting bytes.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.torn.len() + self.replies.len()
    }

    /// Adds a whole frame. Nothing is added to a connection that is closing.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        if self.ending.is_none() {
            self.replies.extend_from_slice(bytes);
            self.frames += 1;
        }
    }

    /// Sets the ending and adds `last` and the close frame, unless an ending is set.
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

    /// As [`write`](Self::write), for one frame that may be dropped. If the kernel takes nothing of it, the connection
    /// does not count as blocked.
    pub(super) fn try_send(&mut self, kernel: impl Fn(&[u8]) -> io::Result<usize> + Copy, frame: &Frame) -> Sent {
        let before = self.blocked_since;
        let sent = self.write(kernel, frame.bytes(), &[frame.len()]);
        if sent == Sent::Cut(0) && !self.has_waiting() {
            // the frame is dropped, so no bytes wait for the kernel
            self.blocked_since = before;
        }
        sent
    }

    /// Writes the waiting bytes, then these frames. `ends` are the offsets in `bytes` at which they end.
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
                if written == bytes.len() { self.sent_all(ends) } else { self.cut(bytes, ends, written) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.cut(bytes, ends, 0),
            Err(_) => self.lose(),
        }
    }

    pub(super) const fn has_waiting(&self) -> bool {
        !self.torn.is_empty() || !self.replies.is_empty()
    }

    /// Writes as many waiting bytes as the kernel takes. Returns true when none wait.
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
                    // the rest goes first next time: the cut may be inside a frame
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

    fn sent_all(&mut self, ends: &[usize]) -> Sent {
        self.frames += metric::count(ends.len());
        Sent::All
    }

    /// Keeps the rest of the frame that `written` cuts, and drops the frames behind it.
    fn cut(&mut self, bytes: &[u8], ends: &[usize], written: usize) -> Sent {
        let whole = ends.partition_point(|end| *end <= written);
        let start = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        self.blocked();
        self.frames += metric::count(whole);
        if written == start {
            return Sent::Cut(whole);
        }
        self.frames += 1;
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
        TrySend(usize),
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
            3 => (0..200_usize).prop_map(Op::TrySend),
            4 => (0..200_usize).prop_map(Op::Reply),
            4 => Just(Op::Flush),
            1 => (prop::option::of(0..200_usize), ending).prop_map(|(last, ending)| Op::Close(last, ending)),
        ]
    }

    /// A connection whose kernel follows a script, and takes nothing after its end.
    struct Peer {
        buffer: WriteBuffer,
        script: RefCell<VecDeque<Take>>,
        broken: Cell<bool>,
        received: RefCell<Vec<u8>>,
        /// The frames that the peer must receive, by the results that the callers got.
        due: Vec<Frame>,
        frames: usize,
    }

    impl Peer {
        fn new(script: Vec<Take>) -> Self {
            let (script, received) = (RefCell::new(script.into()), RefCell::default());
            Self {
                buffer: WriteBuffer::default(),
                script,
                broken: Cell::new(false),
                received,
                due: Vec::new(),
                frames: 0,
            }
        }

        /// A frame with a unique text.
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
                    self.record_sent(sent, frames);
                }
                Op::TrySend(length) => {
                    let frame = self.frame(*length);
                    let sent = self.with_kernel(|buffer, kernel| buffer.try_send(kernel, &frame));
                    self.record_sent(sent, vec![frame]);
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

        fn record_sent(&mut self, sent: Sent, mut frames: Vec<Frame>) {
            match sent {
                Sent::All => (),
                Sent::Cut(count) => frames.truncate(count),
                Sent::Closed => frames.clear(),
            }
            assert_eq!(sent == Sent::Closed, self.buffer.ending.is_some());
            self.due.append(&mut frames);
        }

        /// As the conversation task flushes.
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
            let Self { buffer, script, broken, received, .. } = self;
            let kernel = |bytes: &[u8]| {
                assert!(!bytes.is_empty(), "nothing to write, and yet a system call");
                let take = script.borrow_mut().pop_front().unwrap_or(Take::Nothing);
                broken.set(broken.get() || matches!(take, Take::Fails));
                match take {
                    _ if broken.get() => Err(io::ErrorKind::BrokenPipe.into()),
                    Take::UpTo(room) => {
                        let taken = &bytes[..room.min(bytes.len())];
                        received.borrow_mut().extend_from_slice(taken);
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
        fn the_peer_receives_whole_frames_in_order_however_the_kernel_cuts_them(
            ops in prop::collection::vec(op(), 1..40), script in prop::collection::vec(take(), 0..80),
        ) {
            let mut peer_state = Peer::new(script);
            for op in &ops {
                peer_state.step(op);
                let (due, received) = (peer_state.due(), peer_state.received.borrow().clone());
                prop_assert!(due.starts_with(&received), "{op:?}");
                let silent = peer_state.is_lost() || peer_state.buffer.has_waiting();
                prop_assert!(silent || received == due, "{op:?}: something was forgotten");
            }
            if !peer_state.is_lost() {
                *peer_state.script.borrow_mut() = [Take::UpTo(usize::MAX); 2].into();
                peer_state.flush();
                let received = peer::decode(&peer_state.received.borrow());
                let texts: Vec<_> = peer_state.due.iter().filter_map(text).collect();
                prop_assert_eq!(&received[..texts.len()], &texts);
                prop_assert_eq!(received.len(), peer_state.due.len());
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
