//! Statistics and health of the instance.

use axum::{Json, extract::State, http::StatusCode};
use hubbub_edge::node::Readiness;
use hubbub_lifecycle::metric;
use hubbub_protocol::{RelayState, Seq};
use serde::Serialize;

use super::{App, history::HistoryHealth};

/// `GET /v1/stats`
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    connections: Connections,
    instances: u64,
    rooms: usize,
    relay: RelayState,
    seq: Seq,
}

#[derive(Debug, Serialize)]
struct Connections {
    /// Connections of this instance.
    instance: u64,
    /// Connections of all instances.
    all: u64,
}

pub(super) async fn stats(State(app): State<App>) -> Json<Stats> {
    let (node, count) = (&app.node, app.node.count());
    let connections = Connections { instance: metric::count(*node.fanout().count().borrow()), all: count.connections };
    let (rooms, relay, seq) = (node.fanout().rooms(), node.relay_state(), node.seq());
    Json(Stats { connections, instances: count.instances, rooms, relay, seq })
}

/// Answer of `/health/live` and `/health/ready`.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<RelayState>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    history: Option<HistoryHealth>,
}

/// `GET /health/live`
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: "alive", relay: None, history: None })
}

/// `GET /health/ready`
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (code, status) = match app.node.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Readiness::Deaf => (StatusCode::SERVICE_UNAVAILABLE, "deaf"),
    };
    (code, Json(Health { status, relay: Some(app.node.relay_state()), history: app.past.health() }))
}
