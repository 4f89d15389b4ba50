//! A WebSocket to any server.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{ClientRequestBuilder, Message, protocol::WebSocketConfig},
};

use super::Entry;

/// As much as the client of Hubbub reads at once, so that reading costs the generator the same.
const READ_BUFFER_BYTES: usize = 4096;

/// A WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// An answer that is still to be sent.
    owed: Option<Message>,
}

impl Socket {
    /// Connects and upgrades.
    ///
    /// # Errors
    ///
    /// The server cannot be reached or does not upgrade.
    pub(crate) async fn open(entry: &Entry, path: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = entry.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(entry.address.parse()?).await?;
        stream.set_nodelay(true)?;
        let request = ClientRequestBuilder::new(format!("ws://{}{path}", entry.address).parse()?);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (stream, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self { stream, owed: None })
    }

    /// The next text or binary message. Cancel safe.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        if let Some(owed) = &self.owed {
            self.stream.send(owed.clone()).await?;
            self.owed = None;
        }
        loop {
            match self.stream.next().await.context("the connection ended without a close frame")?? {
                message @ (Message::Text(_) | Message::Binary(_)) => return Ok(message),
                Message::Close(frame) => bail!("closed by the server: {frame:?}"),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub(crate) async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// Leaves a message for [`next`](Self::next) to send. If that is cancelled, the message may be sent twice.
    pub(crate) fn owe(&mut self, message: Message) {
        self.owed = Some(message);
    }
}
