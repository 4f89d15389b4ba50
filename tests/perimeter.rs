//! One address harms nobody: whatever it opens, sends or does not read, others are served.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::net::Ipv4Addr;

use hubbub_client::{Connection, Upgrade};
use hubbub_testbed::{
    PATIENCE, Server, TestClient, eventually,
    frames::{assert_pongs, enter},
    http, room, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Duration, Instant},
};

/// More than the requests that an instance serves at a time.
const CROWD: usize = 1200;
const ATTACKER: [u8; 4] = [127, 0, 0, 2];
const GET: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection from this address of the loopback network.
async fn connect_from(from: [u8; 4], server: &Server, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    within(socket.connect(server.address().parse().unwrap())).await.unwrap()
}

/// Reads the head of an answer; what was there until the end of the connection, if it ends before.
async fn head(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    within(async {
        while !received.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => received.push(byte),
                Err(_) => break,
            }
        }
    })
    .await;
    String::from_utf8(received).unwrap()
}

/// So many connections of the attacker, each after this step.
async fn crowd(server: &Server, sent: &[u8], answered: bool) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = connect_from(ATTACKER, server, None).await;
        stream.write_all(sent).await.unwrap();
        if answered {
            let asked = Instant::now();
            assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?} for number {}", asked.elapsed(), crowd.len());
        }
        crowd.push(stream);
    }
    crowd
}

