//! Rooms over HTTP: what was said, and saying something from a back end.

use std::time::Duration;

use axum::{
    extract::{FromRequest, Path, Query, Request, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hubbub_edge::node::Phase;
use hubbub_protocol::{ErrorCode, Publish, Refusal, RoomId, Seq, User, UserId, UserName};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::{sync::oneshot, time::timeout};

use super::{App, problem::Problem};

/// Messages of one page of history.
const DEFAULT_PAGE: usize = 50;
/// The most messages of one page.
const MAX_PAGE: usize = 200;
/// How long a publish may wait for its place in the log. It gets it later all the same; the caller may ask again.
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
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let room: RoomId = room.parse()?;
    let Query(page) = page.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let history = app.node.history(&room, page.before, page.after, limit);
    // the messages are kept as the JSON that clients get
    let messages: Vec<&str> =
        history.entries.iter().filter_map(|entry| std::str::from_utf8(entry.frame.payload()).ok()).collect();
    let next = history.next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    let body = format!(r#"{{"messages":[{}],"next":{next},"seq":{}}}"#, messages.join(","), history.seq);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

#[derive(Debug, Deserialize)]
struct Draft {
    id: String,
    body: String,
    name: String,
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
    authorize(&app, &headers)?;
    if app.node.phase() == Phase::Closed {
        return Err(Problem::draining());
    }
    let axum::Json(draft) = axum::Json::<Draft>::from_request(request, &()).await.map_err(|error| bad_body(&error))?;
    let name: UserName = draft.name.parse()?;
    let publish = Publish::parse(&draft.id, &room, draft.body)?;
    let (done, placed) = oneshot::channel();
    app.node.publish(User { id: UserId::api(), name }, publish, move |ack| {
        // who asked may have given up
        let _gone = done.send(ack);
    })?;
    let Ok(Ok(ack)) = timeout(ACK_DEADLINE, placed).await else {
        let detail = "the relay is out of reach; the message waits, and repeating it with the same id is safe";
        return Err(Refusal::new(ErrorCode::Overloaded, detail).retry_after_ms(1000).into());
    };
    let published = Published { seq: ack.seq, duplicate: ack.duplicate };
    Ok((StatusCode::CREATED, axum::Json(published)).into_response())
}

fn authorize(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(key) = &app.api_key else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "publishing over HTTP is off: start the server with --api-key",
        ));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|given| bool::from(given.ct_eq(key.reveal().as_bytes()))) {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::UNAUTHORIZED, "send the API key as Authorization: Bearer"))
    }
}

fn bad_body(error: &JsonRejection) -> Problem {
    match error.status() {
        status @ (StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
            Problem::new(status, error.body_text())
        }
        _ => Refusal::new(ErrorCode::BadFrame, error.body_text()).into(),
    }
}
