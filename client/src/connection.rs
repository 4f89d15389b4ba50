//! One WebSocket connection that keeps no state of the protocol.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream};
use hubbub_protocol::{ClientFrame, SUBPROTOCOL, ServerFrame};
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, ClientRequestBuilder, Message,
        http::{self, Uri, header},
        protocol::{
            CloseFrame, WebSocketConfig,
            frame::{Utf8Bytes, coding::CloseCode},
        },
    },
};

/// The code of a connection that ended without a close frame (RFC 6455, section 7.1.5).
pub(crate) const NO_CLOSE_FRAME: u16 = 1006;
/// The code of a close frame without a code.
const NO_STATUS: u16 = 1005;
/// The types of the frames that this client knows.
const KNOWN: [&str; 14] = [
    "welcome",
    "live",
    "message",
    "ack",
    "heartbeat",
    "count",
    "typing",
    "joined",
    "left",
    "status",
    "reset",
    "drain",
    "error",
    "pong",
];
/// Small, because thousands of clients share one process.
const READ_BUFFER_BYTES: usize = 4096;

/// Options of the upgrade request and of the TCP connection under it.
#[derive(Clone, Debug, Default)]
pub struct Upgrade {
    /// Offers the subprotocol `hubbub.v1`.
    pub subprotocol: bool,
    /// Additional request headers, for example `Origin`.
    pub headers: Vec<(String, String)>,
    /// Size of the kernel's receive buffer. By default that of the system. With a small one, the server notices a slow
    /// reader after fewer bytes.
    pub receive_buffer_bytes: Option<u32>,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The TCP connection failed, or the attempt took too long.
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    /// The server answered the upgrade with another status than 101.
    #[error("the upgrade was refused with status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its `Retry-After` header, if it had one in seconds.
        retry_after: Option<Duration>,
    },
    /// The WebSocket handshake failed for another reason.
    #[error("the handshake failed: {0}")]
    Handshake(#[source] Box<tungstenite::Error>),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("closed with {code} {reason}")]
pub struct Closed {
    /// The close code; 1006 if there was none.
    pub code: u16,
    /// The reason text of the close frame, or what went wrong.
    pub reason: String,
}

impl Closed {
    fn lost(reason: &impl ToString) -> Self {
        Self { code: NO_CLOSE_FRAME, reason: reason.to_string() }
    }
}

/// One WebSocket connection. Dropping it cuts it without a close frame.
///
/// It sends and receives frames and remembers nothing, so a test can break the protocol with it: the first frame of a
/// client has to be `hello`, and that is up to the caller.
#[derive(Debug)]
pub struct Connection {
    stream: WebSocketStream<TcpStream>,
    subprotocol: Option<String>,
}

impl Connection {
    /// Connects to `host:port` and upgrades.
    ///
    /// # Errors
    ///
    /// The server cannot be reached or does not upgrade.
    pub async fn open(address: &str, upgrade: &Upgrade) -> Result<Self, ConnectError> {
        let stream = connect(address, upgrade.receive_buffer_bytes).await?;
        Self::over(stream, address, upgrade).await
    }

    /// Upgrades a TCP connection. `host` is the value of the `Host` header.
    ///
    /// # Errors
    ///
    /// The server does not upgrade.
    pub async fn over(stream: TcpStream, host: &str, upgrade: &Upgrade) -> Result<Self, ConnectError> {
        let uri =
            format!("ws://{host}/ws").parse::<Uri>().map_err(|error| handshake(http::Error::from(error).into()))?;
        let mut request = ClientRequestBuilder::new(uri);
        if upgrade.subprotocol {
            request = request.with_sub_protocol(SUBPROTOCOL);
        }
        for (name, value) in &upgrade.headers {
            request = request.with_header(name, value);
        }
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (stream, response) = client_async_with_config(request, stream, Some(config)).await.map_err(handshake)?;
        let subprotocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        let subprotocol = subprotocol.and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self { stream, subprotocol })
    }

    /// The subprotocol the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The WebSocket under it, for tests that break the protocol.
    pub fn websocket(&mut self) -> &mut WebSocketStream<TcpStream> {
        &mut self.stream
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub async fn send(&mut self, frame: &ClientFrame) -> Result<(), Closed> {
        self.send_text(&encode(frame)).await
    }

    /// Sends any text, a frame of the protocol or not.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub async fn send_text(&mut self, text: &str) -> Result<(), Closed> {
        self.stream.send(Message::text(text)).await.map_err(|error| Closed::lost(&error))
    }

    /// The next frame of the server. Cancel safe.
    ///
    /// # Errors
    ///
    /// The connection has ended. A frame that is not one of this protocol counts as its end, with code 1002. One of a type
    /// that this client does not know is skipped.
    pub async fn next(&mut self) -> Result<ServerFrame, Closed> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The text of the next frame of the server, not parsed and not copied out of the read buffer. Cancel safe.
    ///
    /// For a program that receives more than it has time to parse.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub async fn next_text(&mut self) -> Result<Utf8Bytes, Closed> {
        poll_fn(|cx| self.poll_text(cx)).await
    }

    /// The next frame of the server, or `None` if none comes within `limit`. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<ServerFrame>, Closed> {
        timeout(limit, self.next()).await.ok().transpose()
    }

    /// Sends a close frame with code 1000 and waits up to `limit` for that of the server.
    ///
    /// Returns how the connection ended.
    pub async fn close(mut self, limit: Duration) -> Closed {
        let handshake = async {
            let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
            self.stream.close(Some(normal)).await.map_err(|error| Closed::lost(&error))?;
            loop {
                self.next().await?;
            }
        };
        match timeout(limit, handshake).await {
            Ok(Ok(never)) => never,
            Ok(Err(closed)) => closed,
            Err(_) => Closed::lost(&"the server did not answer the close frame"),
        }
    }

    /// As [`next`](Self::next).
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerFrame, Closed>> {
        loop {
            let Poll::Ready(text) = self.poll_text(cx) else { return Poll::Pending };
            if let Some(frame) = decode(&text?).transpose() {
                return Poll::Ready(frame);
            }
        }
    }

    /// As [`next_text`](Self::next_text).
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Closed>> {
        loop {
            let message = match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Closed::lost(&"the connection ended without a close frame")));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Closed::lost(&error))),
                Poll::Ready(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => return Poll::Ready(Ok(text)),
                Message::Binary(_) => return Poll::Ready(Err(violation("a binary frame"))),
                Message::Close(frame) => {
                    // The answer is queued by the codec; without a flush the server would wait for it.
                    let _answered_or_gone = Pin::new(&mut self.stream).poll_flush(cx);
                    let code = frame.as_ref().map_or(NO_STATUS, |frame| frame.code.into());
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    return Poll::Ready(Err(Closed { code, reason }));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Ready when [`start_send`](Self::start_send) may be called.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(|error| Closed::lost(&error))
    }

    /// Queues a frame.
    pub(crate) fn start_send(&mut self, frame: &ClientFrame) -> Result<(), Closed> {
        Pin::new(&mut self.stream).start_send(Message::text(encode(frame))).map_err(|error| Closed::lost(&error))
    }

    /// Ready when everything queued has been written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|error| Closed::lost(&error))
    }
}

