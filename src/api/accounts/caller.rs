//! Whose call it is.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use hubbub_http::{problem::Problem, visitor::Visitor};
use hubbub_messenger::accounts::{AccountError, Caller, CallerKind, Client};

use super::{
    AccountApi,
    answer::{self, problem},
};

/// Tells a browser from which somebody has signed in before.
pub(super) const MARK_COOKIE: &str = "hubbub_browser";

/// Whose call it is. 401 without a token that counts.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn
where
    AccountApi: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        let caller = caller(&AccountApi::from_ref(state), &visitor).await?;
        let reads = parts.method.is_safe();
        match caller.by {
            CallerKind::PersonalToken { may_write: false } if !reads => Err(problem(AccountError::NotAllowed)),
            _ => Ok(Self(caller)),
        }
    }
}

/// Whose call it is, if it is one of a session. Personal access tokens may not touch the account itself.
#[derive(Clone, Debug)]
pub(crate) struct InSession(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for InSession
where
    AccountApi: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let SignedIn(caller) = SignedIn::from_request_parts(parts, state).await?;
        if caller.by == CallerKind::Session { Ok(Self(caller)) } else { Err(problem(AccountError::NotAllowed)) }
    }
}

pub(super) async fn caller(api: &AccountApi, visitor: &Visitor) -> Result<Caller, Problem> {
    let Some(token) = visitor.bearer() else { return Err(answer::no_token()) };
    api.accounts.authorize(token).await.map_err(problem)
}

pub(super) fn client(visitor: &Visitor) -> Client {
    Client {
        address: visitor.address,
        is_local: visitor.is_local,
        user_agent: visitor.user_agent().to_owned(),
        mark: visitor.cookie_of_any_origin(MARK_COOKIE),
    }
}
