//! Access control for the room routes: the only place where [`rooms`](super::rooms) checks permissions.

use std::fmt;

use axum::http::{HeaderMap, StatusCode, header};
use hubbub_lifecycle::Secret;
use hubbub_protocol::{RoomId, UserId};
use subtle::ConstantTimeEq;

use super::problem::Problem;

/// Checks the permissions of one request. The headers carry the credentials.
pub(crate) trait Access: fmt::Debug + Send + Sync {
    /// Ok if the request may read the history of this room; else the problem to answer with.
    fn reader(&self, headers: &HeaderMap, room: &RoomId) -> Result<(), Problem>;

    /// The user as whom the request may publish; or the problem to answer with.
    fn publisher(&self, headers: &HeaderMap) -> Result<UserId, Problem>;
}

/// Every request may read every room. Publishing needs the API key. `None`: publishing is disabled.
#[derive(Debug)]
pub(crate) struct ApiKey(pub(crate) Option<Secret>);

impl Access for ApiKey {
    fn reader(&self, _: &HeaderMap, _: &RoomId) -> Result<(), Problem> {
        Ok(())
    }

    fn publisher(&self, headers: &HeaderMap) -> Result<UserId, Problem> {
        let Self(Some(key)) = self else {
            let detail = "HTTP publish is disabled: see --api-key";
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
