//! Access control for the room routes: the only place where [`rooms`](super::rooms) checks permissions.

use std::{fmt, sync::Arc};

use axum::http::{HeaderMap, StatusCode, header};
use futures_util::future::BoxFuture;
use hubbub_lifecycle::{RotatingSecret, Throttle, metric::UNAUTHORIZED};
use hubbub_protocol::{RoomId, RoomKind, UserId, no_such_room};
use metrics::counter;
use subtle::ConstantTimeEq;
use tracing::warn;

use super::problem::Problem;

/// The warning that a publish is refused.
static REFUSED: Throttle = Throttle::new();

/// Knows who may read private rooms.
pub trait Readers: fmt::Debug + Send + Sync + 'static {
    /// Whether whoever has this token may read the history of a private room. Cancel safe.
    ///
    /// # Errors
    ///
    /// The answer for the client: the token does not count, there is no such room, or its person is not in it.
    fn admit<'a>(&'a self, token: &'a str, room: &'a RoomId) -> BoxFuture<'a, Result<(), Problem>>;
}

/// Checks the permissions of requests. Their headers carry the credentials.
#[derive(Debug)]
pub(crate) struct Access {
    /// What a back end publishes with. None: publishing is disabled.
    pub(crate) api_key: Option<RotatingSecret>,
    /// None: there are no accounts, so nobody is in a private room.
    pub(crate) readers: Option<Arc<dyn Readers>>,
}

impl Access {
    /// Ok if the request may read the history of this room; else the problem to answer with. Everybody may read public
    /// rooms.
    pub(crate) async fn reader(&self, headers: &HeaderMap, room: &RoomId) -> Result<(), Problem> {
        if room.kind() == RoomKind::Public {
            return Ok(());
        }
        let credentials = headers.get(header::AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()));
        let token = credentials.and_then(|token| str::from_utf8(token).ok());
        match (&self.readers, token) {
            (Some(readers), Some(token)) => readers.admit(token, room).await,
            _ => Err(no_such_room().into()),
        }
    }

    /// The user as whom the request may publish; or the problem to answer with.
    pub(crate) fn publisher(&self, headers: &HeaderMap) -> Result<UserId, Problem> {
        let Some(key) = &self.api_key else {
            let detail = "HTTP publish is disabled: see --api-key";
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()));
        if given.is_some_and(|given| given.ct_eq(key.current().reveal().as_bytes()).into()) {
            return Ok(UserId::api());
        }
        counter!(UNAUTHORIZED).increment(1);
        if let Some(held_back) = REFUSED.pass() {
            let reason = if given.is_some() { "the API key is another one" } else { "there is no bearer token" };
            warn!(reason, held_back, "a publish over HTTP is refused: see --api-key");
        }
        Err(Problem::new(StatusCode::UNAUTHORIZED, "send the API key as Authorization: Bearer"))
    }
}

/// The token after the scheme `Bearer`, which may be written in any case and be followed by several blanks (RFC 9110).
pub(crate) fn bearer_token(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked("bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && token.first().is_some_and(u8::is_ascii_whitespace);
    is_bearer.then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_as_rfc_9110_has_it() {
        for given in ["Bearer k y", "bearer k y", "BEARER  k y", "Bearer   k y ", "bEARER\tk y"] {
            assert_eq!(bearer_token(given.as_bytes()), Some(&b"k y"[..]), "{given}");
        }
        for given in ["", "Bearer", "Bearerk y", "Basic k y", "k y"] {
            assert_eq!(bearer_token(given.as_bytes()), None, "{given}");
        }
    }
}
