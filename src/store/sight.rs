//! What one person sees. The viewer stands in each statement, so nothing else is read.

pub(crate) mod lists;
mod parts;
pub(crate) mod people;
mod rows;

use std::sync::Arc;

use futures_util::FutureExt;
use hubbub_messenger::{
    contact::Contact,
    group::{Ban, GroupView, Member},
    group_id::GroupId,
    invite::Invite,
    person::{Person, Reach},
    room::RoomView,
    sight::{Listing, Seen, Sidebar, Sight, Span},
};
use hubbub_protocol::{RoomId, UserId};

use self::{
    parts::{limit, listing},
    rows::{GroupViewRow, RoomViewRow, room_view_columns, room_view_peer},
};
use crate::{
    database::Database,
    engine::Engine,
    fault::Fault,
    shapes::group_columns,
    statements::{Value, values},
};

pub(crate) const SIDEBAR: &str = concat!(
    "SELECT ",
    room_view_columns!(),
    " FROM room_members AS m JOIN accounts AS a ON a.id = m.user_id JOIN rooms AS r ON r.id = m.room_id \
     LEFT JOIN group_members AS g ON g.group_id = r.group_id AND g.user_id = m.user_id ",
    room_view_peer!(),
    " WHERE m.user_id = $1"
);

/// A room that the viewer is in, or an open channel of a group that it is in.
macro_rules! visible_rooms {
    ($which:literal) => {
        concat!(
            "SELECT ",
            room_view_columns!(),
            " FROM rooms AS r JOIN accounts AS a ON a.id = $1 \
             LEFT JOIN room_members AS m ON m.room_id = r.id AND m.user_id = $1 \
             LEFT JOIN group_members AS g ON g.group_id = r.group_id AND g.user_id = $1 ",
            room_view_peer!(),
            " WHERE ",
            $which,
            " AND (m.user_id IS NOT NULL OR (g.user_id IS NOT NULL AND r.visibility = 'open'))"
        )
    };
}

pub(crate) const ROOM: &str = visible_rooms!("r.id = $2");

pub(crate) const CHANNELS: &str = visible_rooms!("r.group_id = $2");

/// Groups with the rank of the viewer and the number of members, which only a member sees.
macro_rules! visible_groups {
    ($from:literal) => {
        concat!(
            "SELECT ",
            group_columns!(),
            ", m.role, CASE WHEN m.user_id IS NULL THEN 0 \
             ELSE (SELECT count(*) FROM group_members AS c WHERE c.group_id = g.id) END FROM ",
            $from
        )
    };
}

pub(crate) const GROUP: &str = visible_groups!(
    "groups AS g LEFT JOIN group_members AS m ON m.group_id = g.id AND m.user_id = $1 \
     WHERE g.id = $2 AND (m.user_id IS NOT NULL OR g.visibility = 'open')"
);

pub(crate) const MY_GROUPS: &str =
    visible_groups!("group_members AS m JOIN groups AS g ON g.id = m.group_id WHERE m.user_id = $1");

/// Open groups and mine: each of the two by an index of its own.
pub(crate) const GROUPS: &str = visible_groups!(
    "(SELECT id FROM (SELECT id FROM groups WHERE visibility = 'open' AND archived_at IS NULL AND id > $2 \
       ORDER BY id LIMIT $3) AS open_ones \
      UNION SELECT id FROM (SELECT group_id AS id FROM group_members WHERE user_id = $1 AND group_id > $2 \
       ORDER BY group_id LIMIT $3) AS own_ones) AS s \
     JOIN groups AS g ON g.id = s.id LEFT JOIN group_members AS m ON m.group_id = g.id AND m.user_id = $1 \
     ORDER BY g.id LIMIT $3"
);

pub(crate) const INVITED: &str = visible_groups!(
    "group_invites AS i JOIN groups AS g ON g.id = i.group_id LEFT JOIN group_members AS m ON false CROSS JOIN clock \
     WHERE i.token_hash = $1 AND i.expires_at > clock.millis AND coalesce(i.uses_left, 1) > 0 AND g.archived_at IS NULL"
);

impl Database {
    /// Asks for one thing that somebody sees.
    fn look<'a, T: Send + 'static, F>(&'a self, read: impl FnOnce(Arc<Engine>) -> F + Send + 'a) -> Seen<'a, T>
    where
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        self.run(read(Arc::clone(&self.engine))).boxed()
    }
}

async fn rooms(engine: &Engine, sql: &'static str, values: Vec<Value>) -> Result<Vec<RoomView>, Fault> {
    let rows: Vec<RoomViewRow> = engine.rows(sql, values).await?;
    rows.into_iter().map(RoomViewRow::view).collect()
}

async fn groups(engine: &Engine, sql: &'static str, values: Vec<Value>) -> Result<Vec<GroupView>, Fault> {
    let rows: Vec<GroupViewRow> = engine.rows(sql, values).await?;
    rows.into_iter().map(rows::group_view).collect()
}

async fn group(engine: &Engine, viewer: &str, id: &str) -> Result<Option<GroupView>, Fault> {
    let mut found = groups(engine, GROUP, values![viewer, id]).await?.pop();
    if let Some(inside) = found.as_mut().and_then(|found| found.inside.as_mut()) {
        inside.channels = rooms(engine, CHANNELS, values![viewer, id]).await?;
        inside.channels.sort_by(|one, other| one.room.name.cmp(&other.room.name));
    }
    Ok(found)
}

