//! Real reverse proxies, set up with the text of the pages in docs/proxies.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails should fail the test")]

use std::{net::Ipv4Addr, time::Duration};

use axum::{Router, routing::get};
use hubbub_client::{Config, Connection, Upgrade};
use hubbub_protocol::{ClientFrame, CloseReason, Hello, RoomId, ServerFrame};
use hubbub_testbed::{
    Product, Redis, ReverseProxy, Server, TestClient, Transcript, assert_complete, chatter, dial, gather, http, room,
    within,
};
use hyper::Request;
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// The promise of the pages: how long a client is away when its instance is replaced.
const BACK_WITHIN: Duration = Duration::from_secs(5);
const CLIENTS: usize = 40;

/// A page about a product, and what it writes for the place where the proxy listens.
struct Page {
    product: Product,
    text: &'static str,
    listens: &'static str,
}

const NGINX: Page =
    Page { product: Product::Nginx, text: include_str!("../docs/proxies/nginx.md"), listens: "listen 80" };
const HAPROXY: Page =
    Page { product: Product::Haproxy, text: include_str!("../docs/proxies/haproxy.md"), listens: "bind :80" };
const CADDY: Page =
    Page { product: Product::Caddy, text: include_str!("../docs/proxies/caddy.md"), listens: "chat.example.com {" };

impl Page {
    /// The text of the block with this name behind its fence.
    fn block(&self, name: &str) -> &'static str {
        let (_, rest) = self.text.split_once(&format!("```{name}\n")).unwrap();
        rest.split("```").next().unwrap()
    }

    /// The configuration, with the block `more` after the last line of the server's other settings if there is one.
    fn configuration(&self) -> &'static str {
        self.block(match self.product {
            Product::Nginx => "nginx",
            Product::Haproxy => "haproxy",
            Product::Caddy => "caddyfile",
        })
    }

    /// The options that the page gives to an instance, with addresses of this machine.
    fn flags(&self) -> Vec<String> {
        let command = self.block("sh").replace("10.0.0.1 ", "127.0.0.1 ");
        let words: Vec<_> = command.split_whitespace().skip(1).map(str::to_owned).collect();
        let replaced = |pair: &&[String]| !["--listen", "--redis-url"].contains(&pair[0].as_str());
        words.chunks(2).filter(replaced).flatten().cloned().collect()
    }

    /// An instance as the page starts it.
    async fn instance(&self, redis: &Redis, listen: &str, more: &[&str]) -> Server {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--listen", listen]).collect();
        Server::on(redis, &[&flags, more].concat()).await
    }

    /// The proxy with this configuration, in front of two addresses.
    async fn proxy(&self, configuration: &str, backends: [&str; 2]) -> ReverseProxy {
        let address = ReverseProxy::free_address().await;
        let listens = match self.product {
            Product::Nginx => format!("listen {address}"),
            Product::Haproxy => format!("bind {address}"),
            Product::Caddy => format!("http://{address} {{"),
        };
        assert!(configuration.contains(self.listens), "the page listens elsewhere");
        let configuration = configuration
            .replace("10.0.0.11:8080", backends[0])
            .replace("10.0.0.12:8080", backends[1])
            .replace(self.listens, &listens);
        ReverseProxy::start(self.product, &configuration, address).await
    }
}

/// Ends the instance as a deploy does, and starts the next one at its address.
async fn replace(page: &Page, redis: &Redis, server: &mut Server) {
    let address = server.address().to_owned();
    server.terminate().await;
    assert!(server.ended().await.success());
    *server = page.instance(redis, &address, &[]).await;
}

