//! Personal access tokens.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hubbub_http::{
    json::{JsonBody, private},
    problem::{FieldProblem, Problem},
};
use hubbub_messenger::{account_store::PersonalTokenView, accounts::AccountError};
use hubbub_protocol::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AccountApi, InSession, answer::problem};

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Read,
    Write,
}

#[derive(Serialize)]
struct Listed {
    id: SessionId,
    name: String,
    scopes: Vec<Scope>,
    created_at: u64,
    used_at: Option<u64>,
    /// Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<PersonalTokenView> for Listed {
    fn from(view: PersonalTokenView) -> Self {
        let PersonalTokenView { id, name, may_write, created_at, used_at } = view;
        let scopes = if may_write { vec![Scope::Read, Scope::Write] } else { vec![Scope::Read] };
        Self { id, name, scopes, created_at, used_at, token: None }
    }
}

#[derive(Deserialize)]
pub(super) struct NewBody {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<Scope>,
}

/// `POST /v1/me/tokens`
pub(super) async fn add(
    State(api): State<AccountApi>,
    InSession(caller): InSession,
    JsonBody(body): JsonBody<NewBody>,
) -> Result<Response, Problem> {
    if !body.scopes.contains(&Scope::Read) {
        let detail = "the scopes are read, or read and write";
        return Err(Problem::invalid(vec![FieldProblem { field: "scopes", code: "invalid_scopes", detail }]));
    }
    let may_write = body.scopes.contains(&Scope::Write);
    let added = api.accounts.add_personal_token(&caller, &body.name, may_write).await.map_err(problem)?;
    let (view, token) = added;
    Ok(private(StatusCode::CREATED, &Listed { token: Some(token), ..view.into() }))
}

/// `GET /v1/me/tokens`
pub(super) async fn list(State(api): State<AccountApi>, InSession(caller): InSession) -> Result<Response, Problem> {
    let tokens = api.accounts.personal_tokens(&caller.account).await.map_err(problem)?;
    let items: Vec<Listed> = tokens.into_iter().map(Listed::from).collect();
    Ok(private(StatusCode::OK, &json!({"items": items, "next": null})))
}

/// `DELETE /v1/me/tokens/{id}`
pub(super) async fn revoke(
    State(api): State<AccountApi>,
    InSession(caller): InSession,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| problem(AccountError::NotFound("token")))?;
    api.accounts.revoke_personal_token(&caller.account, id).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
