//! The HTTP server of an instance: listener, routes, WebSocket upgrade, limits, health, and the embedded app.

pub mod access;
mod address;
mod assets;
mod forwarded;
pub mod history;
pub mod host;
pub mod json;
pub mod listener;
pub mod origin;
mod page;
pub mod problem;
mod rooms;
pub mod startup;
mod status;
pub mod upgrade;
pub mod visitor;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, State},
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    middleware::from_fn_with_state,
    response::Response,
    routing::{any, get},
};
use hubbub_edge::{
    conversation,
    door::{Door, Limits},
    node::{Node, Phase, Readiness},
};
use hubbub_lifecycle::{RotatingSecret, Shutdown, metric};
use hubbub_protocol::MAX_FRAME_BYTES;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tower::util::MapResponseLayer;
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
    trace::{DefaultOnFailure, TraceLayer},
};
use tracing::{Level, debug_span};

use self::{
    access::{Access, Readers},
    address::{client_address, quota_key},
    history::Past,
    host::{HostPattern, PublicHosts},
    listener::Slot,
    origin::{AllowedOrigins, OriginPattern},
    page::Desk,
    problem::Problem,
    upgrade::Upgrade,
    visitor::Frontier,
};

/// Timeout of a request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Upper bound for the body of a request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// `Retry-After` of a refused WebSocket: the pause before the client should try again, in milliseconds.
const RETRY_MS: u64 = 2000;

/// The app loads only files of this server, uses no inline script or style, and never parses text as HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const PERMISSIONS_POLICY: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Settings of the public routes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Key with which a back end may publish over HTTP. None: HTTP publish is disabled.
    pub api_key: Option<RotatingSecret>,
    /// Origins whose pages may connect, besides those of the same host.
    pub allowed_origins: Vec<OriginPattern>,
    /// Hosts under which clients reach this server, besides addresses and `localhost`. Empty: those of
    /// `allowed_origins`.
    pub public_hosts: Vec<HostPattern>,
    /// Proxies whose headers `X-Forwarded-…` and `Forwarded` are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Upper bound for the WebSockets of this instance.
    pub max_connections: usize,
    /// Limits for the WebSockets of one person, and of one IPv4 address or IPv6 /64.
    pub limits: Limits,
    /// Where the history of rooms is read.
    pub past: Arc<dyn Past>,
    /// Knows who may read private rooms. None without a database.
    pub readers: Option<Arc<dyn Readers>>,
    /// The routes of the messenger. None without a database.
    pub api: Option<Routes>,
}

/// Routes that another crate adds to the public ones.
pub type Routes = Router;

/// The shared state of the public routes.
#[derive(Clone, Debug)]
struct App {
    node: Node,
    access: Arc<Access>,
    origins: AllowedOrigins,
    trusted_proxies: Arc<[IpNet]>,
    websockets: Arc<Semaphore>,
    door: Door,
    desk: Desk,
    past: Arc<dyn Past>,
    shutdown: Shutdown,
}

/// The public routes of an instance.
pub fn router(node: &Node, options: &Options, shutdown: &Shutdown) -> Router {
    let app = App {
        node: node.clone(),
        access: Arc::new(Access { api_key: options.api_key.clone(), readers: options.readers.clone() }),
        origins: AllowedOrigins::new(&options.allowed_origins),
        trusted_proxies: options.trusted_proxies.clone().into(),
        websockets: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
        door: Door::new(options.limits),
        desk: Desk::new(),
        past: Arc::clone(&options.past),
        shutdown: shutdown.clone(),
    };
    let frontier = Frontier { trusted_proxies: Arc::clone(&app.trusted_proxies), origins: app.origins.clone() };
    let api = options.api.clone().unwrap_or_default();
    let api = api.method_not_allowed_fallback(async || Problem::method_not_allowed()).layer(Extension(frontier));
    let cors = cors(app.origins.clone());
    Router::new()
        .route("/ws", any(accept))
        .route("/v1/rooms/{room}/messages", get(rooms::history).post(rooms::publish))
        .route("/v1/stats", get(status::stats))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready))
        .fallback(assets::app)
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .with_state(app)
        .merge(api)
        .layer(cors)
        .layer(from_fn_with_state(public_hosts(options), host::refuse_other_hosts))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_DEADLINE))
        .layer(MapResponseLayer::new(Problem::as_problem))
        .layer(default_header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(default_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(default_header(header::REFERRER_POLICY, "no-referrer"))
        .layer(default_header(HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY))
        .layer(default_header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span)
                .on_failure(DefaultOnFailure::new().level(Level::DEBUG)),
        )
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// The routes of the admin listener. `render` returns the metrics in the text format of Prometheus.
pub fn admin_router(node: &Node, render: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    let (node, ready) = (node.clone(), metrics::gauge!(metric::READY));
    let scrape = async move || {
        ready.set(f64::from(u8::from(node.readiness() == Readiness::Ready)));
        render()
    };
    Router::new().route("/metrics", get(scrape))
}

/// These routes, but 421 for hosts that are not public: an address on loopback is reached by pages of other sites that
/// let their own name point to it.
pub fn for_public_hosts(routes: Router, options: &Options) -> Router {
    routes.layer(from_fn_with_state(public_hosts(options), host::refuse_other_hosts))
}

fn public_hosts(options: &Options) -> PublicHosts {
    let trusted = options.trusted_proxies.clone().into();
    match options.public_hosts.as_slice() {
        [] => PublicHosts::new(options.allowed_origins.iter().filter_map(OriginPattern::host), trusted),
        listed => PublicHosts::new(listed.to_vec(), trusted),
    }
}

/// `GET /ws`. With any other method a page asks why its sockets are refused: a browser sends the `Origin` of a page to
/// the page's own server only then.
async fn accept(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<Upgrade, Problem>,
) -> Result<Response, Problem> {
    app.origins.check(&headers, peer.ip(), &app.trusted_proxies)?;
    if app.node.phase() == Phase::Closed {
        return Err(Problem::draining());
    }
    if app.node.readiness() == Readiness::Starting {
        let detail = "this instance is starting and has not read the log yet";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_ms(RETRY_MS));
    }
    let Ok(websocket) = Arc::clone(&app.websockets).try_acquire_owned() else {
        let detail = "connection limit reached: see --max-connections";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_ms(RETRY_MS));
    };
    // last: whoever asks without an upgrade learns first why there is no socket
    let upgrade = upgrade?;
    let address = client_address(peer.ip(), &headers, &app.trusted_proxies);
    let response = upgrade.response();
    app.shutdown.clone().spawn_isolated(async move {
        let Some(socket) = upgrade.socket(MAX_FRAME_BYTES).await else { return };
        conversation::run(socket, app.node, app.door, quota_key(address)).await;
        drop((websocket, slot));
    });
    Ok(response)
}

/// CORS: pages of the listed origins may read the responses of the HTTP API.
fn cors(origins: AllowedOrigins) -> CorsLayer {
    CorsLayer::new().allow_origin(AllowOrigin::predicate(move |origin, _| origins.lists(origin)))
}

fn default_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

fn request_span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    // a path can have a secret in it, such as the token of an invitation
    let path = request.extensions().get::<MatchedPath>().map_or_else(|| request.uri().path(), MatchedPath::as_str);
    debug_span!("request", http.method = %request.method(), http.path = path, request.id = id)
}
