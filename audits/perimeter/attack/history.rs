//! Readers of history.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hubbub_client::{Client, Config, Event};
use hubbub_protocol::{MAX_BODY_BYTES, RoomId};
use hubbub_testbed::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

use super::Tally;

/// The most that a page has.
const PAGE: usize = 200;
/// Little, so that the rest of the answer stays with the server.
const RECEIVE_BUFFER_BYTES: u32 = 2048;
/// Between two reads of a few bytes.
const SIP: Duration = Duration::from_secs(1);

/// Publishes a page of the largest messages, at the rate that is allowed.
pub(super) async fn fill(to: SocketAddr) {
    let room = RoomId::lobby();
    let mut client = Client::new(Config::new(vec![to.to_string()], "Writer".parse().unwrap(), vec![room.clone()]));
    let body = "x".repeat(MAX_BODY_BYTES);
    for _ in 0..PAGE {
        client.publish(&room, &body).unwrap();
    }
    within(async {
        while client.unacked() > 0 {
            let _event: Option<Event> = client.next_event().await;
        }
    })
    .await;
    client.close().await;
}

/// Asks for the page, and hardly reads it.
pub(super) async fn read_slowly(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    let mut stream = socket.connect(to).await?;
    tally.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let request = format!("GET /v1/rooms/lobby/messages?limit={PAGE} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    tally.count_sent();
    let mut sip = [0; 16];
    while stream.read(&mut sip).await? > 0 {
        sleep(SIP).await;
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
