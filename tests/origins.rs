//! Which pages may connect, directly and through proxies, and what a refusal tells.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails should fail the test")]

use hubbub_client::{ConnectError, Connection, Upgrade};
use hubbub_testbed::{Server, http, within};
use hyper::Request;
use tokio::net::TcpStream;

/// The status of an upgrade that asks for this host with these headers.
async fn status(server: &Server, host: &str, headers: &[(&str, &str)]) -> u16 {
    let stream = within(TcpStream::connect(server.address())).await.unwrap();
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let upgrade = Upgrade { headers, ..Upgrade::default() };
    match within(Connection::over(stream, host, &upgrade)).await {
        Ok(_) => 101,
        Err(ConnectError::Refused { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn scheme_and_default_port_do_not_matter_and_an_empty_origin_is_none() {
    let server = Server::start(&["--public-host", "chat.example"]).await;
    for (host, origin, expected) in [
        ("chat.example:443", "wss://chat.example", 101),
        ("chat.example", "https://chat.example:443", 101),
        ("chat.example:80", "http://chat.example", 101),
        ("chat.example", "", 101),
        ("chat.example", "https://chat.example:8443", 403),
        ("chat.example", "https://evil.example", 403),
    ] {
        assert_eq!(status(&server, host, &[("Origin", origin)]).await, expected, "{origin} at {host}");
    }
    let told = server.logged("refusing a page of another origin").await;
    assert_eq!(
        (told["origin"].as_str(), told["host"].as_str()),
        (Some("https://chat.example:8443"), Some("chat.example"))
    );
    assert!(server.metric("hubbub_http_refusals_total", r#"reason="origin""#).await >= 2.0);
}

#[tokio::test]
async fn whoever_asks_with_another_method_is_told_why_there_is_no_socket() {
    let server = Server::start(&[]).await;
    let own = format!("http://{}", server.address());
    for (origin, expected) in [(own.as_str(), 426), ("", 426), ("https://evil.example", 403), ("null", 403)] {
        for method in ["POST", "PUT", "DELETE"] {
            let request = Request::builder().method(method).uri("/ws").header("Origin", origin);
            let reply = http::send(server.address(), request.body(String::new()).unwrap()).await;
            assert_eq!(reply.status, expected, "{method} from {origin:?}: {reply:?}");
            assert_eq!(reply.header("content-type"), "application/problem+json");
        }
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_was_asked_for_counts() {
    let server = Server::start(&["--public-host", "chat.example", "--trusted-proxies", "127.0.0.1"]).await;
    let origin = ("Origin", "https://chat.example:8443");
    let (host, proto) = (("X-Forwarded-Host", "chat.example:8443"), ("X-Forwarded-Proto", "https"));
    assert_eq!(status(&server, "chat.example", &[origin]).await, 403, "the port is lost");
    assert_eq!(status(&server, "chat.example", &[origin, host, proto]).await, 101);
    assert_eq!(status(&server, "127.0.0.1:3000", &[origin, host]).await, 101);
    assert_eq!(status(&server, "127.0.0.1:3000", &[origin, ("Forwarded", "host=\"chat.example:8443\"")]).await, 101);

    let server = Server::start(&["--public-host", "chat.example"]).await;
    assert_eq!(status(&server, "chat.example", &[origin, host, proto]).await, 403, "the proxy is not trusted");
    let told = server.logged("requests come through a proxy that is not trusted").await;
    assert!(told["message"].as_str().unwrap().contains("--trusted-proxies"), "{told}");
}

#[tokio::test]
async fn a_proxy_that_is_not_named_as_trusted_is_told() {
    let server = Server::start(&[]).await;
    assert_eq!(status(&server, server.address(), &[("X-Forwarded-For", "203.0.113.1")]).await, 101);
    let told = server.logged("requests come through a proxy that is not trusted").await;
    assert_eq!(told["net.peer"], "127.0.0.1", "{told}");
    assert!(told["message"].as_str().unwrap().contains("--trusted-proxies"), "{told}");
}

#[tokio::test]
async fn allowed_origins_are_understood_as_people_write_them() {
    let list = "https://b.example:443, https://*.c.example, https://chät.example, capacitor://localhost, app://";
    let server = Server::start(&["--allowed-origins", list]).await;
    for (origin, expected) in [
        ("https://b.example", 101),
        ("https://x.c.example", 101),
        ("https://xn--cht-rla.example", 101),
        ("capacitor://localhost", 101),
        ("app://bundle", 101),
        ("https://c.example", 403),
        ("https://x.y.c.example", 403),
        ("tauri://localhost", 403),
    ] {
        assert_eq!(status(&server, server.address(), &[("Origin", origin)]).await, expected, "{origin}");
    }
}
