//! The own account.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hubbub_http::{
    json::{JsonBody, private},
    problem::Problem,
};
use hubbub_messenger::{
    accounts::AccountError,
    session::{Ending, SessionView},
};
use hubbub_protocol::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AccountApi, InSession, SignedIn,
    answer::{OwnAccount, problem},
};

/// `GET /v1/me`
pub(super) async fn show(State(api): State<AccountApi>, SignedIn(caller): SignedIn) -> Result<Response, Problem> {
    let account = api.accounts.account(&caller.account).await.map_err(problem)?;
    Ok(private(StatusCode::OK, &OwnAccount::from(account)))
}

#[derive(Deserialize)]
pub(super) struct ProfileBody {
    name: Option<String>,
    about: Option<String>,
}

/// `PATCH /v1/me`
pub(super) async fn change(
    State(api): State<AccountApi>,
    InSession(caller): InSession,
    JsonBody(body): JsonBody<ProfileBody>,
) -> Result<Response, Problem> {
    let changed = api.accounts.change_profile(&caller.account, body.name.as_deref(), body.about.as_deref());
    Ok(private(StatusCode::OK, &OwnAccount::from(changed.await.map_err(problem)?)))
}

#[derive(Serialize)]
struct ListedSession {
    #[serde(flatten)]
    session: SessionView,
    current: bool,
}

/// `GET /v1/me/sessions`
pub(super) async fn sessions(State(api): State<AccountApi>, InSession(caller): InSession) -> Result<Response, Problem> {
    let sessions = api.accounts.sessions(&caller.account).await.map_err(problem)?;
    let listed = |session: SessionView| ListedSession { current: session.id == caller.session, session };
    let items: Vec<_> = sessions.into_iter().map(listed).collect();
    Ok(private(StatusCode::OK, &json!({"items": items, "next": null})))
}

/// `DELETE /v1/me/sessions/{id}`
pub(super) async fn end_session(
    State(api): State<AccountApi>,
    InSession(caller): InSession,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let unknown = || problem(AccountError::NotFound("session"));
    let id: SessionId = id.parse().map_err(|_| unknown())?;
    let sessions = api.accounts.sessions(&caller.account).await.map_err(problem)?;
    if !sessions.iter().any(|session| session.id == id) {
        return Err(unknown());
    }
    api.accounts.end(&caller.account, Ending::One(id)).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
