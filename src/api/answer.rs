//! Answers: what a call gets that worked, and `application/problem+json` for one that did not.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hubbub_messenger::{
    StoreError,
    change::{CallError, FieldError, Refused},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::{debug, warn};

/// The pause before a client should ask again while the database cannot be asked, in seconds.
const RETRY_S: u64 = 2;

/// Why a call has failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody is signed in.
    Unauthorized,
    /// The body is no JSON, or not that of this call.
    Unreadable(StatusCode, String),
    /// A rule says no.
    Refused(Refused),
    /// The database says no.
    Store(StoreError),
}

impl Failure {
    /// There is no such thing, or the caller may not see it. The answers are the same.
    pub(crate) const UNKNOWN: Self = Self::Refused(Refused::Unknown);

    /// The caller sees it and may not do this.
    pub(crate) fn forbidden(detail: &'static str) -> Self {
        Self::Refused(Refused::Forbidden(detail))
    }

    /// One field is wrong.
    pub(crate) fn field(field: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused(Refused::Invalid(vec![FieldError { field, code, detail: detail.into() }]))
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refused) => Self::Refused(refused),
            CallError::Store(error) => Self::Store(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a call is answered.
pub(crate) type Answer = Result<Response, Failure>;

/// What the caller asked for. No cache keeps it.
#[expect(clippy::unnecessary_wraps, reason = "each call ends with one of these")]
pub(crate) fn found(body: &impl Serialize) -> Answer {
    Ok(private(StatusCode::OK, body))
}

/// What the call has made.
#[expect(clippy::unnecessary_wraps, reason = "each call ends with one of these")]
pub(crate) fn made(body: &impl Serialize) -> Answer {
    Ok(private(StatusCode::CREATED, body))
}

/// It is done, and there is nothing to say of it.
#[expect(clippy::unnecessary_wraps, reason = "each call ends with one of these")]
pub(crate) fn done() -> Answer {
    Ok((StatusCode::NO_CONTENT, [NO_STORE]).into_response())
}

/// What the caller asked for, if there is such a thing.
pub(crate) fn found_if(body: Option<impl Serialize>) -> Answer {
    found(&body.ok_or(Failure::UNKNOWN)?)
}

const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

fn private(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [NO_STORE], Json(body)).into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, detail, more) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "sign in first".to_owned(), Map::new()),
            Self::Unreadable(status, detail) => (status, detail, Map::new()),
            Self::Refused(refused) => of_refusal(refused),
            Self::Store(StoreError::Passing(why)) => {
                debug!(why, "a call is refused: the database cannot be asked");
                (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be asked now".to_owned(), Map::new())
            }
            Self::Store(StoreError::Refused(why)) => {
                warn!(why, "the database refuses what a call has made of its request");
                let detail = "the server has made something of this request that its database refuses";
                (StatusCode::INTERNAL_SERVER_ERROR, detail.to_owned(), Map::new())
            }
        };
        let mut body = more;
        let title = status.canonical_reason().unwrap_or("Error");
        body.extend(
            [("title", json!(title)), ("status", json!(status.as_u16())), ("detail", json!(detail))].map(named),
        );
        let mut response = (status, [NO_STORE], Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_S));
        }
        response
    }
}

fn of_refusal(refused: Refused) -> (StatusCode, String, Map<String, Value>) {
    let detail = refused.to_string();
    let (status, more) = match refused {
        Refused::Unknown => (StatusCode::NOT_FOUND, None),
        Refused::Forbidden(_) => (StatusCode::FORBIDDEN, Some(("code", json!("not_allowed")))),
        Refused::Conflict { code, .. } => (StatusCode::CONFLICT, Some(("code", json!(code)))),
        Refused::Invalid(errors) => (StatusCode::UNPROCESSABLE_ENTITY, Some(("errors", json!(errors)))),
    };
    (status, detail, more.map(named).into_iter().collect())
}

fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_says_when_to_ask_again_and_not_why() {
        let response = Failure::Store(StoreError::Passing("10.0.0.7 refuses".into())).into_response();
        assert_eq!(
            (response.status(), &response.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from(2))
        );
        assert_eq!(response.headers()["cache-control"], "no-store");
        let refused = Failure::Store(StoreError::Refused("key (name)=(secret)".into())).into_response();
        assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
