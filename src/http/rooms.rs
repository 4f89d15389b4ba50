//! Rooms over HTTP: their history, and publishing from a back end.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Extension,
    extract::{
        ConnectInfo, FromRequest, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
};
use hubbub_edge::node::{Phase, Sender};
use hubbub_protocol::{ErrorCode, Publish, Refusal, RoomId, RoomKind, Seq, User, no_such_room};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::timeout};

use super::{App, address::client_address, history::Range, listener::Cutter, page, problem::Problem};

/// Messages per page of history, unless the request sets a limit.
const DEFAULT_PAGE: usize = 50;
/// Upper bound for the messages per page.
const MAX_PAGE: usize = 200;
/// How long a request waits until its message is in the log. After that the message is still appended; the caller may
/// repeat the request to learn its seq.
const ACK_DEADLINE: Duration = Duration::from_secs(8);

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    before: Option<Seq>,
    after: Option<Seq>,
    limit: Option<usize>,
}

/// `GET /v1/rooms/{room}/messages`
pub(super) async fn history(
    State(app): State<App>,
    Path(room): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(cutter): Extension<Cutter>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Problem> {
    let room: RoomId = room.parse()?;
    let Query(page) = page.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let permit = app.desk.take(client_address(peer.ip(), &headers, &app.trusted_proxies), cutter).await?;
    // behind the wait for a place: who was removed meanwhile reads nothing
    app.access.reader(&headers, &room).await?;
    let range = Range { before: page.before, after: page.after, limit };
    let mut response = page::respond(app.past.page(&room, range).await?, permit);
    if room.kind() != RoomKind::Public {
        let _none_before = response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

#[derive(Debug, Serialize)]
struct Published {
    seq: Seq,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// `POST /v1/rooms/{room}/messages`
pub(super) async fn publish(
    State(app): State<App>,
    Path(room): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let id = app.access.publisher(&headers)?;
    if app.node.phase() == Phase::Closed {
        return Err(Problem::draining());
    }
    let json = axum::Json::<Box<RawValue>>::from_request(request, &()).await.map_err(|error| bad_body(&error))?;
    let (name, publish) = Publish::from_back_end(json.get(), &room)?;
    if publish.room.kind() != RoomKind::Public {
        return Err(no_such_room().into());
    }
    let (sender, decided) = oneshot::channel();
    let from = Sender { user: User { id, name }, address: None };
    app.node.publish(from, publish, move |outcome| {
        // The request may have reached its deadline.
        let _closed = sender.send(outcome);
    })?;
    let Ok(Ok(outcome)) = timeout(ACK_DEADLINE, decided).await else {
        let detail = "Redis cannot be reached; the message is queued, and repeating it with the same id is safe";
        return Err(Refusal::new(ErrorCode::Overloaded, detail).retry_after_ms(1000).into());
    };
    let ack = outcome?;
    let published = Published { seq: ack.seq, duplicate: ack.duplicate };
    Ok((StatusCode::CREATED, axum::Json(published)).into_response())
}

fn bad_body(error: &JsonRejection) -> Problem {
    match error.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "the body of the request is too large"),
        status @ StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(status, error.body_text()),
        _ => Refusal::new(ErrorCode::BadFrame, error.body_text()).into(),
    }
}
