//! Bodies in JSON.

use axum::{
    extract::{FromRequest, OptionalFromRequest, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use super::problem::Problem;

/// The body of a request. What cannot be read is answered with a problem.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match <axum::Json<T> as FromRequest<S>>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(error) => Err(match error.status() {
                status @ StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "the body of the request is too large"),
                status @ StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(status, error.body_text()),
                // the text of the error may quote the body, which may hold a password
                _ => Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "the body is not the JSON object that this call takes",
                )
                .with_code("bad_frame"),
            }),
        }
    }
}

/// A request without a content type has no body.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

/// An answer that no cache keeps.
pub fn private(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    let _former = response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
