//! What an instance answers while it starts: the port is open, and the routes come later.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tower::{ServiceExt, service_fn};

use super::problem::Problem;

/// The pause before a client should ask again, in milliseconds.
const RETRY_MS: u64 = 2000;

/// The routes of an instance that is starting. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Startup(Arc<OnceLock<Router>>);

impl Startup {
    /// Routes that answer `starting` until [`finish`](Self::finish).
    pub fn routes(&self) -> Router {
        let starting = Router::new()
            .route("/health/live", get(async || Json(json!({ "status": "alive" }))))
            .fallback(async || -> Response {
                let detail = "starting: the database cannot be reached yet, or is being prepared";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_ms(RETRY_MS).into_response()
            })
            .route(
                "/health/ready",
                get(async || (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "starting" })))),
            );
        let routes = Arc::clone(&self.0);
        Router::new().fallback_service(service_fn(move |request: Request| {
            let router = routes.get().unwrap_or(&starting).clone();
            async move { Ok::<Response, Infallible>(router.oneshot(request).await.into_response()) }
        }))
    }

    /// From now on these routes answer. Called once.
    pub fn finish(&self, routes: Router) {
        let _first = self.0.set(routes).is_ok();
    }
}
