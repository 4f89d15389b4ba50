//! The URL of a Redis, read as people write it.
//!
//! Everything in it may be percent-encoded, and what cannot be misunderstood need not be: a password may contain any
//! character as it is, as long as what follows its `@` is a host. Nothing but `%` has a second meaning, so a `+` is a plus.

use std::iter;

use fred::types::config::{ClusterDiscoveryPolicy, Config, Server, ServerConfig};
use percent_encoding::percent_decode_str;

use super::config::RedisError;

/// Port of a Redis.
const PORT: u16 = 6379;
/// Port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is, and as whom to log in.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) config: Config,
    /// The scheme says that the server uses TLS.
    pub(super) tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Single,
    Cluster,
    Sentinel,
}

/// What follows the login.
struct Place<'a> {
    server: Server,
    database: Option<u8>,
    query: Vec<(&'a str, &'a str)>,
}

impl Address {
    /// Reads a URL. The errors do not show it.
    pub(super) fn parse(url: &str) -> Result<Self, RedisError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisError::Scheme)?;
        let (tls, kind) = read_scheme(&scheme.to_ascii_lowercase()).ok_or(RedisError::Scheme)?;
        let (login, place) = split(rest, kind).ok_or(RedisError::Url(
            "what follows the user and the password is not HOST:PORT/DATABASE, or a Sentinel's name or a node is missing \
             (percent-encode / ? # @ in the user and the password)",
        ))?;
        let (username, password) = match login.split_once(':') {
            Some((user, password)) => (decode(user)?, decode(password)?),
            None => (decode(login)?, String::new()),
        };
        let mut config = Config { database: place.database, ..Config::default() };
        // a user without a password, as in `user:@host`, logs in with an empty one
        config.password = (!password.is_empty() || login.contains(':') && !username.is_empty()).then_some(password);
        config.username = Some(username).filter(|username| !username.is_empty());
        config.server = place.server(kind)?;
        Ok(Self { config, tls })
    }
}

impl Place<'_> {
    fn server(self, kind: Kind) -> Result<ServerConfig, RedisError> {
        let value =
            |key: &str| self.query.iter().find(|(name, _)| *name == key).map(|(_, value)| decode(value)).transpose();
        let mut hosts = vec![self.server];
        for (_, node) in self.query.iter().filter(|(name, _)| *name == "node") {
            let node = decode(node)?;
            hosts.push(host_and_port(&node, None).ok_or(RedisError::Url("a node is not HOST:PORT"))?);
        }
        Ok(match kind {
            Kind::Single => ServerConfig::Centralized { server: hosts.remove(0) },
            Kind::Cluster => ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::default() },
            Kind::Sentinel => ServerConfig::Sentinel {
                hosts,
                service_name: value("sentinelServiceName")?.unwrap_or_default(),
                username: value("sentinelUsername")?,
                password: value("sentinelPassword")?,
            },
        })
    }
}

/// Whether the server uses TLS, and what it is.
fn read_scheme(scheme: &str) -> Option<(bool, Kind)> {
    let (name, kind) = match scheme.split_once('-') {
        None => (scheme, Kind::Single),
        Some((name, "cluster")) => (name, Kind::Cluster),
        Some((name, "sentinel")) => (name, Kind::Sentinel),
        Some(_) => return None,
    };
    match name {
        "redis" | "valkey" => Some((false, kind)),
        "rediss" | "valkeys" => Some((true, kind)),
        _ => None,
    }
}

/// Splits what follows the scheme into login and place. A login that contains `/`, `?`, `#` or `@` unencoded makes the
/// split ambiguous. The one that the standard has is preferred, if what follows is a place; then the last `@`.
fn split(rest: &str, kind: Kind) -> Option<(&str, Place<'_>)> {
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let standard = rest.get(..authority)?.rfind('@');
    let others = rest.rmatch_indices('@').map(|(at, _)| Some(at));
    iter::once(standard).chain(others).find_map(|at| match at {
        None => Some(("", place(rest, kind)?)),
        Some(at) => Some((rest.get(..at)?, place(rest.get(at + 1..)?, kind)?)),
    })
}

/// `HOST:PORT/DATABASE?QUERY`, of which only the host must be there, and for a Sentinel its name.
fn place(text: &str, kind: Kind) -> Option<Place<'_>> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (host, database) = text.split_once('/').unwrap_or((text, ""));
    let default_port = if kind == Kind::Sentinel { SENTINEL_PORT } else { PORT };
    let server = host_and_port(host, Some(default_port))?;
    let database = if database.is_empty() { None } else { Some(database.parse().ok()?) };
    let query: Vec<_> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=')).collect::<Option<_>>()?;
    let is_named = kind != Kind::Sentinel || query.iter().any(|(name, _)| *name == "sentinelServiceName");
    is_named.then_some(Place { server, database, query })
}

