//! One HTTP request, one connection.

use std::{io, net::IpAddr};

use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::within;

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Reply {
    /// The body, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header field, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a problem of RFC 9457 with this status and code.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["title"].is_string() || problem["detail"].is_string(), "{self:?}");
    }
}

/// Asks for a page.
pub async fn get(address: &str, path: &str) -> Reply {
    send(address, Request::get(path).body(String::new()).unwrap()).await
}

/// Publishes from a back end.
pub async fn post(address: &str, path: &str, key: Option<&str>, body: &Value) -> Reply {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    send(address, request.body(body.to_string()).unwrap()).await
}

/// Sends any request. `Host` is the address, unless the request names another.
pub async fn send(address: &str, request: Request<String>) -> Reply {
    within(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let (mut parts, body) = request.into_parts();
        parts.headers.entry(header::HOST).or_insert_with(|| address.parse().unwrap());
        let exchange = async {
            let response = sender.send_request(Request::from_parts(parts, Full::new(Bytes::from(body)))).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8_lossy(&bytes).into_owned();
            Reply { status: parts.status.as_u16(), headers: parts.headers, body }
        };
        tokio::pin!(exchange);
        tokio::select! {
            reply = &mut exchange => reply,
            _ended = connection => exchange.await,
        }
    })
    .await
}

/// A TCP connection from one of this machine's addresses, for example 127.0.0.2.
///
/// # Errors
///
/// The server cannot be reached.
pub async fn dial(from: IpAddr, to: &str) -> io::Result<TcpStream> {
    let to = to.parse().unwrap();
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}
