//! The address of a client, also behind proxies.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use hubbub_lifecycle::Throttle;
use ipnet::IpNet;
use tracing::warn;

use super::forwarded::{self, is_in};

/// The key by which the limit for one address counts: an IPv4 address, or the /64 of an IPv6 address, since one machine
/// or household has a whole /64.
pub(crate) fn quota_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The client's address: the peer's, or, if the peer is a trusted proxy, the last address in `X-Forwarded-For` or
/// `Forwarded` that is not a trusted proxy itself. What is not an address ends the chain. If both headers are there and
/// name different clients, a client may have written one of them: neither counts.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !forwarded::is_trusted(peer, headers, trusted) {
        return peer;
    }
    let chains = forwarded::chains(headers);
    let clients = chains.iter().filter(|chain| !chain.is_empty()).map(|chain| client_of(peer, chain, trusted));
    let agreed = |one: IpAddr, other: IpAddr| {
        if one == other {
            return one;
        }
        warn_of_contradiction(peer, one, other);
        peer
    };
    clients.reduce(agreed).unwrap_or(peer)
}

fn client_of(peer: IpAddr, chain: &[Option<IpAddr>], trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    // A trusted proxy writes addresses only. The client may have written the rest.
    for hop in chain.iter().rev().map_while(|hop| *hop) {
        client = hop.to_canonical();
        if !is_in(client, trusted) {
            break;
        }
    }
    client
}

fn warn_of_contradiction(proxy: IpAddr, by_x: IpAddr, by_rfc: IpAddr) {
    static CONTRADICTION: Throttle = Throttle::new();
    if let Some(held_back) = CONTRADICTION.pass() {
        warn!(
            net.peer = %proxy, x_forwarded_for = %by_x, forwarded = %by_rfc, held_back,
            "X-Forwarded-For and Forwarded name different clients, so neither counts: let the proxy set one and remove the other"
        );
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn told(peer: &str, told: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in told {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    fn address(peer: &str, forwarded: &[&str]) -> String {
        let headers: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        told(peer, &headers)
    }

    #[test]
    fn a_whole_64_of_ipv6_counts_as_one_address() {
        let key = |address: &str| quota_key(address.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("1.2.3.4"), key("1.2.3.5"));
    }

    #[test]
    fn a_client_that_is_no_trusted_proxy_cannot_choose_its_address() {
        assert_eq!(address("1.2.3.4", &["5.6.7.8"]), "1.2.3.4");
    }

    #[test]
    fn the_last_hop_that_is_no_trusted_proxy_counts() {
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["5.6.7.8"]), "5.6.7.8");
        assert_eq!(address("::ffff:10.0.0.1", &["9.9.9.9, 5.6.7.8, 10.0.0.2"]), "5.6.7.8");
        assert_eq!(address("10.0.0.1", &["9.9.9.9", "5.6.7.8"]), "5.6.7.8");
        assert_eq!(address("10.0.0.1", &["5.6.7.8, junk, 10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn a_quote_that_a_client_leaves_open_hides_no_hop() {
        assert_eq!(address("10.0.0.1", &["\", 5.6.7.8"]), "5.6.7.8");
        let joined = "for=6.6.6.6;x=\", for=5.6.7.8";
        assert_eq!(told("10.0.0.1", &[("forwarded", joined)]), "10.0.0.1");
        let lines = [("forwarded", "for=6.6.6.6;x=\""), ("forwarded", "for=5.6.7.8")];
        assert_eq!(told("10.0.0.1", &lines), "5.6.7.8");
    }

    #[test]
    fn ports_and_brackets_are_no_part_of_an_address() {
        for (hop, client) in [
            ("203.0.113.1:50001", "203.0.113.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:203.0.113.1", "203.0.113.1"),
        ] {
            assert_eq!(address("10.0.0.1", &[hop]), client);
        }
        for junk in ["unknown", "203.0.113.1:x", "[2001:db8::1", "_hidden", "203.0.113", ""] {
            assert_eq!(
                address("10.0.0.1", &[&format!("5.6.7.8, {junk}")]),
                if junk.is_empty() { "5.6.7.8" } else { "10.0.0.1" }
            );
        }
    }

    #[test]
    fn the_standard_header_tells_the_same() {
        let standard = |value| told("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(standard("for=5.6.7.8"), "5.6.7.8");
        assert_eq!(standard(r#"For="[2001:db8::1]:4711";proto=https;by=10.0.0.1, for=10.0.0.2"#), "2001:db8::1");
        assert_eq!(standard(r#"for="a,b", for="5.6.7.8:80";host="x;y""#), "5.6.7.8");
        assert_eq!(standard("for=5.6.7.8, for=_hidden"), "10.0.0.1");
        assert_eq!(standard("for=5.6.7.8, proto=https"), "10.0.0.1");
        assert_eq!(told("1.2.3.4", &[("forwarded", "for=5.6.7.8")]), "1.2.3.4");
        assert_eq!(told("10.0.0.1", &[("forwarded", "for=5.6.7.8"), ("x-forwarded-for", "5.6.7.8")]), "5.6.7.8");
        assert_eq!(told("10.0.0.1", &[("forwarded", "for=9.9.9.9"), ("x-forwarded-for", "5.6.7.8")]), "10.0.0.1");
    }
}
