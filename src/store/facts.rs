//! What a rule is told of its scope. Whoever changes the same things waits until the transaction ends.

use std::collections::BTreeMap;

use hubbub_messenger::{
    change::{Facts, GroupFacts, Known, Place, RoomFacts, Scope},
    contact::Stance,
    directs::direct_key,
    group_id::GroupId,
    invite::Invite,
};
use hubbub_protocol::{RoomId, UserId};

use crate::{
    fault::Fault,
    shapes::{self, GroupRow, RoomRow, list, room_columns, user, word},
    statements::{Statements, values},
};

const NOW: &str = "SELECT millis FROM clock";

/// The row is locked by being written.
const GROUP: &str = "UPDATE groups \
     SET rev = (SELECT CASE WHEN micros > groups.rev THEN micros ELSE groups.rev + 1 END FROM fine_clock) \
     WHERE id = $1 RETURNING id, name, about, visibility, archived_at, general, rev";

const LOCK_PEOPLE: &str =
    "SELECT id FROM accounts WHERE id IN (SELECT value->>0 FROM json_each($1)) ORDER BY id FOR UPDATE";

/// Above what it was, and not below `$2`.
const PEOPLE: &str = "UPDATE accounts \
     SET rev = (SELECT CASE WHEN micros > accounts.rev AND micros >= $2 THEN micros \
       WHEN accounts.rev >= $2 THEN accounts.rev + 1 ELSE $2 END FROM fine_clock) \
     WHERE id IN (SELECT value->>0 FROM json_each($1)) \
     RETURNING id, name, username, about, state, administrator, rev";

const RAISE_GROUP: &str = "UPDATE groups SET rev = $2 WHERE id = $1";

const ROOMS_OF_PEOPLE: &str = "SELECT user_id, count(*) FROM room_members \
     WHERE user_id IN (SELECT value->>0 FROM json_each($1)) GROUP BY user_id";

pub(crate) const STANCES: &str = "SELECT user_id, other_id, state FROM contacts \
     WHERE user_id IN (SELECT value->>0 FROM json_each($1)) AND other_id IN (SELECT value->>0 FROM json_each($1))";

const COUNTS: &str = "SELECT (SELECT count(*) FROM group_members WHERE group_id = $1 AND role = 'owner'), \
     (SELECT count(*) FROM group_members WHERE group_id = $1), \
     (SELECT count(*) FROM group_invites WHERE group_id = $1 AND expires_at > $2)";

pub(crate) const RANKS: &str = "SELECT user_id, role FROM group_members \
     WHERE group_id = $1 AND user_id IN (SELECT value->>0 FROM json_each($2))";

const BANS: &str = "SELECT user_id, user_id FROM group_bans \
     WHERE group_id = $1 AND user_id IN (SELECT value->>0 FROM json_each($2))";

const HEIR: &str = "SELECT m.user_id, m.role FROM group_members AS m JOIN accounts AS a ON a.id = m.user_id \
     WHERE m.group_id = $1 AND m.user_id <> $2 AND a.state = 'active' \
     ORDER BY CASE m.role WHEN 'member' THEN 1 ELSE 0 END, m.joined_at, m.user_id LIMIT 1";

const CHANNELS: &str = concat!("SELECT ", room_columns!(), " FROM rooms AS r WHERE r.group_id = $1");

pub(crate) const CHANNEL_SEATS: &str = "SELECT m.room_id, m.user_id, m.role FROM rooms AS r \
     JOIN room_members AS m ON m.room_id = r.id \
     WHERE r.group_id = $1 AND m.user_id IN (SELECT value->>0 FROM json_each($2))";

const ROOM: &str = concat!("SELECT ", room_columns!(), " FROM rooms AS r WHERE r.id = $1");

const DIRECT: &str = concat!("SELECT ", room_columns!(), " FROM rooms AS r WHERE r.direct_key = $1");

const ROOM_SEATS: &str = "SELECT room_id, user_id, role FROM room_members \
     WHERE room_id = $1 AND user_id IN (SELECT value->>0 FROM json_each($2))";