fn host_and_port(text: &str, default_port: Option<u16>) -> Option<Server> {
    let end_of_host = text.rfind(']').unwrap_or(0);
    let (host, port) = match text.get(end_of_host..)?.find(':') {
        Some(colon) => (text.get(..end_of_host + colon)?, text.get(end_of_host + colon + 1..)?.parse().ok()?),
        None => (text, default_port?),
    };
    let mut server = Server::new(host.to_owned(), port);
    if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        literal.parse::<std::net::Ipv6Addr>().ok()?;
        // a certificate names it without the brackets
        server.tls_server_name = Some(literal.to_owned().into());
    } else if host.is_empty() || !host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return None;
    }
    Some(server)
}

fn decode(text: &str) -> Result<String, RedisError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| RedisError::Url("a percent-encoded part is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).config
    }

    fn login(url: &str) -> (Option<String>, Option<String>) {
        let Config { username, password, .. } = config(url);
        (username, password)
    }

    fn one(url: &str) -> (String, u16) {
        match config(url).server {
            ServerConfig::Centralized { server } => (server.host.to_string(), server.port),
            other => panic!("{other:?}"),
        }
    }

    const PASSWORDS: [&str; 16] = [
        "plain",
        "a b",
        " lead",
        "a\"b",
        "a'b",
        "a\tb",
        "a+b",
        "100%",
        "a%zz",
        "p@ss",
        "a/b",
        "a#b",
        "a?b=c",
        "a:b",
        "pä☃\\ß",
        "#/?@:%&=+",
    ];

    #[test]
    fn a_password_is_read_encoded_and_as_it_is() {
        for password in PASSWORDS {
            let encoded = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
            for url in [format!("redis://u:{encoded}@h:1/2"), format!("redis://u:{password}@h:1/2")] {
                assert_eq!(login(&url), (Some("u".to_owned()), Some(password.to_owned())), "{url}");
                assert_eq!(one(&url), ("h".to_owned(), 1), "{url}");
            }
            let url = format!("redis-sentinel://u:x@h?sentinelServiceName=m&sentinelPassword={encoded}");
            match config(&url).server {
                ServerConfig::Sentinel { password: read, .. } => assert_eq!(read.as_deref(), Some(password)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_password_that_looks_like_a_host_does_not_hide_it() {
        for password in ["12/34", "12?34", "1#", "x/0@y", "6379/1?a"] {
            let url = format!("redis://u:{password}@h.example:1");
            assert_eq!(login(&url).1.as_deref(), Some(password), "{url}");
            assert_eq!(one(&url), ("h.example".to_owned(), 1), "{url}");
        }
    }

    #[test]
    fn a_login_may_lack_either_part() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(login("redis://h"), (None, None));
        assert_eq!(login("redis://:p@h"), (None, some("p")));
        assert_eq!(login("redis://u@h"), (some("u"), None));
        assert_eq!(login("redis://u:@h"), (some("u"), some("")));
        assert_eq!(login("redis://:@h"), (None, None));
        assert_eq!(login("redis://a%3Ab:p@h"), (some("a:b"), some("p")));
    }

    #[test]
    fn every_kind_of_server_is_read() {
        assert_eq!(one("redis://h"), ("h".to_owned(), 6379));
        assert_eq!(one("valkeys://[::1]:7"), ("[::1]".to_owned(), 7));
        assert!(Address::parse("REDISS://h").unwrap().tls && !Address::parse("redis-cluster://h").unwrap().tls);
        assert_eq!(config("redis://h/").database, None);
        assert_eq!(config("redis://h/3?protocol=3").database, Some(3));
        match config("rediss-cluster://a:1?node=b:2&node=[::1]:3").server {
            ServerConfig::Clustered { hosts, .. } => assert_eq!(hosts.len(), 3),
            other => panic!("{other:?}"),
        }
        match config("redis-sentinel://u:a/b@h?sentinelServiceName=m&sentinelUsername=s&sentinelPassword=x@y").server {
            ServerConfig::Sentinel { hosts, service_name, username, password } => {
                assert_eq!((&*hosts[0].host, hosts[0].port, service_name.as_str()), ("h", 26379, "m"));
                assert_eq!((username.as_deref(), password.as_deref()), (Some("s"), Some("x@y")));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused_and_not_shown() {
        for url in ["http://secret@h", "secret", "redis-x://secret@h", "redis+unix:///secret"] {
            assert!(matches!(Address::parse(url), Err(RedisError::Scheme)), "{url}");
        }
        for url in [
            "redis://:secret@:x",
            "redis://:secret@",
            "redis://secret@h:99999",
            "redis://secret@h/x",
            "redis://:secret@h/300",
            "redis-sentinel://:secret@h",
            "redis-cluster://:secret@h?node=x",
            "redis://:secret%ff@h",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(matches!(error, RedisError::Url(_)) && !error.to_string().contains("secret"), "{url}: {error}");
        }
    }
}
