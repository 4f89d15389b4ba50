//! HTTP surface: routes, the upgrade, health, and the embedded app.

mod address;
mod assets;
pub mod health;
pub mod listener;
mod origin;
pub mod problem;
mod rooms;
mod status;
pub mod upgrade;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::Response,
    routing::get,
};
use hubbub_edge::{
    conversation::{self, Rate},
    node::{Node, Phase, Readiness},
    socket::Socket,
};
use hubbub_lifecycle::{Quota, Secret, Shutdown, metric};
use hubbub_protocol::{CloseReason, MAX_FRAME_BYTES};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tower::{limit::GlobalConcurrencyLimitLayer, util::MapResponseLayer};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    limit::RequestBodyLimitLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
    trace::{DefaultOnFailure, TraceLayer},
};
use tracing::{Level, debug_span};

use self::{
    address::{client_address, neighbourhood},
    listener::Slot,
    origin::AllowedOrigins,
    problem::Problem,
    upgrade::Upgrade,
};

/// How long a request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// The largest body of a request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Upgrades that are worked on at a time; the others wait for their turn.
const UPGRADES_AT_ONCE: usize = 512;
/// When a client may come again that found no place, in milliseconds.
const FULL_RETRY_MS: u64 = 2000;

/// Nothing but what this server sends, no inline script or style, and no text that becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const PERMISSIONS_POLICY: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// How the public routes behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Key with which a back end may publish; none: it may not.
    pub api_key: Option<Secret>,
    /// Origins whose pages may connect, in lower case, beside those of the same host; `*` stands for all.
    pub allowed_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// WebSockets of this instance.
    pub max_connections: usize,
    /// WebSockets of one address.
    pub max_per_address: usize,
    /// Publishes of one connection.
    pub publish_rate: Rate,
}

/// What the routes share.
#[derive(Clone, Debug)]
struct App {
    node: Node,
    api_key: Option<Secret>,
    origins: AllowedOrigins,
    trusted_proxies: Arc<[IpNet]>,
    websockets: Arc<Semaphore>,
    addresses: Quota<IpAddr>,
    rate: Rate,
    shutdown: Shutdown,
}

/// The public routes of an instance.
pub fn router(node: &Node, options: &Options, shutdown: &Shutdown) -> Router {
    let app = App {
        node: node.clone(),
        api_key: options.api_key.clone(),
        origins: AllowedOrigins::from_list(&options.allowed_origins),
        trusted_proxies: options.trusted_proxies.clone().into(),
        websockets: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
        addresses: Quota::new(options.max_per_address),
        rate: options.publish_rate,
        shutdown: shutdown.clone(),
    };
    let upgrades = get(accept).layer(GlobalConcurrencyLimitLayer::new(UPGRADES_AT_ONCE));
    Router::new()
        .route("/ws", upgrades)
        .route("/v1/rooms/{room}/messages", get(rooms::history).post(rooms::publish))
        .route("/v1/stats", get(status::stats))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready))
        .fallback(assets::app)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
        .layer(cors(&options.allowed_origins))
        .layer(RequestBodyLimitLayer::new(MAX_REQUEST_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_DEADLINE))
        .layer(MapResponseLayer::new(Problem::speak_for))
        .layer(standing(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(standing(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(standing(header::REFERRER_POLICY, "no-referrer"))
        .layer(standing(HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY))
        .layer(standing(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span)
                .on_failure(DefaultOnFailure::new().level(Level::DEBUG)),
        )
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
}

/// The routes for those who operate the instance. `render` writes the metrics down.
pub fn admin_router(node: &Node, render: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    let (node, ready) = (node.clone(), metrics::gauge!(metric::READY));
    let scrape = async move || {
        ready.set(f64::from(u8::from(node.readiness() == Readiness::Ready)));
        render()
    };
    Router::new().route("/metrics", get(scrape))
}

/// `GET /ws`
async fn accept(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    if !app.origins.admits(&headers) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "pages of this origin may not connect: see --allowed-origins"));
    }
    if app.node.phase() == Phase::Closed {
        return Err(Problem::draining());
    }
    if app.node.readiness() == Readiness::Starting {
        let detail = "this instance has not reached the log yet";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_ms(FULL_RETRY_MS));
    }
    let Ok(websocket) = Arc::clone(&app.websockets).try_acquire_owned() else {
        let detail = "this instance has as many connections as it may: see --max-connections";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_ms(FULL_RETRY_MS));
    };
    let address = client_address(peer.ip(), &headers, &app.trusted_proxies);
    let response = upgrade.response();
    app.shutdown.clone().spawn_expendable(async move {
        let Some(socket) = upgrade.socket(MAX_FRAME_BYTES).await else { return };
        admit(app, socket, address).await;
        drop((websocket, slot));
    });
    Ok(response)
}

async fn admit(app: App, socket: Socket, address: IpAddr) {
    match app.addresses.take(neighbourhood(address)) {
        Some(_permit) => conversation::run(socket, app.node, app.rate).await,
        None => conversation::reject(socket, CloseReason::TooManyConnections).await,
    }
}

/// Pages of the listed origins may read what is public here.
fn cors(origins: &[String]) -> CorsLayer {
    let listed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new().allow_origin(listed)
}

fn standing(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

fn request_span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    debug_span!("request", http.method = %request.method(), http.path = request.uri().path(), request.id = id)
}