/// Replaces both instances behind the proxy while the clients talk. Nobody notices more than a short absence.
async fn a_rolling_restart(page: &Page) {
    let redis = Redis::start().await;
    // not 127.0.0.1, so that no client's port is in the way when an instance takes its address again
    let mut a = page.instance(&redis, "127.0.0.11:0", &[]).await;
    let mut b = page.instance(&redis, "127.0.0.12:0", &[]).await;
    let proxy = page.proxy(page.configuration(), [a.address(), b.address()]).await;
    let rooms = [room()];
    let config = |n| {
        Config::new(vec![proxy.address().to_owned()], format!("Client {n}").parse().unwrap(), vec![rooms[0].clone()])
    };
    let clients = gather((0..CLIENTS).map(config)).await;

    let restart = async {
        for server in [&mut a, &mut b] {
            replace(page, &redis, server).await;
            for client in &clients {
                client.until_within(BACK_WITHIN, "back", Transcript::is_live).await;
            }
        }
    };
    let published = chatter(&clients, &rooms, Duration::from_millis(20), restart).await;
    assert_eq!(assert_complete(&clients).await, published);
    let mut moved = 0;
    for client in &clients {
        assert_undisturbed(client);
        moved += client.transcript().closes.len();
    }
    assert!(moved >= CLIENTS, "only {moved} connections ended: the second restart moved nobody");
}

