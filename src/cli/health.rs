//! Asks an instance whether it is ready: for container health checks, in images that have no other client.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// Why an instance is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Nothing listens there.
    #[error("cannot reach {0}: {1}")]
    Unreachable(SocketAddr, io::Error),
    /// It does not speak HTTP.
    #[error("{0} gave no answer that makes sense: {1}")]
    Unintelligible(SocketAddr, hyper::Error),
    /// It said nothing.
    #[error("{0} gave no answer within {DEADLINE:?}")]
    Silent(SocketAddr),
    /// It says it is not.
    #[error("{0} is not ready: {1}")]
    NotReady(SocketAddr, StatusCode),
}

/// Ok if the instance that listens at `listen` is ready.
///
/// # Errors
///
/// Why it is not, or cannot be asked.
pub async fn ask(listen: SocketAddr) -> Result<(), HealthError> {
    let address = reachable(listen);
    timeout(DEADLINE, exchange(address)).await.unwrap_or(Err(HealthError::Silent(address)))
}

async fn exchange(address: SocketAddr) -> Result<(), HealthError> {
    let stream = TcpStream::connect(address).await.map_err(|error| HealthError::Unreachable(address, error))?;
    let unintelligible = |error| HealthError::Unintelligible(address, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unintelligible)?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = axum::http::Uri::from_static("/health/ready");
    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
    let status = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(unintelligible)?.status(),
        ended = connection => {
            ended.map_err(unintelligible)?;
            return Err(HealthError::Silent(address));
        }
    };
    if status == StatusCode::OK { Ok(()) } else { Err(HealthError::NotReady(address, status)) }
}

/// Where an instance can be reached that listens there: `0.0.0.0` is everywhere, and so on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
