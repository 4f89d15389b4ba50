//! One upgraded TCP stream: a WebSocket that is read by a library and written by this module.
//!
//! To wake a task and run a codec for each client and message would cost more than the kernel's send
//! (`docs/performance.md`). So a frame is encoded once, and the fan-out worker or the conversation task writes it
//! through the [`Link`]. The codec (tungstenite) only reads: masks, fragments, UTF-8, control frames. Its answers
//! (pongs) go into the same write buffer as whole frames, so that they never split another frame.

#[cfg(test)]
mod hostile;
mod link;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;
mod write_buffer;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hubbub_protocol::{CloseReason, Frame};
use socket2::SockRef;
use tokio::{net::TcpStream, task::coop, time::timeout};
use tokio_tungstenite::tungstenite::{
    self,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

pub use self::{
    link::{Link, Transport},
    write_buffer::{Ending, Sent},
};
pub use tungstenite::Utf8Bytes;

/// The codec's read buffer, in bytes. Every idle connection keeps one.
const READ_BUFFER: usize = 1024;
/// The kernel's send buffer, in bytes. A client that does not read costs this memory.
const SEND_BUFFER: usize = 64 * 1024;
/// Upper bound for the bytes of a control frame.
const CONTROL_FRAME: usize = 131;
/// Timeout for writing the last frames, and then for the peer to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// A message from the peer. Pings are already answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Text, valid UTF-8.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A ping or a pong: the peer is alive.
    Control,
}

/// A WebSocket of the server side.
#[derive(Debug)]
pub struct Socket {
    codec: WebSocketContext,
    link: Arc<Link>,
    frames_in: u64,
    /// Bytes that were read and are no message yet.
    unfinished: usize,
    most_unfinished: usize,
}

impl Socket {
    /// Takes over an upgraded stream. `read_ahead` are the bytes that the HTTP server has read beyond the request.
    ///
    /// Messages above `max_message` bytes, whole or in fragments, end the connection with 1009. So do fragments whose
    /// headers are larger than that: without a bound, empty ones could be read for ever.
    pub fn new(stream: TcpStream, read_ahead: &Bytes, max_message: usize) -> Self {
        let socket = SockRef::from(&stream);
        // on failure the socket works with the system's default size
        let _refused = socket.set_send_buffer_size(SEND_BUFFER);
        let (codec, link) = (codec(read_ahead, max_message), Arc::new(Link::new(stream)));
        Self { codec, link, frames_in: 0, unfinished: 0, most_unfinished: 2 * max_message }
    }

    /// The write side, which the fan-out worker shares.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Number of messages received, with pings and pongs.
    pub const fn frames_in(&self) -> u64 {
        self.frames_in
    }

    /// The next message. Meanwhile flushes the write buffer. Cancel safe.
    ///
    /// # Errors
    ///
    /// The ending of the connection. Then call [`finish`](Self::finish).
    pub async fn next(&mut self) -> Result<Inbound, Ending> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for a task that also polls something else.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Ending>> {
        self.link.register(cx);
        if let Some(ending) = self.link.ending() {
            return Poll::Ready(Err(ending));
        }
        loop {
            let choked = self.link.is_choked();
            if !choked && let Poll::Ready(outcome) = self.poll_read(cx) {
                return Poll::Ready(outcome);
            }
            ready!(self.poll_flush(cx))?;
            if !choked {
                return Poll::Pending;
            }
        }
    }