/// Its connections ended because instances drained, and it was soon back, at the first attempt.
fn assert_undisturbed(client: &TestClient<Transcript>) {
    let seen = client.transcript();
    assert!(seen.closes.iter().all(|code| *code == CloseReason::Drain.code()), "{:?}", seen.closes);
    assert_eq!((seen.unreachable, seen.refused.len()), (0, 0), "{}", client.name());
    assert!(seen.longest_absence <= BACK_WITHIN, "away for {:?}", seen.longest_absence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_a_rolling_restart_brings_everybody_back() {
    a_rolling_restart(&NGINX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_a_rolling_restart_brings_everybody_back() {
    a_rolling_restart(&HAPROXY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_caddy_a_rolling_restart_brings_everybody_back() {
    a_rolling_restart(&CADDY).await;
}

/// A connection from this address that claims to come from elsewhere; none if it is refused.
async fn knock(proxy: &ReverseProxy, from: Ipv4Addr, claim: u8) -> Option<Connection> {
    let stream = dial(from.into(), proxy.address()).await.unwrap();
    let claims = [("X-Forwarded-For", format!("203.0.113.{claim}")), ("Forwarded", format!("for=203.0.113.{claim}"))];
    let headers = claims.map(|(name, value)| (name.to_owned(), value)).into();
    let upgrade = Upgrade { headers, ..Upgrade::default() };
    let mut connection = Connection::over(stream, proxy.address(), &upgrade).await.ok()?;
    let hello = Hello { name: "Ann".parse().unwrap(), session: None, rooms: vec![RoomId::lobby()], resume: None };
    connection.send(&ClientFrame::Hello(hello)).await.ok()?;
    let first = within(connection.next()).await;
    matches!(first, Ok(ServerFrame::Welcome(_))).then_some(connection)
}

/// Two connections of each address are allowed: those of the client count, whatever it claims.
async fn the_address_is_the_clients_own(page: &Page) {
    let redis = Redis::start().await;
    let server = page.instance(&redis, "127.0.0.11:0", &["--max-per-address", "2"]).await;
    let proxy = page.proxy(page.configuration(), [server.address(); 2]).await;
    let mut open = Vec::new();
    for claim in 1..=3 {
        let (here, there) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
        for from in [here, there] {
            let connection = knock(&proxy, from, claim).await;
            assert_eq!(connection.is_some(), claim <= 2, "connection {claim} from {from}");
            open.extend(connection);
        }
    }
}

#[tokio::test]
async fn behind_nginx_the_address_is_the_clients_own() {
    the_address_is_the_clients_own(&NGINX).await;
}

#[tokio::test]
async fn behind_haproxy_the_address_is_the_clients_own() {
    the_address_is_the_clients_own(&HAPROXY).await;
}

#[tokio::test]
async fn behind_caddy_the_address_is_the_clients_own() {
    the_address_is_the_clients_own(&CADDY).await;
}

/// An instance of another version: it has a file that the real one lacks.
async fn another_version() -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.12:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let routes = Router::new()
        .route("/assets/of-another-version.js", get(async || "found"))
        .route("/health/ready", get(async || "ready"));
    let serve = async { axum::serve(listener, routes).await.unwrap() };
    (address, AbortOnDropHandle::new(TaskTracker::new().spawn(serve)))
}

async fn a_file_of_either_version_is_found(page: &Page) {
    let redis = Redis::start().await;
    let server = page.instance(&redis, "127.0.0.11:0", &[]).await;
    let (other, _task) = another_version().await;
    let proxy = page.proxy(page.configuration(), [server.address(), &other]).await;
    for _ in 0..20 {
        let reply = http::get(proxy.address(), "/assets/of-another-version.js").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "found"));
    }
    assert_eq!(http::get(proxy.address(), "/assets/of-no-version.js").await.status, 404);
}

#[tokio::test]
async fn behind_nginx_a_file_of_either_version_is_found() {
    a_file_of_either_version_is_found(&NGINX).await;
}

#[tokio::test]
async fn behind_haproxy_a_file_of_either_version_is_found() {
    a_file_of_either_version_is_found(&HAPROXY).await;
}

/// Every route is also under the path: a plain one, and an upgrade.
async fn served_under_a_path(page: &Page, configuration: &str) {
    let redis = Redis::start().await;
    let server = page.instance(&redis, "127.0.0.11:0", &[]).await;
    let proxy = page.proxy(configuration, [server.address(); 2]).await;
    assert_eq!(http::get(proxy.address(), "/chat/health/ready").await.status, 200);
    let without_slash = http::get(proxy.address(), "/chat").await;
    assert!([301, 302].contains(&without_slash.status), "{without_slash:?}");
    let upgrade = Request::get("/chat/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let reply = http::send(proxy.address(), upgrade.body(String::new()).unwrap()).await;
    assert_eq!(reply.status, 101, "{reply:?}");
}

#[tokio::test]
async fn behind_nginx_it_is_served_under_a_path() {
    let path = [NGINX.block("nginx path"), "\n    location / {"].concat();
    served_under_a_path(&NGINX, &NGINX.configuration().replacen("    location / {", &path, 1)).await;
}

#[tokio::test]
async fn behind_haproxy_it_is_served_under_a_path() {
    let path = [HAPROXY.block("haproxy path"), "    use_backend"].concat();
    served_under_a_path(&HAPROXY, &HAPROXY.configuration().replacen("    use_backend", &path, 1)).await;
}

#[tokio::test]
async fn behind_caddy_it_is_served_under_a_path() {
    let (before, after) = CADDY.block("caddyfile path").split_once("reverse_proxy …").unwrap();
    let inner = CADDY.configuration().replacen("    reverse_proxy", &format!("{before}reverse_proxy"), 1);
    let whole = inner.trim_end().strip_suffix('}').unwrap();
    served_under_a_path(&CADDY, &[whole, after, "}"].concat()).await;
}

/// The proxy starts with the lines for TLS in the place of the one that listens without.
async fn takes_the_lines_for_tls(page: &Page, [plain, tls]: [&'static str; 2], block: &str, files: &str) {
    let redis = Redis::start().await;
    let server = page.instance(&redis, "127.0.0.11:0", &[]).await;
    let lines = page.block(block).replace(files, "");
    assert!(lines.contains(tls), "{lines}");
    let page = Page { listens: tls, ..*page };
    let configuration = page.configuration().replacen(plain, lines.trim(), 1);
    page.proxy(&configuration, [server.address(); 2]).await;
}

#[tokio::test]
async fn nginx_takes_the_lines_for_tls() {
    takes_the_lines_for_tls(&NGINX, ["listen 80;", "listen 443"], "nginx tls", "/etc/nginx/").await;
}

#[tokio::test]
async fn haproxy_takes_the_lines_for_tls() {
    takes_the_lines_for_tls(&HAPROXY, ["bind :80", "bind :443"], "haproxy tls", "/etc/haproxy/").await;
}
