//! Rooms and groups as one person sees them, as rows.

use hubbub_messenger::{
    group::{GroupView, Inside},
    rank::effective,
    room::{Mine, Notify, RoomView},
};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::{
    fault::Fault,
    shapes::{self, PersonRow, RoomRow, group, person, role, word},
};

/// What the columns of [`RoomViewRow`] are: of the room, the viewer's place in it, and the peer.
macro_rules! room_view_columns {
    () => {
        concat!(
            $crate::shapes::room_columns!(),
            ", m.role, m.notify, m.muted_until, m.pinned, g.role, a.rev, p.id, p.name, p.username, p.about"
        )
    };
}

/// Joins the other one of a direct room.
macro_rules! room_view_peer {
    () => {
        "LEFT JOIN room_members AS o ON r.kind = 'direct' AND o.room_id = r.id AND o.user_id <> $1 \
         LEFT JOIN accounts AS p ON p.id = o.user_id"
    };
}

pub(super) use {room_view_columns, room_view_peer};

/// A group, the rank of the viewer, and the number of members.
pub(super) type GroupViewRow = (String, String, String, String, Option<i64>, String, i64, Option<String>, i64);

pub(super) fn group_view(row: GroupViewRow) -> Result<GroupView, Fault> {
    let (id, name, about, visibility, archived_at, general, rev, rank, members) = row;
    let group = group((id, name, about, visibility, archived_at, general, rev))?;
    let rank = rank.as_deref().map(role).transpose()?;
    let inside = rank.map(|role| Inside { role, members: members.unsigned_abs(), channels: Vec::new() });
    Ok(GroupView { group, inside })
}

/// A room as one person sees it. It has more columns than a tuple.
pub(super) struct RoomViewRow {
    room: RoomRow,
    role: Option<String>,
    notify: Option<String>,
    muted_until: Option<i64>,
    pinned: Option<i64>,
    in_group: Option<String>,
    rev: i64,
    peer: Option<PersonRow>,
}

impl<'r, R: Row> FromRow<'r, R> for RoomViewRow
where
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let text = |column: usize| row.try_get::<String, _>(column);
        let perhaps = |column: usize| row.try_get::<Option<String>, _>(column);
        let number = |column: usize| row.try_get::<i64, _>(column);
        let room = (
            text(0)?,
            text(1)?,
            text(2)?,
            text(3)?,
            perhaps(4)?,
            text(5)?,
            text(6)?,
            row.try_get(7)?,
            number(8)?,
            number(9)?,
            number(10)?,
        );
        let peer = match perhaps(17)? {
            Some(id) => Some((id, text(18)?, text(19)?, text(20)?)),
            None => None,
        };
        Ok(Self {
            room,
            role: perhaps(11)?,
            notify: perhaps(12)?,
            muted_until: row.try_get(13)?,
            pinned: row.try_get(14)?,
            in_group: perhaps(15)?,
            rev: number(16)?,
            peer,
        })
    }
}

impl RoomViewRow {
    pub(super) fn view(self) -> Result<RoomView, Fault> {
        let mut room = shapes::room(self.room)?;
        let in_group = self.in_group.as_deref().map(role).transpose()?;
        let peer = self.peer.map(person).transpose()?;
        if let Some(peer) = &peer {
            peer.name.as_str().clone_into(&mut room.name);
        }
        let mine = match (self.role, self.notify) {
            (Some(in_room), Some(notify)) => {
                let role = effective(role(&in_room)?, in_group);
                Some(Mine {
                    role,
                    may_post: room.may_post(role),
                    notify: word(Notify::stored, &notify)?,
                    muted_until: self.muted_until.map(i64::unsigned_abs),
                    pinned: self.pinned.is_some_and(|pinned| pinned != 0),
                    rev: self.rev.unsigned_abs(),
                })
            }
            _ => None,
        };
        Ok(RoomView { room, peer, mine })
    }
}
