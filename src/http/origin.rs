//! The web origins whose pages may open a WebSocket.
//!
//! A browser lets every page open a WebSocket, with the user's cookies and from the user's network. Only the header
//! `Origin` identifies the page. Clients other than browsers do not send it: a request without `Origin` is allowed.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use hubbub_lifecycle::{Throttle, metric};
use ipnet::IpNet;
use tracing::warn;
use url::Url;

use super::{forwarded, host::HostPattern, problem::Problem};

/// An entry of `--allowed-origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin.
    Any,
    /// The origins with this scheme, such a host, and this port.
    Like {
        /// `https` also for `wss`, and `http` also for `ws`.
        scheme: String,
        /// The host.
        host: HostPattern,
        /// None: the default port of the scheme.
        port: Option<u16>,
    },
}

impl OriginPattern {
    fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::Like { scheme, host, port } => {
                *scheme == origin.scheme && *port == origin.port && host.matches(&origin.host)
            }
        }
    }

    /// The host that is meant, if a server can have it.
    pub(super) fn host(&self) -> Option<HostPattern> {
        match self {
            Self::Any => Some(HostPattern::Any),
            Self::Like { scheme, host, .. } => is_web(scheme).then(|| host.clone().without_final_dot()),
        }
    }
}

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected an origin such as https://chat.example.com, https://*.example.com or \
            capacitor://localhost, without user, path and query, or *";
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or(EXPECTED)?;
        if matches!(authority, "" | "*") && !is_web(scheme) && Url::parse(&format!("{scheme}://h")).is_ok() {
            return Ok(Self::Like { scheme: scheme.to_ascii_lowercase(), host: HostPattern::Any, port: None });
        }
        let parent = authority.strip_prefix("*.");
        let Origin { scheme, host, port } =
            Origin::parse(&format!("{scheme}://{}", parent.unwrap_or(authority))).ok_or(EXPECTED)?;
        if host.contains('*') {
            return Err(EXPECTED.to_owned());
        }
        let host = if parent.is_some() { HostPattern::Wildcard(host) } else { HostPattern::Exact(host) };
        Ok(Self::Like { scheme, host, port })
    }
}

/// An origin in its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// `https` also for `wss`, and `http` also for `ws`.
    scheme: String,
    host: String,
    /// None: the default port of the scheme.
    port: Option<u16>,
}

impl Origin {
    /// None if it is no origin with a host.
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !bare || url.fragment().is_some() || !matches!(url.path(), "" | "/") {
            return None;
        }
        let scheme = match url.scheme() {
            "wss" => "https",
            "ws" => "http",
            other => other,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Self { scheme: scheme.to_owned(), host, port: url.port() })
    }

    /// Whether a page of this origin comes from the server at this authority. The authority has no scheme: without a
    /// port, it is that of the origin.
    fn is_at(&self, authority: &str) -> bool {
        let at = Self::parse(&format!("{}://{authority}", self.scheme));
        at.is_some_and(|at| is_web(&self.scheme) && at.host == self.host && at.port == self.port)
    }
}