const GROUP_OF_INVITE: &str = "SELECT group_id, group_id FROM group_invites WHERE token_hash = $1";

const INVITE: &str = "SELECT id, group_id, expires_at, uses_left, created_by FROM group_invites WHERE token_hash = $1";

/// Reads a scope. A group is locked first, then people in the order of their ids.
pub(crate) async fn read(statements: &mut Statements<'_>, scope: &Scope) -> Result<Facts, Fault> {
    let mut facts = Facts::default();
    let now: Option<(i64,)> = statements.row(NOW, values![]).await?;
    facts.now = now.map_or(0, |now| now.0.unsigned_abs());
    let group = group_of(statements, &scope.place).await?;
    if let Some(id) = &group {
        lock_group(statements, id, &mut facts).await?;
    }
    let mut people = scope.people.clone();
    if let (Some(group), Place::Estate(_, user)) = (&group, &scope.place) {
        let heir: Option<(String, String)> = statements.row(HEIR, values![group.as_str(), user.as_str()]).await?;
        facts.heir = heir.map(|heir| shapes::user(&heir.0)).transpose()?;
        people.extend(facts.heir.clone());
    }
    people.sort_unstable();
    people.dedup();
    let people = list(&people);
    read_people(statements, &people, &mut facts).await?;
    level(statements, &mut facts).await?;
    match (&group, &scope.place) {
        (Some(group), place) => {
            read_group(statements, group, &people, &mut facts).await?;
            if let Place::Invite(hash) = place {
                facts.invite = invite(statements, hash).await?;
            }
        }
        (None, Place::Room(room)) => {
            read_rooms(statements, ROOM, room.as_str(), &mut facts).await?;
            read_seats(statements, ROOM_SEATS, room.as_str(), &people, &mut facts).await?;
        }
        (None, Place::Between) => {
            if let [one, other] = scope.people.as_slice() {
                read_rooms(statements, DIRECT, &direct_key(one, other), &mut facts).await?;
            }
        }
        (None, _) => {}
    }
    Ok(facts)
}

/// The group of a place. It never changes.
async fn group_of(statements: &mut Statements<'_>, place: &Place) -> Result<Option<GroupId>, Fault> {
    match place {
        Place::Between => Ok(None),
        Place::Group(group) | Place::Estate(group, _) => Ok(Some(group.clone())),
        Place::Room(room) => {
            let row: Option<RoomRow> = statements.row(ROOM, values![room.as_str()]).await?;
            Ok(row.map(shapes::room).transpose()?.and_then(|room| room.group))
        }
        Place::Invite(hash) => {
            let row: Option<(String, String)> = statements.row(GROUP_OF_INVITE, values![hash.as_str()]).await?;
            row.map(|row| shapes::group_id(&row.0)).transpose()
        }
    }
}

async fn lock_group(statements: &mut Statements<'_>, id: &GroupId, facts: &mut Facts) -> Result<(), Fault> {
    let row: Option<GroupRow> = statements.row(GROUP, values![id.as_str()]).await?;
    let Some(group) = row.map(shapes::group).transpose()? else { return Ok(()) };
    let now = facts.now.cast_signed();
    let counts: Option<(i64, i64, i64)> = statements.row(COUNTS, values![id.as_str(), now]).await?;
    let (owners, members, invites) = counts.unwrap_or_default();
    let [owners, members, invites] = [owners, members, invites].map(|count| usize::try_from(count).unwrap_or(0));
    let (ranks, banned) = Default::default();
    facts.group = Some(GroupFacts { group, owners, members, invites, ranks, banned });
    Ok(())
}