/// Others come in, talk and are healthy, at once.
async fn assert_others_are_served(server: &Server) {
    let started = Instant::now();
    assert_eq!(http::get(server.address(), "/health/ready").await.status, 200);
    let room = room();
    let (mut ann, _) = enter(server.address(), "Ann", &[&room]).await;
    assert_pongs(&mut ann).await;
    assert!(http::get(server.admin(), "/metrics").await.body.contains("hubbub_ready 1"));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn idle_connections_of_one_address_keep_nobody_out() {
    let server = Server::start(&[]).await;
    let _crowd = crowd(&server, GET, true).await;
    assert_others_are_served(&server).await;
}

#[tokio::test]
async fn silent_connections_of_one_address_keep_nobody_out() {
    let server = Server::start(&[]).await;
    let _crowd = crowd(&server, b"", false).await;
    assert_others_are_served(&server).await;
}

#[tokio::test]
async fn slow_headers_of_one_address_keep_nobody_out() {
    let server = Server::start(&[]).await;
    let _crowd = crowd(&server, b"GET / HTTP/1.1\r\nHost: loc", false).await;
    assert_others_are_served(&server).await;
}

#[tokio::test]
async fn slow_headers_of_a_few_addresses_hold_others_up_for_seconds_only() {
    let server = Server::start(&[]).await;
    let mut crowd = Vec::new();
    // Together they take every turn.
    for address in 2..7 {
        for _ in 0..260 {
            let mut stream = connect_from([127, 0, 0, address], &server, None).await;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
            crowd.push(stream);
        }
    }
    let started = Instant::now();
    assert_eq!(http::get(server.address(), "/health/ready").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_connections_of_one_address_are_bounded_and_a_refusal_is_told() {
    // 256 for HTTP, beside the WebSockets.
    let server = Server::start(&["--max-per-address", "4"]).await;
    let mut open = Vec::new();
    for _ in 0..260 {
        let mut stream = connect_from(ATTACKER, &server, None).await;
        stream.write_all(b"GET / HT").await.unwrap();
        open.push(stream);
    }
    let mut refused = connect_from(ATTACKER, &server, None).await;
    let answer = head(&mut refused).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 5\r\n"), "{answer}");
    let told = server.logged("refusing connections: this address has too many").await;
    assert_eq!((told["net.peer"].as_str(), told["limit"].as_u64()), (Some("127.0.0.2"), Some(260)));
    assert!(told["message"].as_str().unwrap().contains("--trusted-proxies"), "{told}");
    assert!(server.metric("hubbub_http_refusals_total", r#"reason="address""#).await >= 1.0);
    assert_others_are_served(&server).await;

    open.clear();
    let served = || async {
        let mut stream = connect_from(ATTACKER, &server, None).await;
        stream.write_all(GET).await.ok()?;
        head(&mut stream).await.starts_with("HTTP/1.1 200").then_some(())
    };
    eventually(PATIENCE, served).await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_clients_are_counted_and_not_the_proxy() {
    let server = Server::start(&["--max-per-address", "1", "--trusted-proxies", "127.0.0.1"]).await;
    let mut open = Vec::new();
    for client in 0..300 {
        let upgrade = Upgrade {
            headers: vec![("X-Forwarded-For".into(), format!("203.0.113.{}:4711", client % 250))],
            ..Upgrade::default()
        };
        open.push(within(Connection::open(server.address(), &upgrade)).await.unwrap());
    }
}

#[tokio::test]
async fn an_idle_connection_costs_little() {
    let server = Server::start(&[]).await;
    // What the first requests allocate once.
    drop(crowd(&server, GET, true).await);
    let before = server.resident_bytes();
    let crowd = crowd(&server, GET, true).await;
    let each = server.resident_bytes().saturating_sub(before) / u64::try_from(crowd.len()).unwrap();
    assert!(each < 6 * 1024, "{each} bytes for each");
}

#[tokio::test]
async fn an_idle_connection_is_kept_as_long_as_asked_for() {
    let server = Server::start(&["--keep-alive", "100ms"]).await;
    let mut stream = connect_from(ATTACKER, &server, None).await;
    stream.write_all(GET).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn headers_above_the_bound_are_answered_and_logged() {
    let server = Server::start(&["--max-header-bytes", "40KiB"]).await;
    let ask = async |bytes: usize| {
        let mut stream = connect_from(ATTACKER, &server, None).await;
        let request = format!("GET /health/live HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", "x".repeat(bytes));
        stream.write_all(request.as_bytes()).await.unwrap();
        head(&mut stream).await
    };
    assert!(ask(39 * 1024).await.starts_with("HTTP/1.1 200 "));
    let refused = ask(64 * 1024).await;
    assert!(refused.starts_with("HTTP/1.1 431 ") && refused.contains("application/problem+json"), "{refused}");
    server.logged("refusing a request with large headers: see --max-header-bytes").await;
    assert!(server.metric("hubbub_http_refusals_total", r#"reason="headers""#).await >= 1.0);
}

/// A server with 1.6 MB in one room.
async fn with_long_history() -> (Server, String) {
    let server = Server::start(&["--publish-rate", "100000", "--publish-burst", "100000"]).await;
    let room = room();
    let ann = TestClient::spawn("Ann", vec![server.address().into()], &[&room]);
    ann.live().await;
    for _ in 0..200 {
        ann.publish(&room, &"x".repeat(8000)).await;
    }
    ann.settled().await;
    (server, format!("/v1/rooms/{room}/messages?limit=200"))
}

#[tokio::test]
async fn a_page_of_history_ends_after_a_megabyte_and_names_the_next() {
    let (server, path) = with_long_history().await;
    let (mut next, mut seqs, mut pages) = (None, Vec::new(), 0);
    loop {
        let before = next.map_or_else(String::new, |next: u64| format!("&before={next}"));
        let page = http::get(server.address(), &format!("{path}{before}")).await;
        assert!(page.body.len() <= 1024 * 1024 + 4096, "{}", page.body.len());
        let page = page.json();
        let mut older: Vec<u64> =
            page["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
        older.append(&mut seqs);
        seqs = older;
        pages += 1;
        next = page["next"].as_u64();
        if next.is_none() {
            break;
        }
    }
    assert_eq!((seqs.len(), pages), (200, 2));
    assert!(seqs.is_sorted(), "{seqs:?}");
}

#[tokio::test]
async fn who_does_not_read_history_leaves_it_to_others() {
    let (server, path) = with_long_history().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (mut readers, mut refused) = (Vec::new(), 0);
    for _ in 0..40 {
        let mut stream = connect_from(ATTACKER, &server, Some(4096)).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        if head.starts_with("HTTP/1.1 503 ") {
            assert!(head.contains("retry-after: 1\r\n"), "{head}");
            refused += 1;
        }
        readers.push(stream);
    }
    assert_eq!(refused, 24, "one address has 16 pages at a time");
    assert_eq!(http::get(server.address(), &path).await.status, 200);
    assert_others_are_served(&server).await;
    server.logged("refusing a page of history").await;
}

#[tokio::test]
async fn pages_that_a_few_addresses_do_not_read_make_way_for_others() {
    let (server, path) = with_long_history().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut unread = Vec::new();
    // Together four addresses take every page.
    for host in 2..6 {
        for _ in 0..16 {
            let mut stream = connect_from([127, 0, 0, host], &server, Some(4096)).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
            unread.push(stream);
        }
    }
    let asked = Instant::now();
    assert_eq!(http::get(server.address(), &path).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    assert_others_are_served(&server).await;
}

#[tokio::test]
async fn who_opens_connections_too_fast_waits_and_others_do_not() {
    // 260 at once, then 65 a second
    let server = Server::start(&["--max-per-address", "4"]).await;
    let come_and_go = async || {
        let mut stream = connect_from(ATTACKER, &server, None).await;
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    };
    let started = Instant::now();
    for _ in 0..360 {
        come_and_go().await;
    }
    let most = 260.0 + 65.0 * started.elapsed().as_secs_f64() + 1.0;
    assert!(360.0 <= most, "360 of {most}");
    let waited = server.logged("an address opens connections too fast").await;
    assert_eq!(waited["net.peer"].as_str().unwrap().split(':').next(), Some("127.0.0.2"));
    assert!(server.metric("hubbub_pauses_total", r#"what="connections""#).await >= 1.0);
    let others = Instant::now();
    assert_others_are_served(&server).await;
    assert!(others.elapsed() < Duration::from_secs(2), "{:?}", others.elapsed());
}