async fn connect(address: &str, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(address).await {
            Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn handshake(error: tungstenite::Error) -> ConnectError {
    let tungstenite::Error::Http(response) = error else { return ConnectError::Handshake(Box::new(error)) };
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    ConnectError::Refused { status: response.status().as_u16(), retry_after: retry_after.map(Duration::from_secs) }
}

/// The frames of the protocol always serialise.
fn encode(frame: &ClientFrame) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}

/// A frame. None: its type is one that this client does not know, and skips.
fn decode(text: &str) -> Result<Option<ServerFrame>, Closed> {
    serde_json::from_str(text).map(Some).or_else(|error| {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let is_unknown = frame.get("type").and_then(Value::as_str).is_some_and(|kind| !KNOWN.contains(&kind));
        let broken = || violation(&format!("a frame that is not one of this protocol: {error}"));
        if is_unknown { Ok(None) } else { Err(broken()) }
    })
}

fn violation(what: &str) -> Closed {
    Closed { code: 1002, reason: format!("the server sent {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_an_unknown_type_is_skipped_and_a_broken_one_is_not() {
        assert!(matches!(decode(r#"{"type":"pong","n":7}"#), Ok(Some(ServerFrame::Pong { n: Some(7) }))));
        assert!(matches!(decode(r#"{"type":"membership","seq":9,"room":"~x"}"#), Ok(None)));
        for broken in ["", "{}", "[]", r#"{"type":7}"#, r#"{"type":"live"}"#] {
            assert_eq!(decode(broken).unwrap_err().code, 1002, "{broken}");
        }
    }
}
