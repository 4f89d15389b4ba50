//! The hosts under which this server is reached.
//!
//! A page of another site can let its own name point to this server (DNS rebinding). The browser then takes both for one
//! site, and `Origin` and `Host` are equal. Only the name shows it: it is none of this server's.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hubbub_lifecycle::{Throttle, metric};
use ipnet::IpNet;
use tracing::warn;

use super::{forwarded, problem::Problem};

/// A host of `--public-host`: a name, `*.` and a name for all names with one label more, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// This host, in lower case and ASCII.
    Exact(String),
    /// This name with one label before it.
    Wildcard(String),
}

impl HostPattern {
    /// The pattern by which hosts are compared: `example.com.` is `example.com`.
    pub(super) fn without_final_dot(self) -> Self {
        let bare = |host: String| host.trim_end_matches('.').to_owned();
        match self {
            Self::Any => Self::Any,
            Self::Exact(host) => Self::Exact(bare(host)),
            Self::Wildcard(parent) => Self::Wildcard(bare(parent)),
        }
    }

    /// Whether this host, without a port, is meant.
    pub(super) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name == host,
            Self::Wildcard(parent) => {
                let label = host.strip_suffix(parent.as_str()).and_then(|host| host.strip_suffix('.'));
                label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let name = text.strip_prefix("*.");
        let host = url::Host::parse(name.unwrap_or(text)).map(|host| host.to_string());
        let host = host.ok().filter(|host| !host.trim_end_matches('.').is_empty() && !host.contains('*'));
        let host = host.ok_or_else(|| {
            "expected a host such as chat.example.com or *.example.com, without scheme and port, or *".to_owned()
        })?;
        let pattern = if name.is_some() { Self::Wildcard(host) } else { Self::Exact(host) };
        Ok(pattern.without_final_dot())
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// The hosts that are served. Address literals and `localhost` always are, since nobody can let them point elsewhere.
#[derive(Clone, Debug)]
pub(super) struct PublicHosts {
    listed: Arc<[HostPattern]>,
    trusted_proxies: Arc<[IpNet]>,
}

impl PublicHosts {
    pub(super) fn new(listed: impl IntoIterator<Item = HostPattern>, trusted_proxies: Arc<[IpNet]>) -> Self {
        Self { listed: listed.into_iter().collect(), trusted_proxies }
    }

    /// Whether this is the value of a `Host` header that is served.
    fn serve(&self, value: &str) -> bool {
        let host = without_port(value).trim_end_matches('.').to_ascii_lowercase();
        let is_literal = || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_local = || host == "localhost" || host.ends_with(".localhost");
        is_literal() || is_local() || self.listed.iter().any(|pattern| pattern.matches(&host))
    }

    /// The first host of a request that is not served. What a trusted proxy was asked for counts instead of what the
    /// proxy asks for.
    fn check(&self, parts: &Parts, peer: IpAddr) -> Result<(), String> {
        let asked_for = if forwarded::is_in(peer.to_canonical(), &self.trusted_proxies) {
            forwarded::forwarded_hosts(&parts.headers)
        } else {
            Vec::new()
        };
        if !asked_for.is_empty() {
            return asked_for.into_iter().find(|host| !self.serve(host)).map_or(Ok(()), Err);
        }
        let in_uri = parts.uri.host().map(str::to_owned);
        let in_header =
            parts.headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        // Without a host it is no browser.
        [in_uri, in_header].into_iter().flatten().find(|host| !self.serve(host)).map_or(Ok(()), Err)
    }
}

/// Answers 421 to requests for other hosts.
pub(super) async fn refuse_other_hosts(
    State(hosts): State<PublicHosts>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    static OTHER_HOST: Throttle = Throttle::new();
    let (parts, body) = request.into_parts();
    let Err(host) = hosts.check(&parts, peer.ip()) else { return next.run(Request::from_parts(parts, body)).await };
    metrics::counter!(metric::HTTP_REFUSALS, "reason" => "host").increment(1);
    if let Some(held_back) = OTHER_HOST.pass() {
        warn!(host, net.peer = %peer, held_back, "refusing a request for another host: name it in --public-host if it is yours");
    }
    let detail =
        format!("this server is not known as {host:?}: name it in --public-host (HUBBUB_PUBLIC_HOST) if it is");
    Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
}

/// The host of an authority.
pub(super) fn without_port(authority: &str) -> &str {
    let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listed: &[&str]) -> PublicHosts {
        PublicHosts::new(listed.iter().map(|host| host.parse().unwrap()), Arc::default())
    }

    #[test]
    fn address_literals_and_localhost_are_served_and_other_hosts_if_they_are_listed() {
        let nothing_listed = hosts(&[]);
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "[2001:db8::1]", "10.1.2.3", "localhost", "LOCALHOST:80", "a.localhost"]
        {
            assert!(nothing_listed.serve(host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert!(!nothing_listed.serve(host), "{host}");
        }
        let listed = hosts(&["chat.example.com.", "chät.example", "*.fly.dev"]);
        for host in ["chat.example.com:8443", "Chat.Example.com.", "xn--cht-rla.example", "hubbub.fly.dev", "127.0.0.1"]
        {
            assert!(listed.serve(host), "{host}");
        }
        for host in ["example.com", "a.b.fly.dev", "fly.dev", "a.chat.example.com"] {
            assert!(!listed.serve(host), "{host}");
        }
        assert!(hosts(&["*"]).serve("any.example"));
    }

    #[test]
    fn what_a_trusted_proxy_was_asked_for_is_checked_instead_of_what_it_asks_for() {
        let proxy: IpAddr = [10, 0, 0, 1].into();
        let hosts = PublicHosts::new(["chat.example".parse().unwrap()], [proxy.into()].into());
        let check = |peer: IpAddr, host: &str, forwarded: &str| {
            let request = Request::get("/").header("host", host).header("x-forwarded-host", forwarded);
            hosts.check(&request.body(()).unwrap().into_parts().0, peer)
        };
        assert_eq!(check(proxy, "127.0.0.1:8080", "evil.example"), Err("evil.example".to_owned()));
        assert_eq!(check(proxy, "upstream", "chat.example"), Ok(()));
        let stranger = [10, 0, 0, 2].into();
        assert_eq!(check(stranger, "evil.example", "chat.example"), Err("evil.example".to_owned()));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "https://chat.example.com", "chat.example.com:443", "a b", "a.*.example", "*."] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
        assert_eq!("*.Example.com".parse::<HostPattern>().unwrap().to_string(), "*.example.com");
    }
}
