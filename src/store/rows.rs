//! A batch as rows of the tables.

use std::collections::BTreeMap;

use hubbub_messenger::journal::Batch;
use hubbub_protocol::Seq;

use crate::fault::Fault;

/// What a batch writes into `messages` and `rooms`.
pub(crate) struct Rows<'a> {
    pub(crate) messages: Vec<MessageRow<'a>>,
    /// By room, in the order of the rooms: two transactions that touch the same ones never wait for each other in a circle.
    pub(crate) rooms: BTreeMap<&'a str, RoomRow>,
}

/// Place, room, sender, id, name of the sender, time, text.
pub(crate) type MessageRow<'a> = (i64, &'a str, &'a str, &'a str, &'a str, i64, &'a str);

/// What a batch knows of one room.
#[derive(Clone, Copy)]
pub(crate) struct RoomRow {
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
            let row = rooms.entry(room).or_insert(RoomRow { last: place, created_at: at });
            row.last = row.last.max(place);
            row.created_at = row.created_at.min(at);
            let (sender, name) = (message.from.id.as_str(), message.from.name.as_str());
            messages.push((place, room, sender, message.id.as_str(), name, at, message.body.as_str()));
        }
        Ok(Self { messages, rooms })
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
