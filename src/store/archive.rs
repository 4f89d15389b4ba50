//! Pages of what is recorded.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_messenger::{
    StoreError,
    message::{Archive, Message, Page, PageRange, Told},
};
use hubbub_protocol::{RoomId, Seq, User, UserId};

use crate::{
    database::Database,
    engine::{Engine, reading},
    fault::Fault,
    rows::MESSAGE,
};

/// Rows, cursor and gaps in one statement, so they are of one snapshot. Each row repeats the cursor and the gaps; a page
/// without messages is one row without one.
///
/// Messages may share a place: a clock went back, or another log was recorded before. So the page ends with all of the
/// place at which one message more than it has would stand.
pub(crate) const PAGE: &str = "SELECT r.recorded, g.gaps, m.seq, m.sender_id, m.client_id, m.sender_name, m.at, m.body, \
     m.kind, m.fields \
     FROM (SELECT coalesce(max(seq), 0) AS recorded FROM recorder) AS r \
     CROSS JOIN (SELECT string_agg(first_seq || '-' || last_seq, ' ') AS gaps FROM gaps \
       WHERE last_seq > $2 AND first_seq < $3) AS g \
     LEFT JOIN (SELECT seq, sender_id, client_id, sender_name, at, body, kind, fields FROM messages \
       WHERE room_id = $1 AND seq < $3 AND seq > coalesce((SELECT seq FROM messages \
         WHERE room_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq DESC LIMIT 1 OFFSET $4) - 1, $2)) AS m ON true";

/// Cursor, gaps; place, sender, id, name of the sender, time, text, kind, what an event says.
type Row = (
    i64,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
);

impl Archive for Database {
    fn page<'a>(&'a self, room: &'a RoomId, range: PageRange) -> BoxFuture<'a, Result<Page, StoreError>> {
        let (engine, room) = (Arc::clone(&self.engine), room.clone());
        self.run(async move { read(&engine, room, range).await }).boxed()
    }
}

async fn read(engine: &Engine, room: RoomId, range: PageRange) -> Result<Page, Fault> {
    let [after, before] = [range.after.unwrap_or(0), range.before.unwrap_or(Seq::MAX)].map(bound);
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let rows: Vec<Row> = reading!(engine, connection => {
        let query = sqlx::query_as(PAGE).bind(room.as_str()).bind(after).bind(before).bind(limit);
        query.fetch_all(connection).await.map_err(Fault::from)
    })?;
    page(&room, range, rows)
}

/// A bound of a range. No place is above the highest number.
fn bound(place: Seq) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn page(room: &RoomId, range: PageRange, rows: Vec<Row>) -> Result<Page, Fault> {
    let mut messages = Vec::with_capacity(rows.len());
    let (mut recorded, mut gaps) = (0, None);
    for row in rows {
        recorded = row.0.unsigned_abs();
        gaps = gaps.or_else(|| row.1.clone());
        messages.extend(message(room, row)?);
    }
    messages.sort_by_key(|message| (message.place, message.at));
    let has_more = messages.len() > range.limit;
    let mut shown = [range.after.map_or(0, |after| after.saturating_add(1)), range.before.unwrap_or(Seq::MAX)];
    if has_more {
        // not between two messages of one place: the next page ends below it
        shown[0] = messages.iter().rev().take(range.limit).next_back().map_or(shown[1], |message| message.place);
        messages.retain(|message| message.place >= shown[0]);
    }
    let mut gaps = parse(&gaps.unwrap_or_default());
    gaps.retain(|&(first, last)| last >= shown[0] && first < shown[1]);
    gaps.sort_unstable();
    Ok(Page { messages, has_more, recorded, gaps })
}

fn message(room: &RoomId, row: Row) -> Result<Option<Message>, Fault> {
    let (_, _, Some(place), Some(sender), Some(id), Some(name), Some(at), Some(body), Some(kind), fields) = row else {
        return Ok(None);
    };
    let unreadable = |what: &str| Fault::Content(format!("the message at {place} has no valid {what}"));
    let sender: UserId = serde_json::from_value(sender.into()).map_err(|_| unreadable("sender"))?;
    let fields = fields.as_deref().map(serde_json::from_str).transpose().map_err(|_| unreadable("fields"))?;
    let told = (kind != MESSAGE).then(|| Told { kind, fields: fields.unwrap_or_default() });
    Ok(Some(Message {
        place: place.unsigned_abs(),
        room: room.clone(),
        id: id.parse().map_err(|_| unreadable("id"))?,
        from: User { id: sender, name: name.parse().map_err(|_| unreadable("name"))? },
        at: at.unsigned_abs(),
        body,
        told,
    }))
}

/// Gaps as `first-last first-last`.
fn parse(text: &str) -> Vec<(Seq, Seq)> {
    let gap = |gap: &str| {
        let (first, last) = gap.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(' ').filter_map(gap).collect()
}
