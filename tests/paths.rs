//! What is served where: a path that is none is 404, whatever it looks like.

use hubbub_testbed::{Server, http};
use hyper::Request;

#[tokio::test]
async fn what_is_no_page_is_not_found() {
    let server = Server::start(&[]).await;
    for path in [
        "/health/ready/",
        "//health/ready",
        "/healthz",
        "/health",
        "/ws/",
        "//ws",
        "//v1/stats",
        "/v1/stats/",
        "/v1",
        "/rooms/lobby",
        "/index",
        "//",
        "//index.html",
        "/index.html/",
        "/favicon",
        "/%2e%2e/etc/passwd",
    ] {
        let reply = http::get(server.address(), path).await;
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
    }
    for path in ["/", "/?utm_source=x", "/index.html", "/health/ready", "/health/live", "/v1/stats"] {
        assert_eq!(http::get(server.address(), path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn no_cache_keeps_that_a_file_is_missing() {
    let server = Server::start(&[]).await;
    let reply = http::get(server.address(), "/assets/index-0ldHash.js").await;
    assert_eq!((reply.status, reply.header("cache-control")), (404, "no-store"));
}

#[tokio::test]
async fn the_admin_listener_on_loopback_refuses_other_hosts_too() {
    let ask = async |server: &Server, host: &str| {
        let request = Request::get("/metrics").header("host", host).body(String::new()).unwrap();
        http::send(server.admin(), request).await.status
    };
    let local = Server::start(&["--public-host", "metrics.example"]).await;
    assert_eq!(ask(&local, "evil.example").await, 421);
    for host in ["localhost:9091", "127.0.0.1", "metrics.example"] {
        assert_eq!(ask(&local, host).await, 200, "{host}");
    }
    let open = Server::start(&["--admin-listen", "0.0.0.0:0"]).await;
    assert_eq!(ask(&open, "hubbub.monitoring.svc:9091").await, 200);
}

#[tokio::test]
async fn requests_for_another_host_are_refused_and_told() {
    let server = Server::start(&["--allowed-origins", "https://chat.example"]).await;
    let ask = async |host: &str, path: &str| {
        let request = Request::get(path).header("host", host).body(String::new()).unwrap();
        http::send(server.address(), request).await
    };
    for path in ["/", "/ws", "/v1/stats", "/health/ready"] {
        let reply = ask("evil.example:8080", path).await;
        assert_eq!((reply.status, reply.header("content-type")), (421, "application/problem+json"), "{path}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("evil.example") && detail.contains("--public-host"), "{detail}");
    }
    let told = server.logged("refusing a request for another host").await;
    assert_eq!(told["host"], "evil.example:8080", "{told}");
    assert!(told["message"].as_str().unwrap().contains("--public-host"), "{told}");
    assert!(server.metric("hubbub_http_refusals_total", r#"reason="host""#).await >= 4.0);
    for host in ["localhost:1", "[::1]", "10.0.0.1", "chat.example"] {
        assert_eq!(ask(host, "/health/ready").await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn the_hosts_of_a_server_can_be_named() {
    let server = Server::start(&["--public-host", "chat.example, *.apps.example"]).await;
    for (host, status) in [("chat.example", 200), ("a.apps.example:443", 200), ("apps.example", 421)] {
        let request = Request::get("/health/ready").header("host", host).body(String::new()).unwrap();
        assert_eq!(http::send(server.address(), request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn an_empty_variable_is_as_one_that_is_not_set() {
    let empty = [
        ("HUBBUB_LISTEN", ""),
        ("HUBBUB_TRUSTED_PROXIES", ""),
        ("HUBBUB_ALLOWED_ORIGINS", " "),
        ("HUBBUB_PUBLIC_HOST", ""),
        ("HUBBUB_API_KEY", ""),
        ("HUBBUB_API_KEY_FILE", ""),
        ("HUBBUB_REDIS_URL", ""),
        ("HUBBUB_REDIS_CA", ""),
        ("HUBBUB_MAX_CONNECTIONS", ""),
        ("HUBBUB_LOG_BYTES", ""),
        ("HUBBUB_DRAIN_DELAY", ""),
        ("HUBBUB_LOG", ""),
        ("HUBBUB_INSTANCE", ""),
    ];
    let server = Server::spawn_in(&empty, &["--admin-listen", "127.0.0.1:0"]).await;
    server.ready().await;
    let lists =
        [("HUBBUB_TRUSTED_PROXIES", " 10.0.0.1, 10.1.0.0/16,"), ("HUBBUB_ALLOWED_ORIGINS", "https://a.example, ")];
    let server = Server::spawn_in(&lists, &["--admin-listen", "127.0.0.1:0"]).await;
    server.ready().await;
}
