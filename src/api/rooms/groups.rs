//! Groups, their members and bans.

use axum::extract::{Query, State, rejection::QueryRejection};
use hubbub_messenger::{
    group::Inside,
    group_id::GroupId,
    groups::GroupEdit,
    rank::{Action, Role, may},
    room::Visibility,
};
use hubbub_protocol::UserId;
use serde::Deserialize;

use super::Rooms;
use crate::{
    answer::{Answer, Failure, done, found, found_if, made},
    caller::Me,
    input::{Body, Items, Named, Part, user},
};

/// `GET /v1/groups`
pub(super) async fn list(State(rooms): State<Rooms>, Me(me): Me, part: Part) -> Answer {
    found(&Items::from(rooms.sight.groups(&me, &part.span).await?))
}

/// The body of `POST /v1/groups`.
#[derive(Debug, Deserialize)]
pub(super) struct NewGroup {
    name: String,
    #[serde(default)]
    about: String,
    visibility: Option<Visibility>,
}

/// `POST /v1/groups`
pub(super) async fn make(State(rooms): State<Rooms>, Me(me): Me, Body(new): Body<NewGroup>) -> Answer {
    let visibility = new.visibility.unwrap_or(Visibility::Private);
    let group = rooms.groups.make(&me, &new.name, &new.about, visibility).await?;
    made(&rooms.sight.group(&me, &group).await?.ok_or(Failure::UNKNOWN)?)
}

/// `GET /v1/groups/{g}`
pub(super) async fn one(State(rooms): State<Rooms>, Me(me): Me, Named(group): Named<GroupId>) -> Answer {
    found_if(rooms.sight.group(&me, &group).await?)
}

/// The body of `PATCH /v1/groups/{g}`.
#[derive(Debug, Deserialize)]
pub(super) struct Edit {
    name: Option<String>,
    about: Option<String>,
    visibility: Option<Visibility>,
}

/// `PATCH /v1/groups/{g}`
pub(super) async fn edit(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(group): Named<GroupId>,
    Body(edit): Body<Edit>,
) -> Answer {
    let Edit { name, about, visibility } = edit;
    rooms.groups.edit(&me, &group, GroupEdit { name, about, visibility }).await?;
    found_if(rooms.sight.group(&me, &group).await?)
}

/// `DELETE /v1/groups/{g}`: archives it.
pub(super) async fn archive(State(rooms): State<Rooms>, Me(me): Me, Named(group): Named<GroupId>) -> Answer {
    rooms.groups.archive(&me, &group).await?;
    done()
}

/// `POST /v1/groups/{g}/join`
pub(super) async fn join(State(rooms): State<Rooms>, Me(me): Me, Named(group): Named<GroupId>) -> Answer {
    rooms.groups.join(&me, &group).await?;
    found_if(rooms.sight.group(&me, &group).await?)
}

/// `POST /v1/groups/{g}/leave`
pub(super) async fn leave(State(rooms): State<Rooms>, Me(me): Me, Named(group): Named<GroupId>) -> Answer {
    rooms.groups.leave(&me, &group).await?;
    done()
}

/// What the caller is in a group. 403 for open groups that it is not in.
pub(super) async fn inside(rooms: &Rooms, me: &UserId, group: &GroupId) -> Result<Inside, Failure> {
    let view = rooms.sight.group(me, group).await?.ok_or(Failure::UNKNOWN)?;
    view.inside.ok_or(Failure::forbidden("you are not a member of this group"))
}

/// 403 unless the caller may do this in the group.
pub(super) async fn leading(rooms: &Rooms, me: &UserId, group: &GroupId, action: Action) -> Result<(), Failure> {
    let role = inside(rooms, me, group).await?.role;
    if may(role, action, None) { Ok(()) } else { Err(Failure::forbidden("your rank does not allow this")) }
}

/// `GET /v1/groups/{g}/members`
pub(super) async fn members(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(group): Named<GroupId>,
    part: Part,
) -> Answer {
    let _member = inside(&rooms, &me, &group).await?;
    found(&Items::from(rooms.sight.group_members(&me, &group, &part.span).await?))
}

/// The body of `POST …/members`.
#[derive(Debug, Deserialize)]
pub(super) struct NewMembers {
    users: Vec<String>,
}

impl NewMembers {
    pub(super) fn users(&self) -> Result<Vec<UserId>, Failure> {
        self.users.iter().map(|text| user("users", text)).collect()
    }
}

/// `POST /v1/groups/{g}/members`
pub(super) async fn add(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(group): Named<GroupId>,
    Body(new): Body<NewMembers>,
) -> Answer {
    rooms.groups.add(&me, &group, new.users()?).await?;
    done()
}

/// The body of `PUT …/members/{user}`.
#[derive(Debug, Deserialize)]
pub(super) struct Rank {
    pub(super) role: Option<Role>,
}

/// `PUT /v1/groups/{g}/members/{user}`
pub(super) async fn put(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named((group, other)): Named<(GroupId, UserId)>,
    Body(rank): Body<Rank>,
) -> Answer {
    rooms.groups.put(&me, &group, &other, rank.role).await?;
    done()
}

/// How a member is removed.
#[derive(Debug, Deserialize)]
pub(super) struct Removal {
    #[serde(default)]
    ban: bool,
}

/// `DELETE /v1/groups/{g}/members/{user}`
pub(super) async fn remove(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named((group, other)): Named<(GroupId, UserId)>,
    removal: Result<Query<Removal>, QueryRejection>,
) -> Answer {
    let Query(removal) = removal.map_err(|error| Failure::field("ban", "invalid_query", error.body_text()))?;
    if removal.ban {
        rooms.groups.ban(&me, &group, &other).await?;
    } else {
        rooms.groups.remove(&me, &group, &other).await?;
    }
    done()
}

/// `GET /v1/groups/{g}/bans`
pub(super) async fn bans(State(rooms): State<Rooms>, Me(me): Me, Named(group): Named<GroupId>, part: Part) -> Answer {
    leading(&rooms, &me, &group, Action::Pardon).await?;
    found(&Items::from(rooms.sight.bans(&me, &group, &part.span).await?))
}

/// `DELETE /v1/groups/{g}/bans/{user}`
pub(super) async fn pardon(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named((group, other)): Named<(GroupId, UserId)>,
) -> Answer {
    rooms.groups.pardon(&me, &group, &other).await?;
    done()
}
