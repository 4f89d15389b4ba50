//! People, and what they are to the caller.

use axum::extract::State;
use hubbub_protocol::UserId;
use serde::Deserialize;

use super::Rooms;
use crate::{
    answer::{Answer, Failure, done, found, found_if},
    caller::Me,
    input::{Body, Items, Named, Part},
};

/// Fewer characters would find too many.
const MIN_BEGINNING: usize = 3;

/// `GET /v1/users?q=`
pub(super) async fn find(State(rooms): State<Rooms>, Me(me): Me, part: Part) -> Answer {
    let q = part.q.trim();
    if q.chars().count() < MIN_BEGINNING || q.chars().any(char::is_control) {
        return Err(Failure::field("q", "too_short", format!("at least {MIN_BEGINNING} characters of a name")));
    }
    let people = rooms.sight.find(&me, q, rooms.options.reach, &part.span).await?;
    found(&Items::from(people))
}

/// `GET /v1/users/{id}`
pub(super) async fn person(State(rooms): State<Rooms>, Me(me): Me, Named(user): Named<UserId>) -> Answer {
    found_if(rooms.sight.person(&me, &user, rooms.options.reach).await?)
}

/// `GET /v1/contacts`
pub(super) async fn contacts(State(rooms): State<Rooms>, Me(me): Me, part: Part) -> Answer {
    found(&Items::from(rooms.sight.contacts(&me, &part.span).await?))
}

/// What the caller wants another person to be.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    /// A contact.
    #[default]
    Accepted,
    /// Somebody not to hear of.
    Blocked,
}

/// The body of `PUT /v1/contacts/{user}`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NewContact {
    #[serde(default)]
    state: Wanted,
}

/// `PUT /v1/contacts/{user}`: asks, accepts, or blocks.
pub(super) async fn put_contact(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(user): Named<UserId>,
    Body(wanted): Body<NewContact>,
) -> Answer {
    match wanted.state {
        Wanted::Accepted => rooms.contacts.ask(&me, &user).await?,
        Wanted::Blocked => rooms.contacts.block(&me, &user).await?,
    }
    found_if(rooms.sight.contact(&me, &user).await?)
}

/// `DELETE /v1/contacts/{user}`
pub(super) async fn remove_contact(State(rooms): State<Rooms>, Me(me): Me, Named(user): Named<UserId>) -> Answer {
    rooms.contacts.remove(&me, &user).await?;
    done()
}
