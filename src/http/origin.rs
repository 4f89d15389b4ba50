//! The web origins whose pages may open a WebSocket.
//!
//! A browser lets every page open a WebSocket, with the user's cookies and from the user's network. Only the header
//! `Origin` identifies the page. Clients other than browsers do not send it: a request without `Origin` is allowed.

use axum::http::{HeaderMap, header};

/// The origins whose pages may connect.
#[derive(Clone, Debug)]
pub(super) enum AllowedOrigins {
    /// Only the host of the request.
    SameHost,
    /// Every origin.
    Any,
    /// The host of the request, and these origins, in lower case.
    Listed(Vec<String>),
}

impl AllowedOrigins {
    /// From the configured list: [`SameHost`](Self::SameHost) if it is empty, [`Any`](Self::Any) if it contains `*`.
    pub(super) fn from_list(origins: &[String]) -> Self {
        if origins.iter().any(|origin| origin == "*") {
            Self::Any
        } else if origins.is_empty() {
            Self::SameHost
        } else {
            Self::Listed(origins.to_vec())
        }
    }

    /// Whether a request with these headers may open a WebSocket.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return false };
        match self {
            Self::Any => true,
            Self::SameHost => is_same_host(&origin, headers),
            Self::Listed(origins) => origins.contains(&origin) || is_same_host(&origin, headers),
        }
    }
}

fn is_same_host(origin: &str, headers: &HeaderMap) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let bare = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_owned();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| bare(&host.to_ascii_lowercase()) == bare(authority))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_pages_of_the_same_host_may_connect_by_default() {
        let policy = AllowedOrigins::from_list(&[]);
        for (host, origin) in [
            ("a.example", None),
            ("a.example", Some("https://a.example")),
            ("A.example:443", Some("https://a.example")),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080")),
        ] {
            assert!(policy.allows(&headers(host, origin)), "{origin:?}");
        }
        for origin in ["null", "https://b.example", "https://a.example:8443", "https://a.example.evil", "a.example"] {
            assert!(!policy.allows(&headers("a.example", Some(origin))), "{origin}");
        }
    }

    #[test]
    fn listed_origins_may_connect_too_and_a_star_allows_all() {
        let listed = AllowedOrigins::from_list(&["https://b.example".to_owned()]);
        assert!(listed.allows(&headers("a.example", Some("https://B.example"))));
        assert!(listed.allows(&headers("a.example", Some("https://a.example"))));
        assert!(!listed.allows(&headers("a.example", Some("null"))));
        assert!(AllowedOrigins::from_list(&["*".to_owned()]).allows(&headers("a", Some("null"))));
    }
}
