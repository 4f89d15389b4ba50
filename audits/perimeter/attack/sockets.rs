//! Connections that speak HTTP, or do not.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::Tally;

/// Between two lines of a request that never ends.
const DRIP: Duration = Duration::from_secs(1);
/// Between two requests on a connection: below the 10 s that servers commonly allow.
const KEEP_ALIVE: Duration = Duration::from_secs(9);

/// Sends nothing.
pub(super) async fn stay_idle(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    until_ended(tally.connect(to).await?).await
}

/// Sends one header line after the other.
pub(super) async fn send_slow_headers(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let mut stream = tally.connect(to).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n").await?;
    loop {
        sleep(DRIP).await;
        stream.write_all(b"X-More: x\r\n").await?;
        tally.count_sent();
    }
}

/// Sends a small request each 9 s.
pub(super) async fn keep_alive(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let mut stream = tally.connect(to).await?;
    let mut answer = [0; 4096];
    loop {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await?;
        if stream.read(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tally.count_sent();
        sleep(KEEP_ALIVE).await;
    }
}

/// Sends a part of an upgrade request.
pub(super) async fn send_half_a_handshake(to: SocketAddr, tally: Arc<Tally>) -> io::Result<()> {
    let mut stream = tally.connect(to).await?;
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: webso").await?;
    tally.count_sent();
    until_ended(stream).await
}

/// Reads and forgets until the server ends the connection, which is an error.
async fn until_ended(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}
