//! Who calls.

use axum::{extract::FromRequestParts, http::request::Parts};
use hubbub_protocol::UserId;

use crate::answer::Failure;

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
