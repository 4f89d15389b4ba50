//! What proxies say about a request: `X-Forwarded-…`, and `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use hubbub_lifecycle::Throttle;
use ipnet::IpNet;
use tracing::warn;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PORT: &str = "x-forwarded-port";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Whether one of the networks has this address.
pub(crate) fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Whether a proxy has passed a request on.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    [FORWARDED_FOR, FORWARDED_HOST, header::FORWARDED.as_str(), "via", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Whether a proxy says that it was asked over TLS.
pub(super) fn is_over_tls(headers: &HeaderMap) -> bool {
    let by_x = elements(headers, FORWARDED_PROTO);
    let by_rfc = forwarded(headers).iter().filter_map(|element| parameter(element, "proto")).collect();
    [by_x, by_rfc].iter().filter_map(|protocols: &Vec<String>| protocols.first()).any(|first| first == "https")
}

/// Whether the peer of a request is a trusted proxy. Warns of a proxy that is not.
pub(super) fn is_trusted(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    static NOT_TRUSTED: Throttle = Throttle::new();
    if is_in(peer, trusted) {
        return true;
    }
    let names_a_client =
        [FORWARDED_FOR, FORWARDED_HOST, header::FORWARDED.as_str()].map(|name| headers.contains_key(name));
    if names_a_client.contains(&true)
        && let Some(held_back) = NOT_TRUSTED.pass()
    {
        warn!(
            net.peer = %peer, held_back,
            "requests come through a proxy that is not trusted, so its clients count as one address. If it is yours, name it in \
             --trusted-proxies"
        );
    }
    false
}

/// The hops of a request, from the client to the last proxy, as each header tells them. None: not an address.
pub(super) fn chains(headers: &HeaderMap) -> [Vec<Option<IpAddr>>; 2] {
    let by_x = elements(headers, FORWARDED_FOR).iter().map(|hop| address(hop)).collect();
    let by_rfc = forwarded(headers).iter().map(|element| address(&parameter(element, "for")?)).collect();
    [by_x, by_rfc]
}

/// The authorities that the client may have asked for: `Host`, and from a trusted proxy also what it names.
pub(super) fn authorities(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Vec<String> {
    let mut found = elements(headers, header::HOST.as_str());
    if !is_trusted(peer.to_canonical(), headers, trusted) {
        return found;
    }
    found.extend(forwarded_hosts(headers));
    let by_rfc = forwarded(headers);

    // The proxy may name the port in a header of its own, or add that of its own side.
    let mut ports = elements(headers, FORWARDED_PORT);
    ports.retain(|port| port.parse::<u16>().is_ok());
    let names_scheme = headers.contains_key(FORWARDED_PROTO) || by_rfc.iter().any(|e| parameter(e, "proto").is_some());
    let bare = |authority: &String| {
        let inner = authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).filter(|_| names_scheme);
        inner.map(str::to_owned)
    };
    let without: Vec<String> = found.iter().filter_map(bare).collect();
    let with_port = found.iter().flat_map(|authority| ports.iter().map(move |port| format!("{authority}:{port}")));
    let with_port: Vec<String> = with_port.collect();
    found.extend(without);
    found.extend(with_port);
    found
}

/// The hosts that a proxy says it was asked for.
pub(super) fn forwarded_hosts(headers: &HeaderMap) -> Vec<String> {
    let mut hosts = elements(headers, FORWARDED_HOST);
    hosts.extend(forwarded(headers).iter().filter_map(|element| parameter(element, "host")));
    hosts
}

/// The elements of a list header without quotes, in all its lines, without blanks around them and without empty ones.
fn elements(headers: &HeaderMap, name: &str) -> Vec<String> {
    lines(headers, name).flat_map(|line| trimmed(line.split(','))).collect()
}

/// The elements of `Forwarded`, in all its lines.
fn forwarded(headers: &HeaderMap) -> Vec<String> {
    lines(headers, header::FORWARDED.as_str()).flat_map(|line| split(&line, ',')).collect()
}

fn lines(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
}

/// Splits at a character outside of quotes. A client may have left a quote open, to hide what the proxy has added: the
/// part with it is replaced by a quote, which is neither an address nor a parameter.
fn split(text: &str, at: char) -> Vec<String> {
    let mut quoted = false;
    let parts = text.split(|c| {
        quoted ^= c == '"';
        c == at && !quoted
    });
    let mut parts = trimmed(parts);
    if let Some(last) = parts.last_mut().filter(|last| last.matches('"').count() % 2 == 1) {
        "\"".clone_into(last);
    }
    parts
}

fn trimmed<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<String> {
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A parameter of an element of `Forwarded`.
fn parameter(element: &str, name: &str) -> Option<String> {
    split(element, ';').iter().find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// An address, with or without brackets and port.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed)
}
