//! The listener by itself, with routes of the test.

use std::{
    io::{Read, Write},
    net::Ipv4Addr,
    net::TcpStream as BlockingStream,
};

use axum::{
    Extension,
    body::Bytes,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::{self, error::TryRecvError},
    task::yield_now,
    time::Instant,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// A listener that serves these routes, and its address.
fn start(bounds: Bounds, router: Router) -> (SocketAddr, Shutdown) {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::default());
    shutdown.spawn(serve(listener, bounds, router, shutdown.clone()));
    (address, shutdown)
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn send_request(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    client
}

async fn expect_200(client: &mut TcpStream) {
    let mut status = [0; 12];
    timeout(PATIENCE, client.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

/// Reads until the text is there.
async fn read_until(client: &mut TcpStream, text: &str) -> String {
    let mut received = Vec::new();
    let found = async {
        while !String::from_utf8_lossy(&received).contains(text) {
            assert_ne!(client.read_buf(&mut received).await.unwrap(), 0, "{}", String::from_utf8_lossy(&received));
        }
    };
    timeout(PATIENCE, found).await.unwrap();
    String::from_utf8(received).unwrap()
}

async fn read_all(client: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let _reset_or_end = timeout(PATIENCE, client.read_to_end(&mut received)).await.unwrap();
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn connections_that_send_nothing_do_not_fill_the_queue_of_the_kernel() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(8).unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::default());
    shutdown.spawn(serve(listener, Bounds::of(200), hello(), shutdown.clone()));
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap());
    }
    let mut last = send_request(address).await;
    expect_200(&mut last).await;
}