fn is_web(scheme: &str) -> bool {
    ["http", "https", "ws", "wss"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
}

/// The origins whose pages may connect: those of the same host, and those that are listed.
#[derive(Clone, Debug)]
pub(super) struct AllowedOrigins(Arc<[OriginPattern]>);

impl AllowedOrigins {
    pub(super) fn new(listed: &[OriginPattern]) -> Self {
        Self(listed.into())
    }

    /// Ok if a request with these headers may open a WebSocket.
    ///
    /// # Errors
    ///
    /// 403, which is also logged.
    pub(super) fn check(&self, headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> Result<(), Problem> {
        static REFUSED: Throttle = Throttle::new();
        let Some(value) = headers.get(header::ORIGIN).filter(|value| !value.is_empty()) else { return Ok(()) };
        let authorities = forwarded::authorities(peer, headers, trusted);
        if self.lists(value) || is_of(value, &authorities) {
            return Ok(());
        }
        let (origin, host) = (String::from_utf8_lossy(value.as_bytes()), authorities.join(", "));
        metrics::counter!(metric::HTTP_REFUSALS, "reason" => "origin").increment(1);
        if let Some(held_back) = REFUSED.pass() {
            warn!(
                %origin, host, net.peer = %peer, held_back,
                "refusing a page of another origin: see --allowed-origins, or let the proxy keep the Host header"
            );
        }
        let detail = format!("the origin {origin:?} is not that of the host {host:?}: see --allowed-origins");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// Whether this value of `Origin` is listed.
    pub(super) fn lists(&self, value: &HeaderValue) -> bool {
        let origin = value.to_str().ok().and_then(Origin::parse);
        self.0
            .iter()
            .any(|pattern| *pattern == OriginPattern::Any || origin.as_ref().is_some_and(|o| pattern.matches(o)))
    }
}

fn is_of(value: &HeaderValue, authorities: &[String]) -> bool {
    let origin = value.to_str().ok().and_then(Origin::parse);
    origin.is_some_and(|origin| authorities.iter().any(|authority| origin.is_at(authority)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request with these headers may connect, through a trusted proxy.
    fn allows(listed: &[&str], headers: &[(&'static str, &'static str)]) -> bool {
        let listed: Vec<OriginPattern> = listed.iter().map(|origin| origin.parse().unwrap()).collect();
        let headers = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        let proxy: IpAddr = [10, 0, 0, 1].into();
        AllowedOrigins::new(&listed).check(&headers.collect(), proxy, &[proxy.into()]).is_ok()
    }

    #[test]
    fn only_pages_of_the_same_host_may_connect_by_default() {
        for (host, origin) in [
            ("a.example", ""),
            ("a.example", "https://a.example"),
            ("A.example:443", "https://a.example"),
            ("a.example:443", "wss://a.example"),
            ("a.example", "ws://a.example:80"),
            ("a.example", "https://a.example:443"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[0:0::1]:8080"),
        ] {
            assert!(allows(&[], &[("host", host), ("origin", origin)]), "{origin} at {host}");
        }
        for origin in [
            "null",
            "https://b.example",
            "https://a.example:8443",
            "https://a.example.evil",
            "a.example",
            "app://a.example",
            "https://a.example@evil",
        ] {
            assert!(!allows(&[], &[("host", "a.example"), ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn listed_origins_are_compared_in_their_normal_form() {
        for (listed, origin) in [
            ("https://b.example:443", "https://B.example"),
            ("HTTPS://B.example/", "https://b.example"),
            ("https://chät.example", "https://xn--cht-rla.example"),
            ("https://*.b.example", "https://x.b.example"),
            ("https://*.b.example:8443", "https://x.b.example:8443"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("app://", "app://bundle"),
            ("chrome-extension://*", "chrome-extension://abcdefghijklmnop"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("*", "null"),
        ] {
            assert!(allows(&[listed], &[("host", "a.example"), ("origin", origin)]), "{listed} {origin}");
        }
        for (listed, origin) in [
            ("https://b.example", "null"),
            ("https://b.example", "http://b.example"),
            ("https://*.b.example", "https://b.example"),
            ("https://*.b.example", "https://x.y.b.example"),
            ("https://*.b.example", "https://x-b.example"),
            ("capacitor://localhost", "https://localhost"),
        ] {
            assert!(!allows(&[listed], &[("host", "a.example"), ("origin", origin)]), "{listed} {origin}");
        }
    }

    #[test]
    fn what_cannot_match_is_refused() {
        for text in [
            "",
            "example.com",
            "null",
            "https://",
            "https://*",
            "https://h/path",
            "https://h?x",
            "https://h#x",
            "https://user@h",
            "https://user:password@h",
            "https://a.*.example",
            "https://h:port",
            "https://a b",
        ] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_host_that_a_trusted_proxy_was_asked_for_counts() {
        let behind = |headers: &[(&'static str, &'static str)], origin| {
            let all = [&[("host", "upstream"), ("origin", origin)], headers].concat();
            allows(&[], &all)
        };
        assert!(behind(&[("x-forwarded-host", "a.example")], "https://a.example"));
        assert!(behind(&[("x-forwarded-host", "a.example"), ("x-forwarded-port", "8443")], "https://a.example:8443"));
        assert!(behind(&[("x-forwarded-host", "a.example:80"), ("x-forwarded-proto", "https")], "https://a.example"));
        assert!(behind(&[("forwarded", "for=1.2.3.4;host=\"a.example:8443\";proto=https")], "https://a.example:8443"));
        assert!(!behind(&[("x-forwarded-host", "a.example")], "https://b.example"));

        let headers = HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("upstream")),
            (header::ORIGIN, HeaderValue::from_static("https://a.example")),
            (header::HeaderName::from_static("x-forwarded-host"), HeaderValue::from_static("a.example")),
        ]);
        assert!(AllowedOrigins::new(&[]).check(&headers, [10, 0, 0, 1].into(), &[]).is_err(), "from anybody else");
    }
}