impl Sight for Database {
    fn sidebar<'a>(&'a self, viewer: &'a UserId) -> Seen<'a, Sidebar> {
        let viewer = viewer.clone();
        self.look(move |engine| async move {
            let rooms = rooms(&engine, SIDEBAR, values![viewer.as_str()]).await?;
            Ok(Sidebar { rooms, groups: groups(&engine, MY_GROUPS, values![viewer.as_str()]).await? })
        })
    }

    fn room<'a>(&'a self, viewer: &'a UserId, room: &'a RoomId) -> Seen<'a, Option<RoomView>> {
        let values = values![viewer.as_str(), room.as_str()];
        self.look(move |engine| async move { Ok(rooms(&engine, ROOM, values).await?.pop()) })
    }

    fn group<'a>(&'a self, viewer: &'a UserId, id: &'a GroupId) -> Seen<'a, Option<GroupView>> {
        let (viewer, id) = (viewer.clone(), id.clone());
        self.look(move |engine| async move { group(&engine, viewer.as_str(), id.as_str()).await })
    }

    fn groups<'a>(&'a self, viewer: &'a UserId, span: &'a Span) -> Seen<'a, Listing<GroupView>> {
        let (values, span) = (values![viewer.as_str(), span.after.as_str(), limit(span)], span.clone());
        self.look(move |engine| async move {
            let found = groups(&engine, GROUPS, values).await?;
            Ok(listing(found, &span, |view| view.group.id.as_str().to_owned()))
        })
    }

    fn group_members<'a>(
        &'a self,
        viewer: &'a UserId,
        group: &'a GroupId,
        span: &'a Span,
    ) -> Seen<'a, Listing<Member>> {
        let (values, span) = (lists::values_of(viewer, group.as_str(), span), span.clone());
        self.look(move |engine| async move { lists::members(&engine, lists::GROUP_MEMBERS, values, &span).await })
    }

    fn room_members<'a>(&'a self, viewer: &'a UserId, room: &'a RoomId, span: &'a Span) -> Seen<'a, Listing<Member>> {
        let (values, span) = (lists::values_of(viewer, room.as_str(), span), span.clone());
        self.look(move |engine| async move { lists::members(&engine, lists::ROOM_MEMBERS, values, &span).await })
    }

    fn bans<'a>(&'a self, viewer: &'a UserId, group: &'a GroupId, span: &'a Span) -> Seen<'a, Listing<Ban>> {
        let (values, span) = (lists::values_of(viewer, group.as_str(), span), span.clone());
        self.look(move |engine| async move { lists::bans(&engine, values, &span).await })
    }

    fn invites<'a>(&'a self, viewer: &'a UserId, group: &'a GroupId, span: &'a Span) -> Seen<'a, Listing<Invite>> {
        let (values, span) = (lists::values_of(viewer, group.as_str(), span), span.clone());
        self.look(move |engine| async move { lists::invites(&engine, values, &span).await })
    }

    fn invited<'a>(&'a self, hash: &'a str) -> Seen<'a, Option<GroupView>> {
        let values = values![hash];
        self.look(move |engine| async move { Ok(groups(&engine, INVITED, values).await?.pop()) })
    }

    fn contacts<'a>(&'a self, viewer: &'a UserId, span: &'a Span) -> Seen<'a, Listing<Contact>> {
        let (values, span) = (values![viewer.as_str(), span.after.as_str(), limit(span)], span.clone());
        self.look(move |engine| async move { people::contacts(&engine, values, &span).await })
    }

    fn contact<'a>(&'a self, viewer: &'a UserId, other: &'a UserId) -> Seen<'a, Option<Contact>> {
        let values = values![viewer.as_str(), other.as_str()];
        self.look(move |engine| async move { people::contact(&engine, values).await })
    }

    fn find<'a>(
        &'a self,
        viewer: &'a UserId,
        beginning: &'a str,
        reach: Reach,
        span: &'a Span,
    ) -> Seen<'a, Listing<Person>> {
        let everyone = i64::from(reach == Reach::Everyone);
        let values = values![viewer.as_str(), beginning, LAST, span.after.as_str(), everyone, limit(span)];
        let span = span.clone();
        self.look(move |engine| async move { people::find(&engine, values, &span).await })
    }

    fn person<'a>(&'a self, viewer: &'a UserId, user: &'a UserId, reach: Reach) -> Seen<'a, Option<Person>> {
        let everyone = i64::from(reach == Reach::Everyone);
        let values = values![viewer.as_str(), user.as_str(), everyone];
        self.look(move |engine| async move { people::person_of(&engine, values).await })
    }

    fn public_rooms<'a>(&'a self, beginning: &'a str, span: &'a Span) -> Seen<'a, Listing<RoomView>> {
        let (values, span) = (values![beginning, LAST, span.after.as_str(), limit(span)], span.clone());
        self.look(move |engine| async move { lists::public_rooms(&engine, values, &span).await })
    }
}

/// Stands after every other character.
const LAST: &str = "\u{10ffff}";
