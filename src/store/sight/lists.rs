//! Lists of members, bans, links and public rooms.

use hubbub_messenger::{
    group::{Ban, Member},
    invite::Invite,
    rank::effective,
    room::{Room, RoomView},
    sight::{Listing, Span},
};
use hubbub_protocol::UserId;

use super::parts::{limit, listing};
use crate::{
    engine::Engine,
    facts::{InviteRow, invite_of},
    fault::Fault,
    shapes::{self, RoomRow, person, role, room_columns},
    statements::{Value, values},
};

pub(crate) const GROUP_MEMBERS: &str = "SELECT p.id, p.name, p.username, p.about, m.role, m.role, m.joined_at \
     FROM group_members AS m JOIN accounts AS p ON p.id = m.user_id \
     WHERE m.group_id = $2 AND m.user_id > $3 \
     AND EXISTS (SELECT 1 FROM group_members AS v WHERE v.group_id = $2 AND v.user_id = $1) \
     ORDER BY m.user_id LIMIT $4";

pub(crate) const ROOM_MEMBERS: &str = "SELECT p.id, p.name, p.username, p.about, m.role, g.role, m.joined_at \
     FROM room_members AS m JOIN accounts AS p ON p.id = m.user_id JOIN rooms AS r ON r.id = m.room_id \
     LEFT JOIN group_members AS g ON g.group_id = r.group_id AND g.user_id = m.user_id \
     WHERE m.room_id = $2 AND m.user_id > $3 \
     AND EXISTS (SELECT 1 FROM room_members AS v WHERE v.room_id = $2 AND v.user_id = $1) \
     ORDER BY m.user_id LIMIT $4";

pub(crate) const BANS: &str = "SELECT p.id, p.name, p.username, p.about, b.created_at \
     FROM group_bans AS b JOIN accounts AS p ON p.id = b.user_id \
     WHERE b.group_id = $2 AND b.user_id > $3 AND EXISTS (SELECT 1 FROM group_members AS v \
       WHERE v.group_id = $2 AND v.user_id = $1 AND v.role <> 'member') \
     ORDER BY b.user_id LIMIT $4";

pub(crate) const INVITES: &str = "SELECT i.id, i.group_id, i.expires_at, i.uses_left, i.created_by \
     FROM group_invites AS i WHERE i.group_id = $2 AND i.id > $3 AND EXISTS (SELECT 1 FROM group_members AS v \
       WHERE v.group_id = $2 AND v.user_id = $1 AND v.role <> 'member') \
     ORDER BY i.id LIMIT $4";

pub(crate) const PUBLIC_ROOMS: &str = concat!(
    "SELECT ",
    room_columns!(),
    " FROM rooms AS r WHERE r.listed = 1 AND r.kind = 'public' AND r.id >= $1 AND r.id < ($1 || $2) AND r.id > $3 \
     ORDER BY r.id LIMIT $4"
);

/// A person, its ranks in what is listed and in the group of that, and since when.
type MemberRow = (String, String, String, String, String, Option<String>, i64);

/// The parameters of a list.
pub(super) fn values_of(viewer: &UserId, of: &str, span: &Span) -> Vec<Value> {
    values![viewer.as_str(), of, span.after.as_str(), limit(span)]
}

pub(super) async fn members(
    engine: &Engine,
    sql: &'static str,
    values: Vec<Value>,
    span: &Span,
) -> Result<Listing<Member>, Fault> {
    let rows: Vec<MemberRow> = engine.rows(sql, values).await?;
    let members = rows.into_iter().map(|(id, name, username, about, own, in_group, at)| {
        let in_group = in_group.as_deref().map(role).transpose()?;
        let (person, role) = (person((id, name, username, about))?, effective(role(&own)?, in_group));
        Ok(Member { person, role, joined_at: at.unsigned_abs() })
    });
    let members = members.collect::<Result<Vec<_>, Fault>>()?;
    Ok(listing(members, span, |member| member.person.id.as_str().to_owned()))
}

pub(super) async fn bans(engine: &Engine, values: Vec<Value>, span: &Span) -> Result<Listing<Ban>, Fault> {
    let rows: Vec<(String, String, String, String, i64)> = engine.rows(BANS, values).await?;
    let bans = rows.into_iter().map(|(id, name, username, about, at)| {
        Ok(Ban { person: person((id, name, username, about))?, created_at: at.unsigned_abs() })
    });
    let bans = bans.collect::<Result<Vec<_>, Fault>>()?;
    Ok(listing(bans, span, |ban| ban.person.id.as_str().to_owned()))
}

pub(super) async fn invites(engine: &Engine, values: Vec<Value>, span: &Span) -> Result<Listing<Invite>, Fault> {
    let rows: Vec<InviteRow> = engine.rows(INVITES, values).await?;
    let invites = rows.into_iter().map(invite_of).collect::<Result<Vec<_>, _>>()?;
    Ok(listing(invites, span, |invite| invite.id.clone()))
}

pub(super) async fn public_rooms(engine: &Engine, values: Vec<Value>, span: &Span) -> Result<Listing<RoomView>, Fault> {
    let rows: Vec<RoomRow> = engine.rows(PUBLIC_ROOMS, values).await?;
    let rooms = rows.into_iter().map(shapes::room).collect::<Result<Vec<Room>, _>>()?;
    let views = rooms.into_iter().map(|room| RoomView { room, peer: None, mine: None }).collect();
    Ok(listing(views, span, |view| view.room.id.as_str().to_owned()))
}
