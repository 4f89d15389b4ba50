//! Links into groups.

use axum::extract::State;
use hubbub_messenger::{
    group_id::GroupId,
    groups::InviteTerms,
    invite::{Invite, hash},
    rank::Action,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Rooms, groups::leading};
use crate::{
    answer::{Answer, Failure, done, found, found_if, made},
    caller::Me,
    input::{Body, Items, Named, Part},
};

/// How long a link lives, unless the call says it, in seconds.
const DEFAULT_SECONDS: u64 = 7 * 24 * 3600;

/// The body of `POST /v1/groups/{g}/invites`.
#[derive(Debug, Deserialize)]
pub(super) struct NewInvite {
    expires_in: Option<u64>,
    uses: Option<u64>,
}

/// A link with what leads through it.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    invite: Invite,
    url: String,
    token: String,
}

/// `POST /v1/groups/{g}/invites`
pub(super) async fn make(
    State(rooms): State<Rooms>,
    Me(me): Me,
    Named(group): Named<GroupId>,
    Body(new): Body<NewInvite>,
) -> Answer {
    let terms = InviteTerms { seconds: new.expires_in.unwrap_or(DEFAULT_SECONDS), uses: new.uses };
    let (invite, token) = rooms.groups.invite(&me, &group, terms).await?;
    // behind `#` no server and no log gets it
    let url = format!("{}/#/invite/{token}", rooms.options.public_url);
    made(&Made { invite, url, token })
}

/// `GET /v1/groups/{g}/invites`
pub(super) async fn list(State(rooms): State<Rooms>, Me(me): Me, Named(group): Named<GroupId>, part: Part) -> Answer {
    leading(&rooms, &me, &group, Action::Invite).await?;
    found(&Items::from(rooms.sight.invites(&me, &group, &part.span).await?))
}

/// `DELETE /v1/groups/{g}/invites/{id}`
pub(super) async fn revoke(
    State(rooms): State<Rooms>,
    Me(me): Me,
    // links have ids of the form of groups
    Named((group, id)): Named<(GroupId, GroupId)>,
) -> Answer {
    rooms.groups.revoke(&me, &group, id.as_str()).await?;
    done()
}

/// `GET /v1/invites/{token}`: for anyone who has the link.
pub(super) async fn show(State(rooms): State<Rooms>, Named(token): Named<String>) -> Answer {
    let view = rooms.sight.invited(&hash(&token)).await?.ok_or(Failure::UNKNOWN)?;
    found(&json!({"group": {"name": view.group.name}}))
}

/// `POST /v1/invites/{token}/accept`
pub(super) async fn accept(State(rooms): State<Rooms>, Me(me): Me, Named(token): Named<String>) -> Answer {
    let group = rooms.groups.accept(&me, &token).await?;
    found_if(rooms.sight.group(&me, &group).await?)
}