#[tokio::test]
async fn a_slot_is_free_again_when_neither_the_connection_nor_a_handler_keeps_it() {
    let (keep, mut kept) = mpsc::channel(4);
    let route = get(async move |Extension(slot): Extension<Slot>| keep.send(slot).await.unwrap());
    let (address, shutdown) = start(Bounds::of(1), Router::new().route("/", route));

    let mut first = send_request(address).await;
    expect_200(&mut first).await;
    let mut second = send_request(address).await;
    drop(first);
    let slot = kept.recv().await.unwrap();
    let held = async {
        while Arc::strong_count(&slot.0) > 1 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, held).await.unwrap();
    assert_eq!(kept.try_recv().unwrap_err(), TryRecvError::Empty, "the handler keeps the slot of a closed connection");
    drop(slot);
    expect_200(&mut second).await;
    shutdown.finish(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_turn_is_held_for_a_request_and_not_for_a_connection() {
    let mut bounds = Bounds::of(10_000);
    bounds.per_address = 400;
    let (address, _shutdown) = start(bounds, hello());
    let mut idle = Vec::new();
    // More than one peer has turns: each connection has to give its turn back.
    for _ in 0..TURNS_OF_PEER + 20 {
        let mut client = send_request(address).await;
        expect_200(&mut client).await;
        idle.push(client);
    }
}

#[tokio::test]
async fn the_connection_that_has_waited_longest_makes_way() {
    let mut bounds = Bounds::of(100);
    bounds.per_address = 2;
    let (address, _shutdown) = start(bounds, hello());
    let mut oldest = send_request(address).await;
    read_until(&mut oldest, "hello").await;
    let mut younger = send_request(address).await;
    read_until(&mut younger, "hello").await;

    // Within the first second nobody makes way.
    let refused = read_all(&mut send_request(address).await).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: 5\r\n"), "{refused}");
    assert!(refused.ends_with('}') && refused.contains("--max-per-address"), "{refused}");

    let served = async {
        loop {
            let mut newcomer = send_request(address).await;
            let mut status = [0; 12];
            if newcomer.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200" {
                return newcomer;
            }
        }
    };
    let _newcomer = timeout(PATIENCE, served).await.unwrap();
    assert_eq!(read_all(&mut oldest).await, "", "the oldest was closed");
    younger.write_all(REQUEST).await.unwrap();
    expect_200(&mut younger).await;
}

#[tokio::test]
async fn an_idle_connection_makes_way_when_every_slot_is_taken() {
    let (address, _shutdown) = start(Bounds::of(1), hello());
    let mut idle = send_request(address).await;
    read_until(&mut idle, "hello").await;
    expect_200(&mut send_request(address).await).await;
    assert_eq!(read_all(&mut idle).await, "");
}

#[tokio::test]
async fn a_trusted_proxy_may_have_more_connections_than_a_client() {
    let mut bounds = Bounds::of(100);
    bounds.per_address = 2;
    bounds.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let (address, _shutdown) = start(bounds, hello());
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = send_request(address).await;
        expect_200(&mut client).await;
        clients.push(client);
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order_whole_or_in_parts() {
    let router = hello().route("/echo", post(async |body: String| body));
    let (address, _shutdown) = start(Bounds::of(10), router);
    let mut client = TcpStream::connect(address).await.unwrap();

    // Two requests and the beginning of a third at once.
    client
        .write_all(
            &[REQUEST, b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc", b"GET / HT"].concat(),
        )
        .await
        .unwrap();
    let both = read_until(&mut client, "abc").await;
    assert!(both.find("hello").unwrap() < both.find("abc").unwrap(), "{both}");
    client.write_all(b"TP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    read_until(&mut client, "hello").await;

    // A body that comes after its headers, in two parts.
    for (body, answer) in [("12345", "12345"), ("abcde", "abcde")] {
        client.write_all(b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        yield_now().await;
        client.write_all(&body.as_bytes()[..2]).await.unwrap();
        yield_now().await;
        client.write_all(&body.as_bytes()[2..]).await.unwrap();
        read_until(&mut client, answer).await;
    }
    client
        .write_all(b"POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n")
        .await
        .unwrap();
    yield_now().await;
    client.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut client, "xy").await;

    // A body that nobody reads is not taken for a request.
    client.write_all(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 31\r\n\r\n").await.unwrap();
    read_until(&mut client, "405").await;
    client.write_all(b"GET /smuggled HTTP/1.1\r\n\r\n....").await.unwrap();
    assert!(!read_all(&mut client).await.contains("404"));
}

#[tokio::test]
async fn a_body_that_no_handler_reads_ends_the_connection_and_its_turn() {
    let (address, _shutdown) = start(Bounds::of(10), hello());
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn line_ends_in_front_of_a_request_are_not_taken_for_its_beginning() {
    let (address, _shutdown) = start(Bounds::of(10), hello());
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[REQUEST, b"\r\n", REQUEST].concat()).await.unwrap();
    expect_200(&mut client).await;
    read_until(&mut client, "hello").await;
    client.write_all(&[b"\r\n", REQUEST].concat()).await.unwrap();
    read_until(&mut client, "hello").await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_problem() {
    let mut bounds = Bounds::of(10);
    bounds.max_header_bytes = 10_000;
    let (address, _shutdown) = start(bounds, hello());
    let large = format!("GET / HTTP/1.1\r\nHost: here\r\nCookie: {}\r\n\r\n", "x".repeat(50_000));
    let fits = format!("GET / HTTP/1.1\r\nHost: here\r\nCookie: {}\r\n\r\n", "x".repeat(9_900));
    for (sent, status, detail) in [
        (&*large, "431", "--max-header-bytes\"}"),
        ("nonsense\r\n\r\n", "400", "no request of HTTP/1.1\"}"),
        (&*fits, "200", "hello"),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, detail).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.contains("application/problem+json"), status != "200", "{answer}");
        let rest = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(answer.contains(&format!("content-length: {}\r\n", rest.len())), "{answer}");
    }
}

/// A client whose calls block, in threads of their own: the paused clock stands while one of them runs.
struct Blocking(BlockingStream);

impl Blocking {
    async fn connect(address: SocketAddr) -> Self {
        let stream = Self::run(move || BlockingStream::connect(address).unwrap()).await;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    async fn run<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(task).await.unwrap()
    }

    fn send(&self, bytes: &'static [u8]) {
        self.0.try_clone().unwrap().write_all(bytes).unwrap();
    }

    /// Reads once. Empty: the connection has ended.
    async fn read(&self) -> String {
        let mut stream = self.0.try_clone().unwrap();
        let read = move || {
            let mut bytes = vec![0; 4096];
            let count = stream.read(&mut bytes).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        Self::run(read).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_wait_for_its_next_request_but_not_within_one() {
    let (address, _shutdown) = start(Bounds::of(10), hello());
    let client = Blocking::connect(address).await;
    client.send(REQUEST);
    assert!(client.read().await.contains("hello"));
    tokio::time::advance(Duration::from_secs(70)).await;
    client.send(REQUEST);
    assert!(client.read().await.contains("hello"), "load balancers keep connections for 60 s");
    tokio::time::advance(Duration::from_secs(76)).await;
    assert_eq!(client.read().await, "");

    let slow = Blocking::connect(address).await;
    slow.send(b"GET / HT");
    // The clock moves by itself while nothing happens.
    let started = Instant::now();
    let answer = loop {
        sleep(Duration::from_millis(100)).await;
        slow.0.set_nonblocking(true).unwrap();
        let mut bytes = vec![0; 4096];
        if let Ok(count) = (&slow.0).read(&mut bytes) {
            break String::from_utf8_lossy(&bytes[..count]).into_owned();
        }
    };
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// A request from this address of the loopback network, of a client whose kernel takes little of the answer.
async fn send_request_from(host: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    let mut client = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
    client.write_all(REQUEST).await.unwrap();
    client
}

#[tokio::test]
async fn answers_that_nobody_reads_make_way_for_others_the_oldest_first() {
    rlimit::increase_nofile_limit(8192).unwrap();
    let body = Bytes::from(vec![b'x'; 1024 * 1024]);
    let route = get(async move || body);
    let (address, _shutdown) = start(Bounds::of(10_000), Router::new().route("/", route));
    // Together four addresses take every turn.
    let mut unread = Vec::new();
    for host in 2..6 {
        for _ in 0..TURNS_OF_PEER {
            let mut client = send_request_from(host, address).await;
            expect_200(&mut client).await;
            unread.push(client);
        }
    }
    let mut newcomer = send_request_from(6, address).await;
    let asked = Instant::now();
    expect_200(&mut newcomer).await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let oldest = read_all(unread.first_mut().unwrap()).await;
    assert!(oldest.len() < 1024 * 1024, "the oldest was not cut");
    let youngest = read_until(unread.last_mut().unwrap(), &"x".repeat(200 * 1024)).await;
    assert!(youngest.len() > 200 * 1024, "one was cut for one");

    // The requests of one address make way for each other.
    let mut sibling = send_request_from(5, address).await;
    let asked = Instant::now();
    expect_200(&mut sibling).await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

/// More than a kernel keeps for a client that does not read.
const LARGE: usize = 32 * 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let (address, _shutdown) = start(Bounds::of(10), Router::new().route("/", get(async || "x".repeat(LARGE))));
    let client = Blocking::connect(address).await;
    client.send(REQUEST);
    // Nothing moves but the clock.
    sleep(Duration::from_mins(2)).await;
    let mut stream = client.0.try_clone().unwrap();
    let received = Blocking::run(move || {
        let mut bytes = Vec::new();
        let _reset = stream.read_to_end(&mut bytes);
        bytes.len()
    });
    assert!(received.await < LARGE, "the answer was still written");
}
