//! Errors over HTTP: `application/problem+json` (RFC 9457) with the codes of the WebSocket protocol.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hubbub_protocol::{ErrorCode, InvalidId, Refusal};
use serde::Serialize;

const PROBLEM_JSON: &str = "application/problem+json";

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: Option<&'static str>,
    detail: String,
    retry_after_ms: Option<u64>,
    errors: Vec<FieldProblem>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field.
    pub field: &'static str,
    /// The rule that it breaks, for programs.
    pub code: &'static str,
    /// The rule, in English.
    pub detail: &'static str,
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
}

impl Problem {
    /// A problem without a code.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, code: None, detail: detail.into(), retry_after_ms: None, errors: Vec::new() }
    }

    /// The same, with a code for programs.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// 422: fields of the request break rules.
    pub fn invalid(errors: Vec<FieldProblem>) -> Self {
        let detail = errors.first().map_or("the request is invalid", |error| error.detail);
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_code("invalid");
        Self { errors, ..problem }
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not support the method of the request")
    }

    /// 503: this instance is stopping.
    pub(crate) fn draining() -> Self {
        let detail = "this instance is stopping; connect again to reach another one";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_code(ErrorCode::Draining.name()).retry_after_ms(1000)
    }

    /// Adds a body to the empty 503 of the timeout layer. Returns other responses unchanged.
    pub(crate) fn as_problem(response: Response) -> Response {
        if response.status() == StatusCode::SERVICE_UNAVAILABLE
            && !response.headers().contains_key(header::CONTENT_TYPE)
        {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "the request took too long").into_response();
        }
        response
    }

    /// Adds the pause before the client should try again, also as the header `Retry-After`.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

impl Problem {
    /// The whole response as bytes of HTTP/1.1, for a connection that ends with it.
    pub(crate) fn closing_bytes(&self) -> String {
        let body = self.json();
        let retry_after = self.retry_after_s().map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n{retry_after}connection: close\r\n\r\n{body}",
            self.status,
            body.len()
        )
    }

    fn json(&self) -> String {
        let body = Body {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            retry_after_ms: self.retry_after_ms,
            errors: &self.errors,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_ms.map(|milliseconds| milliseconds.div_ceil(1000))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            ErrorCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::IdReused => StatusCode::CONFLICT,
            ErrorCode::NoSuchRoom | ErrorCode::NoSuchFile => StatusCode::NOT_FOUND,
            ErrorCode::NotAllowed | ErrorCode::NotYours => StatusCode::FORBIDDEN,
            ErrorCode::InvalidToken | ErrorCode::TokenExpired | ErrorCode::AccountRequired => StatusCode::UNAUTHORIZED,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Overloaded | ErrorCode::Draining => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self {
            status,
            code: Some(refusal.code.name()),
            detail: refusal.detail,
            retry_after_ms: refusal.retry_after_ms,
            errors: Vec::new(),
        }
    }
}

impl From<InvalidId> for Problem {
    fn from(invalid: InvalidId) -> Self {
        Refusal::from(invalid).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // A cache must not keep a refusal, nor that a file is missing: another instance may have it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_503_with_a_body_keeps_it_and_one_without_gets_a_problem() {
        let content_type = |response: Response| Problem::as_problem(response).headers()[header::CONTENT_TYPE].clone();
        let not_ready = (StatusCode::SERVICE_UNAVAILABLE, axum::Json("draining")).into_response();
        assert_eq!(content_type(not_ready), "application/json");
        assert_eq!(content_type(StatusCode::SERVICE_UNAVAILABLE.into_response()), PROBLEM_JSON);
    }
}
