//! What calls send: ids in the path, parts of lists, and bodies in JSON.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, request::Parts},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_messenger::{
    group_id::GroupId,
    sight::{Listing, Span},
};
use hubbub_protocol::{RoomId, RoomKind, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::answer::Failure;

/// Items of a list, unless the call sets a limit.
const DEFAULT_ITEMS: usize = 50;

/// The most items.
const MAX_ITEMS: usize = 200;

/// The body of a call.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Failure::field("body", "invalid_body", error.body_text()))
            }
            Err(error) => Err(Failure::Unreadable(error.status(), error.body_text())),
        }
    }
}

/// The ids in the path of a call. What is no id is nothing that anybody could see.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

/// Something that stands in a path.
pub(crate) trait Name: Sized + Send {
    /// Reads it.
    fn read(text: &str) -> Option<Self>;
}

impl Name for UserId {
    fn read(text: &str) -> Option<Self> {
        Self::stored(text)
    }
}

impl Name for GroupId {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Name for RoomId {
    /// Inboxes have no name for anybody.
    fn read(text: &str) -> Option<Self> {
        Self::stored(text).filter(|room| room.kind() != RoomKind::Inbox)
    }
}

/// A person that a body names. An id that nobody can have is told apart: it says nothing of anybody.
pub(crate) fn user(field: &'static str, text: &str) -> Result<UserId, Failure> {
    UserId::stored(text).ok_or_else(|| Failure::field(field, "invalid_id", "22 characters of base64url"))
}

/// A token of any form: only its hash is looked up.
impl Name for String {
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl<T: Name, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Failure::UNKNOWN);
        };
        T::read(&text).map(Self).ok_or(Failure::UNKNOWN)
    }
}

impl<T: Name, U: Name, S: Send + Sync> FromRequestParts<S> for Named<(T, U)> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Ok(Path((first, second))) = Path::<(String, String)>::from_request_parts(parts, state).await else {
            return Err(Failure::UNKNOWN);
        };
        T::read(&first).zip(U::read(&second)).map(Self).ok_or(Failure::UNKNOWN)
    }
}

/// What a list is asked for.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    q: String,
}

/// A part of a list, and what is looked for in it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) span: Span,
    pub(crate) q: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<Asked>::from_request_parts(parts, state).await;
        let Query(asked) = query.map_err(|error| Failure::field("limit", "invalid_query", error.body_text()))?;
        let decode = |cursor: &String| String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok();
        let after = match &asked.cursor {
            Some(cursor) => decode(cursor).filter(|key| !key.contains('\0')),
            None => Some(String::new()),
        };
        let after =
            after.ok_or_else(|| Failure::field("cursor", "invalid_cursor", "a cursor is `next` of an answer"))?;
        let limit = asked.limit.unwrap_or(DEFAULT_ITEMS).clamp(1, MAX_ITEMS);
        Ok(Self { span: Span { after, limit }, q: asked.q })
    }
}

/// A part of a list, as callers get it.
#[derive(Debug, Serialize)]
pub(crate) struct Items<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> From<Listing<T>> for Items<T> {
    fn from(listing: Listing<T>) -> Self {
        Self { items: listing.items, next: listing.next.map(|key| URL_SAFE_NO_PAD.encode(key)) }
    }
}