    /// Flushes the write buffer without reading. Ready when it is empty.
    ///
    /// # Errors
    ///
    /// The ending of the connection.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        self.link.register(cx);
        if let Some(ending) = self.link.ending() {
            return Poll::Ready(Err(ending));
        }
        ready!(self.link.poll_flush(cx)).map_err(|_| self.end(Ending::Lost)).into()
    }

    /// Queues a frame. Only for the conversation task: it flushes when there is nothing more to read.
    pub fn reply(&self, frame: &Frame) {
        self.link.queue(frame.bytes());
    }

    /// Queues a frame. Waits first while too many replies are queued because the peer does not read. Cancel safe.
    ///
    /// # Errors
    ///
    /// The ending of the connection.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), Ending> {
        poll_fn(|cx| if self.link.is_choked() { self.poll_flush(cx) } else { Poll::Ready(Ok(())) }).await?;
        self.reply(frame);
        Ok(())
    }

    /// Ends the connection: flushes the write buffer, shuts the write side down, and reads until the peer closes its
    /// side. To close with unread bytes would reset the connection, and the peer would lose the close code. Takes at
    /// most two seconds.
    pub async fn finish(self) {
        let link = self.link;
        if link.ending() == Some(Ending::Lost) {
            return;
        }
        link.make_room_to_close();
        if let Ok(Ok(())) = timeout(LINGER, poll_fn(|cx| link.poll_flush(cx))).await {
            link.shut_down_write();
            // at the timeout the connection is dropped
            let _hung_up = timeout(LINGER, poll_fn(|cx| link.poll_hang_up(cx))).await;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Ending>> {
        let budget = ready!(coop::poll_proceed(cx));
        loop {
            let room = self.most_unfinished - self.unfinished.min(self.most_unfinished);
            let mut wire = Wire { link: &self.link, room };
            let outcome = read(&mut self.codec, &mut wire);
            self.unfinished += room - wire.room;
            let ending = match outcome {
                Some(Ok(message)) => {
                    budget.made_progress();
                    self.frames_in += 1;
                    self.unfinished = match message {
                        Inbound::Control => self.unfinished.saturating_sub(CONTROL_FRAME),
                        Inbound::Text(_) | Inbound::Binary(_) => 0,
                    };
                    return Poll::Ready(Ok(message));
                }
                Some(Err(ending)) => ending,
                None if self.unfinished >= self.most_unfinished => Ending::Ours(CloseReason::FrameTooLarge),
                None => match ready!(self.link.poll_read_ready(cx)) {
                    Ok(()) => continue,
                    Err(_) => Ending::Lost,
                },
            };
            return Poll::Ready(Err(self.end(ending)));
        }
    }

    /// Closes with this ending, unless another one is decided already. Returns the ending that counts.
    fn end(&self, ending: Ending) -> Ending {
        self.link.close(ending);
        self.link.ending().unwrap_or(ending)
    }
}

fn codec(read_ahead: &[u8], max_message: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    WebSocketContext::from_partially_read(read_ahead.to_vec(), Role::Server, Some(config))
}

/// The next message, or the ending of the connection. None if there is nothing more to read now.
fn read(codec: &mut WebSocketContext, wire: &mut (impl io::Read + io::Write)) -> Option<Result<Inbound, Ending>> {
    match codec.read(wire) {
        Ok(tungstenite::Message::Close(frame)) => Some(Err(Ending::Theirs(frame.map(|frame| frame.code.into())))),
        Ok(message) => Some(Ok(message.into())),
        Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error.into())),
    }
}

impl From<tungstenite::Message> for Inbound {
    fn from(message: tungstenite::Message) -> Self {
        match message {
            tungstenite::Message::Text(text) => Self::Text(text),
            tungstenite::Message::Binary(bytes) => Self::Binary(bytes),
            _ => Self::Control,
        }
    }
}

impl From<tungstenite::Error> for Ending {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::error::{Error, ProtocolError};
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            Error::Protocol(_) => Self::Ours(CloseReason::ProtocolError),
            Error::Utf8(_) => Self::Ours(CloseReason::InvalidUtf8),
            Error::Capacity(_) => Self::Ours(CloseReason::FrameTooLarge),
            _ => Self::Lost,
        }
    }
}

/// The codec's stream. Reading never blocks; written frames are queued as a whole in the write buffer.
struct Wire<'a> {
    link: &'a Link,
    /// Bytes that may still be read.
    room: usize,
}

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.link.try_read(buffer)?;
        self.room = self.room.saturating_sub(length);
        Ok(length)
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.link.queue(frames);
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
