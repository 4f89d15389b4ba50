//! `hubbub health`: asks an instance whether it is ready. For the health checks of container images without an HTTP
//! client.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::address_file;

/// How long the whole exchange may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// Upper bound of the status line, in bytes.
const MAX_STATUS_LINE: u64 = 256;

const REQUEST: &[u8] = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Where an instance listens if nobody says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Arguments of `hubbub health`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Health {
    /// Address that the instance listens on [default: that of your running instance. If you run several: the one that
    /// was started with the same `HUBBUB_LISTEN`].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Health {
    /// Ok if the instance is ready.
    ///
    /// # Errors
    ///
    /// The status that the instance answered with, or why there was no answer, or that several instances run.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let address = reachable(self.listen.map_or_else(find, Ok)?);
        let answer = timeout(DEADLINE, status_line(address)).await;
        let line = answer.with_context(|| format!("{address} did not answer within {DEADLINE:?}"))??;
        match line.trim_end().strip_prefix("HTTP/1.1 ") {
            Some(status) if status.starts_with("200") => Ok(()),
            Some(status) => bail!("{address} is not ready: {status}"),
            None => bail!("{address} did not answer with HTTP/1.1"),
        }
    }
}

/// The address of the instance that was started in this environment. If none is known: where one would listen.
fn find() -> anyhow::Result<SocketAddr> {
    let variable = address_file::listen_variable();
    let addresses = address_file::addresses(&variable);
    if let [one] = addresses.as_slice() {
        return Ok(*one);
    }
    let expected = if variable.is_empty() { DEFAULT } else { variable.parse().context("HUBBUB_LISTEN")? };
    if addresses.is_empty() || addresses.contains(&expected) {
        return Ok(expected);
    }
    bail!("several instances run here, choose one with --listen: {addresses:?}")
}

async fn status_line(address: SocketAddr) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    exchange(stream).await.with_context(|| format!("cannot read an answer from {address}"))
}

async fn exchange(mut stream: TcpStream) -> io::Result<String> {
    stream.write_all(REQUEST).await?;
    let mut line = String::new();
    BufReader::new(stream).take(MAX_STATUS_LINE).read_line(&mut line).await?;
    Ok(line)
}

/// Where to reach an instance that listens at `listen`: an unspecified address (`0.0.0.0`, `[::]`) includes loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The result of the check for an instance that answers with these bytes.
    async fn check(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let health = Health { listen: Some((Ipv4Addr::UNSPECIFIED, listener.local_addr().unwrap().port()).into()) };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; REQUEST.len()];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, REQUEST);
            stream.write_all(answer).await.unwrap();
        };
        tokio::join!(health.check(), serve).0.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn only_the_status_200_counts_as_ready() {
        assert_eq!(check(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await, Ok(()));
        let draining = check(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap_err();
        assert!(draining.ends_with("is not ready: 503 Service Unavailable"), "{draining}");
        for answer in [&b""[..], b"SSH-2.0-OpenSSH_9.2\r\n", &[b'x'; 1000]] {
            let error = check(answer).await.unwrap_err();
            assert!(error.ends_with("did not answer with HTTP/1.1"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_instance_that_does_not_listen_is_not_ready() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        let error = format!("{:#}", Health { listen: Some(listen) }.check().await.unwrap_err());
        assert!(error.starts_with(&format!("cannot connect to {listen}: ")), "{error}");
    }
}