async fn read_people(statements: &mut Statements<'_>, people: &str, facts: &mut Facts) -> Result<(), Fault> {
    statements.lock(LOCK_PEOPLE, values![people]).await?;
    let floor = facts.group.as_ref().map_or(0, |found| found.group.rev.cast_signed());
    let rows: Vec<(String, String, String, String, String, i64, i64)> =
        statements.rows(PEOPLE, values![people, floor]).await?;
    let counts: Vec<(String, i64)> = statements.rows(ROOMS_OF_PEOPLE, values![people]).await?;
    let counts: BTreeMap<_, _> = counts.into_iter().collect();
    for (id, name, username, about, state, administrator, rev) in rows {
        let rooms = counts.get(&id).map_or(0, |count| usize::try_from(*count).unwrap_or(0));
        let person = shapes::person((id, name, username, about))?;
        let known = Known {
            is_active: state == "active",
            is_gone: state == "deleted",
            is_administrator: administrator != 0,
            rev: rev.unsigned_abs(),
            rooms,
            person,
        };
        let _new = facts.people.insert(known.person.id.clone(), known);
    }
    let said: Vec<(String, String, String)> = statements.rows(STANCES, values![people]).await?;
    for (by, of, stance) in said {
        let _new = facts.stances.insert((user(&by)?, user(&of)?), word(Stance::stored, &stance)?);
    }
    Ok(())
}

/// Raises the `rev` of the group to the highest of its people. So of two changes of a group the later one has the higher
/// `rev`, whether it is told to a room or to a person: the core compares the two.
async fn level(statements: &mut Statements<'_>, facts: &mut Facts) -> Result<(), Fault> {
    let highest = facts.people.values().map(|known| known.rev).max().unwrap_or(0);
    let Some(found) = facts.group.as_mut().filter(|found| found.group.rev < highest) else { return Ok(()) };
    found.group.rev = highest;
    let values = values![found.group.id.as_str(), highest.cast_signed()];
    let _raised = statements.write(RAISE_GROUP, values).await?;
    Ok(())
}

async fn read_group(
    statements: &mut Statements<'_>,
    id: &GroupId,
    people: &str,
    facts: &mut Facts,
) -> Result<(), Fault> {
    let Some(found) = &mut facts.group else { return Ok(()) };
    let ranks: Vec<(String, String)> = statements.rows(RANKS, values![id.as_str(), people]).await?;
    for (member, role) in ranks {
        let _new = found.ranks.insert(user(&member)?, shapes::role(&role)?);
    }
    let banned: Vec<(String, String)> = statements.rows(BANS, values![id.as_str(), people]).await?;
    for (person, _) in banned {
        let _new = found.banned.insert(user(&person)?);
    }
    read_rooms(statements, CHANNELS, id.as_str(), facts).await?;
    read_seats(statements, CHANNEL_SEATS, id.as_str(), people, facts).await
}

async fn read_rooms(
    statements: &mut Statements<'_>,
    sql: &'static str,
    key: &str,
    facts: &mut Facts,
) -> Result<(), Fault> {
    let rows: Vec<RoomRow> = statements.rows(sql, values![key]).await?;
    for row in rows {
        let room = shapes::room(row)?;
        let _new = facts.rooms.insert(room.id.clone(), RoomFacts { room, seats: BTreeMap::new() });
    }
    Ok(())
}

async fn read_seats(
    statements: &mut Statements<'_>,
    sql: &'static str,
    key: &str,
    people: &str,
    facts: &mut Facts,
) -> Result<(), Fault> {
    let seats: Vec<(String, String, String)> = statements.rows(sql, values![key, people]).await?;
    for (room, member, role) in seats {
        let (room, member): (_, UserId) = (word(RoomId::stored, &room)?, user(&member)?);
        if let Some(found) = facts.rooms.get_mut(&room) {
            let _new = found.seats.insert(member, shapes::role(&role)?);
        }
    }
    Ok(())
}

async fn invite(statements: &mut Statements<'_>, hash: &str) -> Result<Option<Invite>, Fault> {
    let row: Option<InviteRow> = statements.row(INVITE, values![hash]).await?;
    row.map(invite_of).transpose()
}

/// A link: its id, group, end, uses, and who has made it.
pub(crate) type InviteRow = (String, String, i64, Option<i64>, String);

pub(crate) fn invite_of((id, group, expires_at, uses, by): InviteRow) -> Result<Invite, Fault> {
    Ok(Invite {
        id,
        group: shapes::group_id(&group)?,
        expires_at: expires_at.unsigned_abs(),
        uses_left: uses.map(i64::unsigned_abs),
        created_by: user(&by)?,
    })
}
