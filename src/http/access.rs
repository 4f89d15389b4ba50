//! Who may use the rooms over HTTP. The routes of [`rooms`](super::rooms) ask here and nowhere else.

use std::fmt;

use axum::http::{HeaderMap, StatusCode, header};
use hubbub_lifecycle::Secret;
use hubbub_protocol::{RoomId, UserId};
use subtle::ConstantTimeEq;

use super::problem::Problem;

/// Decides about one request. The headers carry the credentials.
pub(crate) trait Access: fmt::Debug + Send + Sync {
    /// Ok if the request may read the history of this room.
    fn reader(&self, headers: &HeaderMap, room: &RoomId) -> Result<(), Problem>;

    /// The user that the request may publish as.
    fn publisher(&self, headers: &HeaderMap) -> Result<UserId, Problem>;
}

/// Every room is public, and the holder of the API key may publish. Without a key nobody may.
#[derive(Debug)]
pub(crate) struct ApiKey(pub(crate) Option<Secret>);

impl Access for ApiKey {
    fn reader(&self, _: &HeaderMap, _: &RoomId) -> Result<(), Problem> {
        Ok(())
    }

    fn publisher(&self, headers: &HeaderMap) -> Result<UserId, Problem> {
        let Self(Some(key)) = self else {
            let detail = "publishing over HTTP is off: start the server with --api-key";
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if given.is_some_and(|given| given.ct_eq(key.reveal().as_bytes()).into()) {
            Ok(UserId::api())
        } else {
            Err(Problem::new(StatusCode::UNAUTHORIZED, "send the API key as Authorization: Bearer"))
        }
    }
}
