//! Making an account, signing in and out, and refreshing.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hubbub_http::{
    json::{JsonBody, private},
    problem::Problem,
    visitor::Visitor,
};
use hubbub_messenger::{
    accounts::{AccountError, Registration, SignedIn},
    session::{Ending, RefreshToken, SESSION_LIFE},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AccountApi,
    answer::{OwnAccount, problem},
    caller::{InSession, MARK_COOKIE, caller, client},
};

/// Has the refresh token of a browser.
const REFRESH_COOKIE: &str = "hubbub_refresh";
/// How long a browser keeps its mark, in seconds.
const MARK_LIFE: u64 = 365 * 24 * 60 * 60;

/// `GET /v1/auth/methods`
pub(super) async fn methods(State(api): State<AccountApi>) -> Response {
    let methods = json!({"registration": api.accounts.registration().name(), "guests": api.guests, "mail": api.accounts.offers_mail()});
    private(StatusCode::OK, &methods)
}

#[derive(Deserialize)]
pub(super) struct RegisterBody {
    #[serde(default)]
    username: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    invite: Option<String>,
    cookie: Option<bool>,
}

/// `POST /v1/auth/register`
pub(super) async fn register(
    State(api): State<AccountApi>,
    visitor: Visitor,
    JsonBody(body): JsonBody<RegisterBody>,
) -> Result<Response, Problem> {
    visitor.refuse_foreign_pages()?;
    let RegisterBody { username, name, password, invite, cookie } = body;
    let given = Registration { username, name, password, invite };
    let signed_in = api.accounts.register(given, &client(&visitor)).await.map_err(problem)?;
    Ok(granted(&api, &visitor, StatusCode::CREATED, signed_in, keeps(cookie)))
}

#[derive(Deserialize)]
pub(super) struct LoginBody {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    cookie: Option<bool>,
}

/// `POST /v1/auth/login`
pub(super) async fn login(
    State(api): State<AccountApi>,
    visitor: Visitor,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<Response, Problem> {
    visitor.refuse_foreign_pages()?;
    let client = client(&visitor);
    let signed_in = api.accounts.sign_in(&body.username, &body.password, &client).await.map_err(problem)?;
    Ok(granted(&api, &visitor, StatusCode::OK, signed_in, keeps(body.cookie)))
}

#[derive(Default, Deserialize)]
pub(super) struct RefreshBody {
    refresh_token: Option<String>,
}

/// `POST /v1/auth/refresh`
pub(super) async fn refresh(
    State(api): State<AccountApi>,
    visitor: Visitor,
    body: Option<JsonBody<RefreshBody>>,
) -> Result<Response, Problem> {
    let (token, keeps) = refresh_token(&visitor, body)?.ok_or_else(|| problem(AccountError::SessionEnded))?;
    match api.accounts.refresh(&token, &client(&visitor)).await {
        Ok(signed_in) => Ok(granted(&api, &visitor, StatusCode::OK, signed_in, keeps)),
        Err(AccountError::SessionEnded) => {
            let mut response = problem(AccountError::SessionEnded).into_response();
            forget(&api, &visitor, &mut response);
            Ok(response)
        }
        Err(error) => Err(problem(error)),
    }
}

/// `POST /v1/auth/logout`
pub(super) async fn logout(
    State(api): State<AccountApi>,
    visitor: Visitor,
    body: Option<JsonBody<RefreshBody>>,
) -> Result<Response, Problem> {
    if let Some((token, _)) = refresh_token(&visitor, body)? {
        api.accounts.sign_out(&token).await.map_err(problem)?;
    } else if visitor.bearer().is_some() {
        let caller = caller(&api, &visitor).await?;
        api.accounts.end(&caller.account, Ending::One(caller.session)).await.map_err(problem)?;
    }
    Ok(gone(&api, &visitor))
}

/// `POST /v1/auth/logout-all`
pub(super) async fn logout_all(
    State(api): State<AccountApi>,
    visitor: Visitor,
    InSession(caller): InSession,
) -> Result<Response, Problem> {
    api.accounts.end(&caller.account, Ending::All).await.map_err(problem)?;
    Ok(gone(&api, &visitor))
}

/// Where a refresh token is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// In a cookie.
    Cookie,
    /// By the client, which gets it in the body.
    Client,
}

fn keeps(cookie: Option<bool>) -> Keeping {
    if cookie.unwrap_or(true) { Keeping::Cookie } else { Keeping::Client }
}

/// The refresh token of a request: that of the body wins.
fn refresh_token(
    visitor: &Visitor,
    body: Option<JsonBody<RefreshBody>>,
) -> Result<Option<(RefreshToken, Keeping)>, Problem> {
    let ended = |_| problem(AccountError::SessionEnded);
    if let Some(token) = body.and_then(|JsonBody(body)| body.refresh_token) {
        return Ok(Some((token.parse().map_err(ended)?, Keeping::Client)));
    }
    let cookie = visitor.cookie(REFRESH_COOKIE)?.filter(|value| !value.is_empty());
    cookie.map(|token| Ok((token.parse().map_err(ended)?, Keeping::Cookie))).transpose()
}

#[derive(Serialize)]
struct Granted {
    user: OwnAccount,
    access_token: String,
    expires_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Answers with the tokens of somebody who has signed in.
pub(super) fn granted(
    api: &AccountApi,
    visitor: &Visitor,
    status: StatusCode,
    signed_in: SignedIn,
    keeping: Keeping,
) -> Response {
    let SignedIn { account, access_token, refresh, mark, .. } = signed_in;
    let in_body = keeping == Keeping::Client;
    let body = Granted {
        user: account.into(),
        access_token: access_token.token,
        expires_at: access_token.expires_at,
        refresh_token: in_body.then(|| refresh.reveal()),
    };
    let mut response = private(status, &body);
    if !in_body {
        set_cookie(api, visitor, &mut response, REFRESH_COOKIE, &refresh.reveal(), SESSION_LIFE.as_secs());
        if let Some(mark) = mark {
            set_cookie(api, visitor, &mut response, MARK_COOKIE, &mark, MARK_LIFE);
        }
    }
    response
}

/// 204, and the browser forgets the refresh token.
pub(super) fn gone(api: &AccountApi, visitor: &Visitor) -> Response {
    let mut response = (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response();
    forget(api, visitor, &mut response);
    response
}

fn forget(api: &AccountApi, visitor: &Visitor, response: &mut Response) {
    set_cookie(api, visitor, response, REFRESH_COOKIE, "", 0);
}

fn set_cookie(api: &AccountApi, visitor: &Visitor, response: &mut Response, name: &str, value: &str, seconds: u64) {
    let secure = if api.is_secure || visitor.is_secure { "; Secure" } else { "" };
    let path = format!("{}/v1/auth", api.base_path);
    let cookie = format!("{name}={value}; Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        let _another = response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
