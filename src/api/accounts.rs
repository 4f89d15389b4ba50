//! Accounts over HTTP, and accounts at the `hello` of a WebSocket.

mod administration;
mod answer;
mod auth;
mod identity;
mod me;
mod personal_tokens;
mod recovery;

use axum::{
    Router,
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
    routing::{delete, get, patch, post, put},
};
use hubbub_http::{problem::Problem, visitor::Visitor};
use hubbub_messenger::accounts::{AccountError, Accounts, Caller, CallerKind, Client};

pub(crate) use self::answer::problem;
use self::auth::MARK_COOKIE;
pub use self::identity::{AccountIdentity, NodeSockets};

/// What the calls of accounts need.
#[derive(Clone, Debug)]
pub struct AccountApi {
    /// The service.
    pub accounts: Accounts,
    /// Whether guests may come in, for the page.
    pub guests: bool,
    /// The path under which the server is reached, without a `/` at its end. Cookies are for it only.
    pub base_path: String,
    /// Whether the server is reached over TLS only.
    pub is_secure: bool,
}

/// The calls.
pub fn routes(api: AccountApi) -> Router {
    Router::new()
        .route("/v1/auth/methods", get(auth::methods))
        .route("/v1/auth/register", post(auth::register))
        .route("/v1/auth/login", post(auth::login))
        .route("/v1/auth/refresh", post(auth::refresh))
        .route("/v1/auth/logout", post(auth::logout))
        .route("/v1/auth/logout-all", post(auth::logout_all))
        .route("/v1/auth/password/forgot", post(recovery::forgot))
        .route("/v1/auth/password/reset", post(recovery::reset))
        .route("/v1/auth/email/verify", post(recovery::verify))
        .route("/v1/me", get(me::show).patch(me::change).delete(recovery::delete))
        .route("/v1/me/password", put(recovery::change_password))
        .route("/v1/me/email", put(recovery::change_email))
        .route("/v1/me/tokens", get(personal_tokens::list).post(personal_tokens::add))
        .route("/v1/me/tokens/{id}", delete(personal_tokens::revoke))
        .route("/v1/admin/users", get(administration::list))
        .route("/v1/admin/users/{id}", patch(administration::change))
        .route("/v1/me/sessions", get(me::sessions))
        .route("/v1/me/sessions/{id}", delete(me::end_session))
        .with_state(api)
}

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

async fn caller(api: &AccountApi, visitor: &Visitor) -> Result<Caller, Problem> {
    let Some(token) = visitor.bearer() else { return Err(answer::no_token()) };
    api.accounts.authorize(token).await.map_err(problem)
}

fn client(visitor: &Visitor) -> Client {
    Client {
        address: visitor.address,
        is_local: visitor.is_local,
        user_agent: visitor.user_agent().to_owned(),
        mark: visitor.cookie_of_any_origin(MARK_COOKIE),
    }
}
