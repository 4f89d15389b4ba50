//! How the embedded app is served.

use hubbub_testbed::{Server, http};
use hyper::{Request, header};

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let server = Server::start(&[]).await;
    for path in ["/", "/rooms/lobby", "/v1/stats", "/assets/none.js", "/ws"] {
        let reply = http::get(server.address(), path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert!(reply.header("permissions-policy").contains("geolocation=()"), "{path}");
        let policy = reply.header("content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
            assert!(policy.split("; ").any(|part| part == rule), "{path}: {rule}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_asked_for_each_time_and_sent_only_when_it_has_changed() {
    let server = Server::start(&[]).await;
    let page = http::get(server.address(), "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((page.header("cache-control"), page.header("vary")), ("no-cache", "accept-encoding"));
    let etag = page.header("etag");
    for (known, status) in [
        (etag.to_owned(), 304),
        (format!("\"old\", W/{etag}"), 304),
        ("*".to_owned(), 304),
        ("\"old\"".to_owned(), 200),
    ] {
        let again = Request::get("/").header(header::IF_NONE_MATCH, &known).body(String::new()).unwrap();
        let again = http::send(server.address(), again).await;
        assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{known}");
    }
}
