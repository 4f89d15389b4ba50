//! Who calls.

use std::time::{Duration, Instant};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{StatusCode, request::Parts},
    middleware::Next,
    response::Response,
};
use hubbub_http::{problem::Problem, visitor::Visitor};
use hubbub_protocol::UserId;

use crate::{
    accounts::{AccountApi, SignedIn},
    answer::Failure,
};

/// The person that a call comes from. Whoever checks the token puts it into the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub user: UserId,
}

/// The account of a call. Without one the call is refused.
#[derive(Clone, Debug)]
pub(crate) struct Me(pub(crate) UserId);

impl<S: Send + Sync> FromRequestParts<S> for Me {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Caller>().ok_or(Failure::Unauthorized)?;
        Ok(Self(caller.user.clone()))
    }
}

/// Checks the token of a call, if it has one. A call without a token goes on: some are answered to everybody.
pub(crate) async fn admit(State(api): State<AccountApi>, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    if Visitor::from_request_parts(&mut parts, &api).await?.bearer().is_some() {
        let SignedIn(caller) = SignedIn::from_request_parts(&mut parts, &api).await?;
        if !parts.method.is_safe() {
            api.changes.take(&caller.account, Instant::now()).map_err(too_fast)?;
        }
        let _none_before = parts.extensions.insert(Caller { user: caller.account });
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn too_fast(wait: Duration) -> Problem {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many changes: each one tells others of it")
        .with_code("rate_limited")
        .retry_after_ms(wait)
}
