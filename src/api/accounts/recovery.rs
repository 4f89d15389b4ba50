//! Passwords and mail addresses: changed, reset and verified; the end of an account.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hubbub_http::{history::unavailable, json::JsonBody, problem::Problem, visitor::Visitor};
use serde::Deserialize;

use super::{
    AccountApi,
    answer::{AWAY_MS, problem},
    auth::gone,
    caller::{InSession, client},
};

#[derive(Deserialize)]
pub(super) struct ForgotBody {
    #[serde(default)]
    email: String,
}

/// `POST /v1/auth/password/forgot`
pub(super) async fn forgot(
    State(api): State<AccountApi>,
    visitor: Visitor,
    JsonBody(body): JsonBody<ForgotBody>,
) -> Result<Response, Problem> {
    visitor.refuse_foreign_pages()?;
    api.accounts.forgot_password(&body.email, &client(&visitor)).await.map_err(problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

#[derive(Deserialize)]
pub(super) struct ResetBody {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

/// `POST /v1/auth/password/reset`
pub(super) async fn reset(
    State(api): State<AccountApi>,
    visitor: Visitor,
    JsonBody(body): JsonBody<ResetBody>,
) -> Result<Response, Problem> {
    visitor.refuse_foreign_pages()?;
    api.accounts.reset_password(&body.token, &body.password, &client(&visitor)).await.map_err(problem)?;
    Ok(gone(&api, &visitor))
}

#[derive(Deserialize)]
pub(super) struct VerifyBody {
    #[serde(default)]
    token: String,
}

/// `POST /v1/auth/email/verify`
pub(super) async fn verify(
    State(api): State<AccountApi>,
    JsonBody(body): JsonBody<VerifyBody>,
) -> Result<Response, Problem> {
    api.accounts.verify_email(&body.token).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct PasswordBody {
    #[serde(default)]
    current: String,
    #[serde(default)]
    new: String,
}

/// `PUT /v1/me/password`
pub(super) async fn change_password(
    State(api): State<AccountApi>,
    visitor: Visitor,
    InSession(caller): InSession,
    JsonBody(body): JsonBody<PasswordBody>,
) -> Result<Response, Problem> {
    let client = client(&visitor);
    let changed = api.accounts.change_password(&caller, &body.current, &body.new, &client);
    changed.await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct EmailBody {
    email: Option<String>,
    #[serde(default)]
    password: String,
}

/// `PUT /v1/me/email`
pub(super) async fn change_email(
    State(api): State<AccountApi>,
    visitor: Visitor,
    InSession(caller): InSession,
    JsonBody(body): JsonBody<EmailBody>,
) -> Result<Response, Problem> {
    let client = client(&visitor);
    let changed = api.accounts.change_email(&caller, body.email.as_deref(), &body.password, &client);
    changed.await.map_err(problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

#[derive(Deserialize)]
pub(super) struct DeleteBody {
    #[serde(default)]
    password: String,
}

/// `DELETE /v1/me`
pub(super) async fn delete(
    State(api): State<AccountApi>,
    visitor: Visitor,
    InSession(caller): InSession,
    JsonBody(body): JsonBody<DeleteBody>,
) -> Result<Response, Problem> {
    let client = client(&visitor);
    let _account = api.accounts.confirm(&caller.account, &body.password, &client).await.map_err(problem)?;
    // before the account goes: whoever is interrupted here can ask again
    let left = api.groups.settle(&*api.sight, &caller.account).await;
    left.map_err(|error| unavailable(error.to_string(), AWAY_MS))?;
    api.accounts.delete(&caller, &body.password, &client).await.map_err(problem)?;
    // what it came into meanwhile; nobody can ask again
    if let Err(error) = api.groups.settle(&*api.sight, &caller.account).await {
        tracing::warn!(%error, "a deleted account may still be in a group that it came into at its end");
    }
    Ok(gone(&api, &visitor))
}
