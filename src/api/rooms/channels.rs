//! Direct rooms, channels, and public rooms as they are listed.

use axum::extract::State;
use hubbub_messenger::{
    change::Settings,
    channels::{ChannelEdit, NewChannel},
    group_id::GroupId,
    room::{Notify, Posting, Room, RoomView, Visibility},
};
use hubbub_protocol::{RoomId, RoomKind, UnixMillis, UserId};
use serde::Deserialize;

use super::{
    Rooms,
    groups::{NewMembers, Rank},
};
use crate::{
    answer::{Answer, Failure, done, found, found_if, made},
    caller::Me,
    input::{Body, Items, Named, Part, user},
};

/// `GET /v1/rooms?q=`: public rooms that are listed. The lobby always is.
pub(super) async fn public(State(rooms): State<Rooms>, Me(_): Me, part: Part) -> Answer {
    if part.q.chars().any(char::is_control) {
        return Err(Failure::field("q", "invalid_query", "no control characters"));
    }
    let mut listed = rooms.sight.public_rooms(&part.q, &part.span).await?;
    let lobby = RoomId::lobby();
    let begins = part.span.after.is_empty() && lobby.as_str().starts_with(&part.q);
    if begins && listed.items.iter().all(|view| view.room.id != lobby) {
        listed.items.insert(0, RoomView { room: Room::public(lobby), peer: None, mine: None });
    }
    found(&Items::from(listed))
}

/// The body of `POST /v1/rooms/direct`.
#[derive(Debug, Deserialize)]
pub(super) struct NewDirect {
    user: String,
}

/// `POST /v1/rooms/direct`
pub(super) async fn direct(State(rooms): State<Rooms>, Me(me): Me, Body(new): Body<NewDirect>) -> Answer {
    let (room, is_new) = rooms.directs.open(&me, &user("user", &new.user)?).await?;
    let view = rooms.sight.room(&me, &room).await?.ok_or(Failure::UNKNOWN)?;
    if is_new { made(&view) } else { found(&view) }
}

/// The body of `POST /v1/groups/{g}/channels`.
#[derive(Debug, Deserialize)]
pub(super) struct NewRoom {
    name: String,
    #[serde(default)]
    topic: String,
    visibility: Option<Visibility>,
    posting: Option<Posting>,
}

/// `POST /v1/groups/{g}/channels`
pub(super) async fn make(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(group): Named<GroupId>,
    Body(new): Body<NewRoom>,
) -> Answer {
    let new = NewChannel {
        name: new.name,
        topic: new.topic,
        visibility: new.visibility.unwrap_or(Visibility::Open),
        posting: new.posting.unwrap_or(Posting::Members),
    };
    let room = rooms.channels.make(&me, &group, new).await?;
    made(&rooms.sight.room(&me, &room).await?.ok_or(Failure::UNKNOWN)?)
}

/// A room that the caller sees. Every public room is there, whether somebody was in it or not.
async fn seen(rooms: &Rooms, me: &UserId, room: &RoomId) -> Result<RoomView, Failure> {
    match room.kind() {
        RoomKind::Public => Ok(RoomView { room: Room::public(room.clone()), peer: None, mine: None }),
        _ => rooms.sight.room(me, room).await?.ok_or(Failure::UNKNOWN),
    }
}

/// `GET /v1/rooms/{room}`
pub(super) async fn one(State(rooms): State<Rooms>, Me(me): Me, Named(room): Named<RoomId>) -> Answer {
    found(&seen(&rooms, &me, &room).await?)
}

/// The body of `PATCH /v1/rooms/{room}`.
#[derive(Debug, Deserialize)]
pub(super) struct Edit {
    name: Option<String>,
    topic: Option<String>,
    visibility: Option<Visibility>,
    posting: Option<Posting>,
    listed: Option<bool>,
}

/// `PATCH /v1/rooms/{room}`
pub(super) async fn edit(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(room): Named<RoomId>,
    Body(edit): Body<Edit>,
) -> Answer {
    let Edit { name, topic, visibility, posting, listed } = edit;
    if room.kind() == RoomKind::Public {
        rooms.channels.list(&me, &room, listed, topic.as_deref()).await?;
    } else {
        rooms.channels.edit(&me, &room, ChannelEdit { name, topic, visibility, posting }).await?;
    }
    found(&seen(&rooms, &me, &room).await?)
}

/// `DELETE /v1/rooms/{room}`: archives a channel.
pub(super) async fn archive(State(rooms): State<Rooms>, Me(me): Me, Named(room): Named<RoomId>) -> Answer {
    rooms.channels.archive(&me, &room).await?;
    done()
}

/// `POST /v1/rooms/{room}/join`
pub(super) async fn join(State(rooms): State<Rooms>, Me(me): Me, Named(room): Named<RoomId>) -> Answer {
    rooms.channels.join(&me, &room).await?;
    found_if(rooms.sight.room(&me, &room).await?)
}

/// `POST /v1/rooms/{room}/leave`
pub(super) async fn leave(State(rooms): State<Rooms>, Me(me): Me, Named(room): Named<RoomId>) -> Answer {
    rooms.channels.leave(&me, &room).await?;
    done()
}

/// `GET /v1/rooms/{room}/members`
pub(super) async fn members(State(rooms): State<Rooms>, Me(me): Me, Named(room): Named<RoomId>, part: Part) -> Answer {
    let view = rooms.sight.room(&me, &room).await?.ok_or(Failure::UNKNOWN)?;
    if view.mine.is_none() {
        return Err(Failure::forbidden("you are not in this channel"));
    }
    found(&Items::from(rooms.sight.room_members(&me, &room, &part.span).await?))
}

/// `POST /v1/rooms/{room}/members`
pub(super) async fn add(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(room): Named<RoomId>,
    Body(new): Body<NewMembers>,
) -> Answer {
    rooms.channels.add(&me, &room, new.users()?).await?;
    done()
}

/// `PUT /v1/rooms/{room}/members/{user}`
pub(super) async fn put(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named((room, other)): Named<(RoomId, UserId)>,
    Body(rank): Body<Rank>,
) -> Answer {
    rooms.channels.put(&me, &room, &other, rank.role).await?;
    done()
}

/// `DELETE /v1/rooms/{room}/members/{user}`
pub(super) async fn remove(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named((room, other)): Named<(RoomId, UserId)>,
) -> Answer {
    rooms.channels.remove(&me, &room, &other).await?;
    done()
}

/// The body of `PATCH /v1/rooms/{room}/me`.
#[derive(Debug, Deserialize)]
pub(super) struct Mine {
    notify: Option<Notify>,
    muted_until: Option<UnixMillis>,
    pinned: Option<bool>,
}

/// `PATCH /v1/rooms/{room}/me`
pub(super) async fn set(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(room): Named<RoomId>,
    Body(mine): Body<Mine>,
) -> Answer {
    let Mine { notify, muted_until, pinned } = mine;
    if muted_until.is_some_and(|until| i64::try_from(until).is_err()) {
        return Err(Failure::field("muted_until", "out_of_range", "a time in milliseconds since 1970"));
    }
    rooms.channels.set(&me, &room, Settings { notify, muted_until, pinned }).await?;
    found_if(rooms.sight.room(&me, &room).await?)
}
