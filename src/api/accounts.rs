//! Accounts over HTTP, and accounts at the `hello` of a WebSocket.

mod administration;
mod answer;
mod auth;
mod caller;
mod ended;
mod identity;
mod me;
mod personal_tokens;
mod recovery;

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, patch, post, put},
};
use hubbub_lifecycle::{Buckets, Rate};
use hubbub_messenger::{accounts::Accounts, groups::Groups, sight::Sight};
use hubbub_protocol::UserId;

pub(crate) use self::{answer::problem, caller::InSession};
pub use self::{
    caller::SignedIn,
    ended::note_ends,
    identity::{AccountIdentity, NodeSockets},
};

/// What the calls of accounts need.
#[derive(Clone, Debug)]
pub struct AccountApi {
    /// The service.
    pub accounts: Accounts,
    /// The groups that a person leaves with its account.
    pub groups: Groups,
    /// How many changes of rooms, groups and contacts a person may make.
    pub changes: Arc<Buckets<UserId>>,
    /// In which groups a person is.
    pub sight: Arc<dyn Sight>,
    /// Whether guests may come in, for the page.
    pub guests: bool,
    /// The path under which the server is reached, without a `/` at its end. Cookies are for it only.
    pub base_path: String,
    /// Whether the server is reached over TLS only.
    pub is_secure: bool,
}

/// How many changes one person may make: as many as a quick person with a page, and no more than others bear.
pub const CHANGES: Rate = Rate { per_second: 5.0, burst: 100.0 };

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
