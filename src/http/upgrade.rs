//! From an HTTP request to a [`Socket`].
//!
//! axum's own WebSocket does not give access to the TCP stream, which the fan-out writes to. So this module takes the
//! stream out of hyper's upgrade. Bytes that the HTTP server has read past the request go to the WebSocket first.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use hubbub_edge::socket::Socket;
use hubbub_protocol::SUBPROTOCOL;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

use super::{listener::Wire, problem::Problem};

/// A valid opening handshake (RFC 6455, section 4.2.1). As an extractor it answers 426 to any other request.
#[derive(Debug)]
pub struct Upgrade {
    pending: OnUpgrade,
    accept: HeaderValue,
    offers_subprotocol: bool,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |detail: &str| Problem::new(StatusCode::UPGRADE_REQUIRED, detail);
        let headers = &parts.headers;
        if parts.method != Method::GET
            || !has_token(headers, &header::CONNECTION, "upgrade")
            || !has_token(headers, &header::UPGRADE, "websocket")
        {
            return Err(refuse("this is a WebSocket endpoint: use a WebSocket client"));
        }
        if !has_token(headers, &header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(refuse("only version 13 of the WebSocket protocol is supported"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let accept = key
            .and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok())
            .ok_or_else(|| refuse("the request has no valid Sec-WebSocket-Key"))?;
        let offers_subprotocol = has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        let pending =
            parts.extensions.remove::<OnUpgrade>().ok_or_else(|| refuse("this HTTP connection cannot be upgraded"))?;
        Ok(Self { pending, accept, offers_subprotocol })
    }
}

impl Upgrade {
    /// The 101 response that completes the handshake.
    pub fn response(&self) -> Response {
        let upgrade = (header::UPGRADE, HeaderValue::from_static("websocket"));
        let connection = (header::CONNECTION, HeaderValue::from_static("upgrade"));
        let accept = (header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        let mut response = (StatusCode::SWITCHING_PROTOCOLS, [upgrade, connection, accept]).into_response();
        if self.offers_subprotocol {
            let chosen = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        response
    }

    /// Waits until the 101 is sent, then returns the socket. `None` if the connection ended before that.
    ///
    /// `max_message` is the upper bound for the messages to accept, in bytes.
    pub async fn socket(self, max_message: usize) -> Option<Socket> {
        let upgraded = self.pending.await.inspect_err(|error| debug!(%error, "an upgrade failed")).ok()?;
        let parts = upgraded.downcast::<Wire>().ok()?;
        Some(Socket::new(parts.io.into_inner(), &parts.read_buf, max_message))
    }
}

/// Whether a comma-separated header has this token. Ignores case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
