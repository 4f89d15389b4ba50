//! What administrators do with accounts.

use axum::{
    extract::{FromRequestParts, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};
use hubbub_http::{
    json::{JsonBody, private},
    problem::Problem,
};
use hubbub_messenger::{
    account::{Account, AccountState},
    accounts::AccountError,
};
use hubbub_protocol::UserId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AccountApi, InSession,
    answer::{OwnAccount, problem},
};

/// Accounts of a page, unless the request sets a limit.
const DEFAULT_PAGE: usize = 50;
/// The most accounts of a page.
const MAX_PAGE: usize = 200;

/// The caller is an administrator, as the database has it now. For others these calls do not exist.
pub(super) struct Administrator;

impl FromRequestParts<AccountApi> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &AccountApi) -> Result<Self, Problem> {
        let InSession(caller) = InSession::from_request_parts(parts, api).await?;
        let account = api.accounts.account(&caller.account).await.map_err(problem)?;
        let is_administrator = account.administrator && account.state == AccountState::Active;
        is_administrator.then_some(Self).ok_or_else(|| problem(AccountError::NotFound("call")))
    }
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    account: OwnAccount,
    state: &'static str,
}

impl From<Account> for Listed {
    fn from(account: Account) -> Self {
        Self { state: account.state.name(), account: account.into() }
    }
}

#[derive(Deserialize)]
pub(super) struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/admin/users`
pub(super) async fn list(
    State(api): State<AccountApi>,
    _: Administrator,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(page) = page.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let accounts = api.accounts.list(page.cursor.unwrap_or_default(), limit).await.map_err(problem)?;
    let next = accounts.last().filter(|_| accounts.len() == limit).map(|account| account.username.clone());
    let items: Vec<Listed> = accounts.into_iter().map(Listed::from).collect();
    Ok(private(StatusCode::OK, &json!({"items": items, "next": next})))
}

#[derive(Deserialize)]
pub(super) struct ChangeBody {
    disabled: Option<bool>,
    administrator: Option<bool>,
}

/// `PATCH /v1/admin/users/{id}`
pub(super) async fn change(
    State(api): State<AccountApi>,
    _: Administrator,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ChangeBody>,
) -> Result<Response, Problem> {
    let unknown = || problem(AccountError::NotFound("account"));
    let id = UserId::stored(&id).ok_or_else(unknown)?;
    if let Some(disabled) = body.disabled {
        let state = if disabled { AccountState::Disabled } else { AccountState::Active };
        api.accounts.set_state(&id, state).await.map_err(problem)?;
    }
    if let Some(administrator) = body.administrator {
        api.accounts.set_administrator(&id, administrator).await.map_err(problem)?;
    }
    Ok(private(StatusCode::OK, &Listed::from(api.accounts.account(&id).await.map_err(problem)?)))
}
