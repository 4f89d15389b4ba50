//! Who makes a request, as far as the connection and the headers tell.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use ipnet::IpNet;

use super::{
    address::{client_address, quota_key},
    forwarded,
    origin::AllowedOrigins,
    problem::Problem,
};

/// What the public routes know about proxies and origins.
#[derive(Clone, Debug)]
pub(super) struct Frontier {
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) origins: AllowedOrigins,
}

/// The client of a request to the HTTP API.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its address as limits count it: an IPv4 address, or the /64 of an IPv6 address.
    pub address: IpAddr,
    /// Whether it runs on this machine, with no proxy in between.
    pub is_local: bool,
    /// Whether a trusted proxy says that it was asked over TLS.
    pub is_secure: bool,
    headers: HeaderMap,
    peer: IpAddr,
    frontier: Frontier,
}

impl Visitor {
    /// Ok, unless a page of another origin makes the request. Programs other than browsers send no `Origin`.
    ///
    /// # Errors
    ///
    /// 403.
    pub fn refuse_foreign_pages(&self) -> Result<(), Problem> {
        self.frontier.origins.check(&self.headers, self.peer, &self.frontier.trusted_proxies)
    }

    /// A cookie of the request. It counts only if the request names an origin, and that is one of this server.
    ///
    /// # Errors
    ///
    /// 403: the cookie is there, and the origin is missing or another one.
    pub fn cookie(&self, name: &str) -> Result<Option<String>, Problem> {
        let Some(value) = self.cookie_of_any_origin(name) else { return Ok(None) };
        if self.headers.get(header::ORIGIN).is_none_or(axum::http::HeaderValue::is_empty) {
            let detail = "a cookie counts only in a request that names its Origin";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        self.refuse_foreign_pages()?;
        Ok(Some(value))
    }

    /// A cookie of the request that gives no right to anything.
    pub fn cookie_of_any_origin(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    }

    /// The token after `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        let credentials = self.headers.get(header::AUTHORIZATION)?.as_bytes();
        std::str::from_utf8(super::access::bearer_token(credentials)?).ok()
    }

    /// What it calls itself.
    pub fn user_agent(&self) -> &str {
        self.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the connection of the request is unknown");
        let frontier = parts.extensions.get::<Frontier>().cloned().ok_or_else(missing)?;
        let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>().copied().ok_or_else(missing)?;
        let (peer, headers) = (peer.ip().to_canonical(), parts.headers.clone());
        let trusted = &frontier.trusted_proxies;
        Ok(Self {
            address: quota_key(client_address(peer, &headers, trusted)),
            is_local: peer.is_loopback() && !forwarded::is_forwarded(&headers),
            is_secure: forwarded::is_in(peer, trusted) && forwarded::is_over_tls(&headers),
            headers,
            peer,
            frontier,
        })
    }
}
