//! Why a frame of a client, or an HTTP request, is refused.

use serde::{Deserialize, Serialize};

use super::InvalidId;

/// The refusal of a frame. Over HTTP a problem document carries the same codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Refusal {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong, in English. The text may change.
    pub detail: String,
    /// The `id` of the refused publish, cut to 64 characters. Left out for other frames, and with `bad_frame`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Time in milliseconds after which the frame may be sent again. Only with `rate_limited` and `overloaded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without an `id` and without `retry_after_ms`.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), id: None, retry_after_ms: None }
    }

    /// The same, about the publish with this id.
    #[must_use]
    pub fn about(mut self, id: Option<&str>) -> Self {
        // An invalid id is sent back too, but no longer than a valid one can be.
        self.id = id.map(|id| id.chars().take(64).collect());
        self
    }

    /// The same, with a time after which the frame may be sent again.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

/// Why a frame of a client, or an HTTP request, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame is not a JSON object with a `type`, or one of its fields has a wrong type. Three such frames in a row close
    /// the connection with 4500.
    BadFrame,
    /// The server knows no frame of this `type`. It counts towards the three of `bad_frame`.
    UnknownType,
    /// The first frame was not `hello`.
    HelloRequired,
    /// A second `hello` on the same connection.
    HelloRepeated,
    /// The name is not 1 to 64 characters, nothing of it can be seen, or it has control or text direction override
    /// characters.
    InvalidName,
    /// The session is not 16 bytes in base64url.
    InvalidSession,
    /// The room is neither 1 to 64 characters of `a-z0-9._-` with a letter or digit first, nor `~` and the 26 digits of a
    /// private room.
    InvalidRoom,
    /// The message id is not 1 to 64 characters of `A-Za-z0-9_-`.
    InvalidId,
    /// The sender has said something else in this room under this id. It was not said again: use another id.
    IdReused,
    /// The body has an escape that is half a character, such as `\ud83d` without its other half.
    InvalidBody,
    /// The body is larger than `body_bytes`.
    BodyTooLarge,
    /// The body is missing, or nothing of it can be seen.
    EmptyBody,
    /// The connection is not in the room it publishes to. Join it first.
    NotJoined,
    /// The connection would be in more than `rooms` rooms. Leave one first.
    TooManyRooms,
    /// Too many frames in too short a time. Send this one again after `retry_after_ms`.
    RateLimited,
    /// Too many publishes wait for the log, of all senders or of this one. Send this one again after `retry_after_ms`.
    Overloaded,
    /// This instance stops. Send the publish again on the next connection.
    Draining,
    /// The person is in the room, but may not do this in it.
    NotAllowed,
    /// There is no such room, or the person is not in it: the two cannot be told apart.
    NoSuchRoom,
    /// The token is none of this server, or is no longer valid because its session has ended.
    InvalidToken,
    /// The time of the token is over. Get another one.
    TokenExpired,
    /// Only people with an account may do this.
    AccountRequired,
    /// Only its author may do this.
    NotYours,
    /// The reaction is not one emoji.
    InvalidEmoji,
    /// There is no such file, or it is none of the person's own.
    NoSuchFile,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 25] = [
        Self::BadFrame,
        Self::UnknownType,
        Self::HelloRequired,
        Self::HelloRepeated,
        Self::InvalidName,
        Self::InvalidSession,
        Self::InvalidRoom,
        Self::InvalidId,
        Self::IdReused,
        Self::InvalidBody,
        Self::BodyTooLarge,
        Self::EmptyBody,
        Self::NotJoined,
        Self::TooManyRooms,
        Self::RateLimited,
        Self::Overloaded,
        Self::Draining,
        Self::NotAllowed,
        Self::NoSuchRoom,
        Self::InvalidToken,
        Self::TokenExpired,
        Self::AccountRequired,
        Self::NotYours,
        Self::InvalidEmoji,
        Self::NoSuchFile,
    ];

    /// The code as it stands in a frame.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::UnknownType => "unknown_type",
            Self::HelloRequired => "hello_required",
            Self::HelloRepeated => "hello_repeated",
            Self::InvalidName => "invalid_name",
            Self::InvalidSession => "invalid_session",
            Self::InvalidRoom => "invalid_room",
            Self::InvalidId => "invalid_id",
            Self::IdReused => "id_reused",
            Self::InvalidBody => "invalid_body",
            Self::BodyTooLarge => "body_too_large",
            Self::EmptyBody => "empty_body",
            Self::NotJoined => "not_joined",
            Self::TooManyRooms => "too_many_rooms",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::NotAllowed => "not_allowed",
            Self::NoSuchRoom => "no_such_room",
            Self::InvalidToken => "invalid_token",
            Self::TokenExpired => "token_expired",
            Self::AccountRequired => "account_required",
            Self::NotYours => "not_yours",
            Self::InvalidEmoji => "invalid_emoji",
            Self::NoSuchFile => "no_such_file",
        }
    }

    /// Whether it counts towards the three in a row that close a connection.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::BadFrame | Self::UnknownType)
    }
}

impl From<InvalidId> for ErrorCode {
    fn from(invalid: InvalidId) -> Self {
        match invalid {
            InvalidId::Room => Self::InvalidRoom,
            InvalidId::Inbox => Self::NoSuchRoom,
            InvalidId::Message => Self::InvalidId,
            InvalidId::Name => Self::InvalidName,
            InvalidId::GuestSecret | InvalidId::Session => Self::InvalidSession,
        }
    }
}

impl From<InvalidId> for Refusal {
    fn from(invalid: InvalidId) -> Self {
        Self::new(invalid.into(), invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_error_code_is_what_stands_in_a_frame() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }
}
