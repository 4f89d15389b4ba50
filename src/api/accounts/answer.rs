//! What the calls of accounts answer.

use std::time::Duration;

use axum::http::StatusCode;
use hubbub_http::problem::{FieldProblem, Problem};
use hubbub_messenger::{
    access_token::TokenRefusal,
    account::{Account, InvalidField},
    accounts::AccountError,
};
use hubbub_protocol::UserId;
use serde::Serialize;

/// The pause before a client should ask again while the database is away, in milliseconds.
pub(super) const AWAY_MS: u64 = 2000;
/// The same while too many passwords wait.
const BUSY_MS: u64 = 1000;

/// An account, as its person sees it.
#[derive(Serialize)]
pub(super) struct OwnAccount {
    id: UserId,
    username: String,
    name: String,
    about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    administrator: bool,
    created_at: u64,
}

impl From<Account> for OwnAccount {
    fn from(account: Account) -> Self {
        let Account { id, username, name, about, email, administrator, created_at, .. } = account;
        Self { id, username, name: name.into(), about, email, administrator, created_at }
    }
}

/// 401: there is no token.
pub(super) fn no_token() -> Problem {
    let detail = "send an access token as Authorization: Bearer";
    Problem::new(StatusCode::UNAUTHORIZED, detail).with_code("token_required")
}

/// The answer of a call that is refused.
pub(crate) fn problem(error: AccountError) -> Problem {
    let detail = error.to_string();
    let coded = |status, code| Problem::new(status, detail.clone()).with_code(code);
    match error {
        AccountError::Invalid(errors) => Problem::invalid(errors.iter().map(field).collect()),
        AccountError::UsernameTaken => coded(StatusCode::CONFLICT, "username_taken"),
        AccountError::RegistrationClosed => coded(StatusCode::FORBIDDEN, "registration_closed"),
        AccountError::NotInvited => coded(StatusCode::FORBIDDEN, "invitation_required"),
        AccountError::SetupNeeded => coded(StatusCode::FORBIDDEN, "set_up_required"),
        AccountError::WrongCredentials => coded(StatusCode::UNAUTHORIZED, "wrong_credentials"),
        AccountError::WrongPassword => coded(StatusCode::FORBIDDEN, "wrong_password"),
        AccountError::Token(TokenRefusal::Expired) => coded(StatusCode::UNAUTHORIZED, "token_expired"),
        AccountError::Token(_) => coded(StatusCode::UNAUTHORIZED, "invalid_token"),
        AccountError::SessionEnded => coded(StatusCode::UNAUTHORIZED, "session_ended"),
        AccountError::NotAllowed => coded(StatusCode::FORBIDDEN, "not_allowed"),
        AccountError::NotFound(_) => coded(StatusCode::NOT_FOUND, "not_found"),
        AccountError::TooMany => coded(StatusCode::CONFLICT, "too_many"),
        AccountError::TooFast(wait) => {
            coded(StatusCode::TOO_MANY_REQUESTS, "rate_limited").retry_after_ms(millis(wait))
        }
        AccountError::Busy => coded(StatusCode::SERVICE_UNAVAILABLE, "overloaded").retry_after_ms(BUSY_MS),
        AccountError::Unavailable => coded(StatusCode::SERVICE_UNAVAILABLE, "unavailable").retry_after_ms(AWAY_MS),
    }
}

fn field(invalid: &InvalidField) -> FieldProblem {
    let InvalidField { field, code, detail } = invalid;
    FieldProblem { field, code, detail }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}
