//! A batch as rows of the tables.

use std::collections::BTreeMap;

use hubbub_messenger::journal::Batch;
use hubbub_protocol::{MessageId, RoomKind, Seq};
use serde_json::Value;

use crate::fault::Fault;

/// What a batch writes into `messages` and `rooms`, and deletes from `outbox`.
pub(crate) struct Rows<'a> {
    pub(crate) messages: Vec<MessageRow<'a>>,
    /// By room, in the order of the rooms: two transactions that touch the same ones never wait for each other in a circle.
    pub(crate) rooms: BTreeMap<&'a str, RoomRow>,
    /// Ids in `outbox`.
    pub(crate) met: Vec<&'a str>,
}

/// Place, room, sender, id, name of the sender, time, text, kind, what an event says.
pub(crate) type MessageRow<'a> = (i64, &'a str, &'a str, &'a str, &'a str, i64, &'a str, &'a str, Option<String>);

/// The kind of what somebody has said.
pub(crate) const MESSAGE: &str = "message";

/// What a batch knows of one room.
#[derive(Clone, Copy)]
pub(crate) struct RoomRow {
    /// Only a public room gets its row from the first message in it.
    pub(crate) is_public: bool,
    /// The highest place.
    pub(crate) last: i64,
    /// The time of the first message.
    pub(crate) created_at: i64,
}

impl<'a> Rows<'a> {
    /// The rows of a batch.
    pub(crate) fn of(batch: &'a Batch) -> Result<Self, Fault> {
        let mut messages = Vec::with_capacity(batch.messages.len());
        let mut rooms = BTreeMap::new();
        for message in &batch.messages {
            let (place, at, room) = (number(message.place)?, number(message.at)?, message.room.as_str());
            let is_public = message.room.kind() == RoomKind::Public;
            let row = rooms.entry(room).or_insert(RoomRow { is_public, last: place, created_at: at });
            row.last = row.last.max(place);
            row.created_at = row.created_at.min(at);
            let (sender, name) = (message.from.id.as_str(), message.from.name.as_str());
            let told = message.told.as_ref();
            let kind = told.map_or(MESSAGE, |told| told.kind.as_str());
            let fields = told.map(|told| Value::Object(told.fields.clone()).to_string());
            messages.push((place, room, sender, message.id.as_str(), name, at, message.body.as_str(), kind, fields));
        }
        Ok(Self { messages, rooms, met: batch.met.iter().map(MessageId::as_str).collect() })
    }

    /// The rooms that may get their row now, or the others.
    pub(crate) fn rooms_that(&self, are_public: bool) -> impl Iterator<Item = (&'a str, RoomRow)> {
        self.rooms.iter().map(|(id, room)| (*id, *room)).filter(move |(_, room)| room.is_public == are_public)
    }

    /// The rooms, in order.
    pub(crate) fn room_ids(&self) -> Vec<&'a str> {
        self.rooms.keys().copied().collect()
    }
}

/// A place or a time as the database keeps it.
pub(crate) fn number(value: Seq) -> Result<i64, Fault> {
    i64::try_from(value).map_err(|_| Fault::Content(format!("{value} is above what the database can keep")))
}
