//! In which rooms people sit, for many people at once.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_messenger::{
    StoreError,
    memberships::{Memberships, Seat, Seats},
    rank::{Role, effective},
    room::Posting,
};
use hubbub_protocol::{RoomId, SessionId, UserId};
use serde_json::json;

use crate::{
    database::Database,
    fault::Fault,
    shapes::{list, role, unreadable, word},
    statements::values,
};

/// One statement, so one snapshot: what `rev` says and the seats fit together. A person without rooms has one row.
pub(crate) const SEATS: &str = "SELECT a.id, a.rev, m.room_id, m.role, g.role, r.posting, \
     CASE WHEN r.archived_at IS NULL THEN r.blocked ELSE 1 END \
     FROM json_each($1) AS v JOIN accounts AS a ON a.id = v.value->>0 \
     LEFT JOIN room_members AS m ON m.user_id = a.id \
     LEFT JOIN rooms AS r ON r.id = m.room_id \
     LEFT JOIN group_members AS g ON g.group_id = r.group_id AND g.user_id = m.user_id";

/// Sessions and personal access tokens whose account is open.
pub(crate) const STANDING: &str = "SELECT s.id FROM json_each($1) AS v JOIN sessions AS s ON s.id = v.value->>0 \
     JOIN accounts AS a ON a.id = s.account_id WHERE s.ended_at IS NULL AND a.state = 'active' \
     UNION ALL SELECT t.id FROM json_each($1) AS v JOIN personal_tokens AS t ON t.id = v.value->>0 \
     JOIN accounts AS a ON a.id = t.account_id WHERE t.revoked_at IS NULL AND a.state = 'active'";

/// A person and its `rev`; a room, its ranks there and in the room's group, who posts in it, and whether nobody does.
type SeatRow = (String, i64, Option<String>, Option<String>, Option<String>, Option<String>, Option<i64>);

impl Memberships for Database {
    fn of<'a>(&'a self, people: &'a [UserId]) -> BoxFuture<'a, Result<Vec<Seats>, StoreError>> {
        let engine = Arc::clone(&self.engine);
        // somebody may be asked for twice
        let wanted = list(people.iter().collect::<BTreeSet<_>>());
        async move {
            let found = self
                .run(async move {
                    let rows: Vec<SeatRow> = engine.rows(SEATS, values![wanted]).await?;
                    by_person(rows)
                })
                .await?;
            Ok(people.iter().map(|user| found.get(user.as_str()).cloned().unwrap_or_default()).collect())
        }
        .boxed()
    }

    fn standing<'a>(&'a self, sessions: &'a [SessionId]) -> BoxFuture<'a, Result<HashSet<SessionId>, StoreError>> {
        let engine = Arc::clone(&self.engine);
        let wanted: serde_json::Value = sessions.iter().map(|session| json!([session.as_str()])).collect();
        self.run(async move {
            let rows: Vec<(String,)> = engine.rows(STANDING, values![wanted.to_string()]).await?;
            rows.into_iter().map(|(id,)| id.parse().map_err(|_| unreadable(&id))).collect()
        })
        .boxed()
    }
}

fn by_person(rows: Vec<SeatRow>) -> Result<HashMap<String, Seats>, Fault> {
    let mut people: HashMap<String, Seats> = HashMap::new();
    for (user, rev, room, in_room, in_group, posting, is_closed) in rows {
        let seats = people.entry(user).or_default();
        seats.rev = rev.unsigned_abs();
        let (Some(room), Some(in_room), Some(posting)) = (room, in_room, posting) else { continue };
        let in_group = in_group.as_deref().map(role).transpose()?;
        let role = effective(role(&in_room)?, in_group);
        let is_let = word(Posting::stored, &posting)? == Posting::Members || role >= Role::Admin;
        let room = word(RoomId::stored, &room)?;
        seats.rooms.push(Seat { room, may_post: is_let && is_closed == Some(0), role });
    }
    Ok(people)
}
