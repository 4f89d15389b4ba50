//! Events that tell of changes.
//!
//! A service writes what is, and the events that tell of it, in one transaction. After the commit it hands the events to
//! the [`Teller`]. What does not reach the log is told again by the recorder, from the table `outbox`.

use std::fmt;

use hubbub_protocol::{MessageId, RoomId, UnixMillis, User};
use serde::Serialize;
use serde_json::{Map, Value};

/// What an event of a service tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// People have come into a room, or left it. In the room.
    Members,
    /// A room is called otherwise, is archived, or other people may post in it. In the room.
    Room,
    /// A group is called otherwise or is archived. In its default channel.
    Group,
    /// A person is in a room, or is not any more. In the inbox.
    Membership,
    /// What two people are to each other. In the inbox.
    Contact,
    /// What a person says of itself. In its inbox and those of its contacts.
    Profile,
    /// How a person wants to be told of a room. In the inbox.
    Settings,
    /// A session has ended. In the inbox.
    SessionEnded,
}

impl EventKind {
    /// Its name, as it stands in the log and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Room => "room",
            Self::Group => "group",
            Self::Membership => "membership",
            Self::Contact => "contact",
            Self::Profile => "profile",
            Self::Settings => "settings",
            Self::SessionEnded => "session_ended",
        }
    }
}

/// An event of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Names it within its room and among those of its sender.
    pub id: MessageId,
    /// What it tells of.
    pub kind: EventKind,
    /// Whom it is told: a room, or the inbox of a person.
    pub room: RoomId,
    /// Who has made the change. In an inbox always its owner.
    pub from: User,
    /// When, by the clock of the database.
    pub at: UnixMillis,
    /// The rest of its record.
    pub fields: Map<String, Value>,
}

/// An event as the log keeps it.
#[derive(Serialize)]
struct Record<'a> {
    room: &'a RoomId,
    id: &'a MessageId,
    from: &'a User,
    at: UnixMillis,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

impl Event {
    /// An event with a new id. Fields that are no object count as none.
    pub fn new(kind: EventKind, room: RoomId, from: User, at: UnixMillis, fields: Value) -> Self {
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        Self { id: MessageId::of(rand::random()), kind, room, from, at, fields }
    }

    /// An event in the inbox of this person.
    pub fn in_inbox(kind: EventKind, person: User, at: UnixMillis, fields: Value) -> Self {
        Self::new(kind, RoomId::inbox(&person.id), person, at, fields)
    }

    /// Its record, in JSON, as it stands in the log.
    pub fn record(&self) -> String {
        let record = Record { room: &self.room, id: &self.id, from: &self.from, at: self.at, fields: &self.fields };
        serde_json::to_string(&record).unwrap_or_default()
    }
}

/// Appends events to the log.
pub trait Teller: fmt::Debug + Send + Sync + 'static {
    /// Takes the events of a change that is committed, in their order. Never blocks. Events that it drops are told again
    /// by the recorder.
    fn tell(&self, events: Vec<Event>);
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::UserId;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_has_the_audience_as_its_room() {
        let ann = User { id: UserId::of(7), name: "Ann".parse().unwrap() };
        let fields = json!({"about": RoomId::private(3), "rev": 5, "state": "out"});
        let event = Event::in_inbox(EventKind::Membership, ann, 9, fields);
        let record: Value = serde_json::from_str(&event.record()).unwrap();
        let inbox = "@AAAAAAAAAAAAAAAAAAAABw";
        assert_eq!(
            record,
            json!({
                "room": inbox, "id": event.id, "from": {"id": &inbox[1..], "name": "Ann"}, "at": 9,
                "about": "~00000000000000000000000003", "rev": 5, "state": "out",
            })
        );
        assert!(event.record().starts_with(r#"{"room":"@"#));
    }

    #[test]
    fn no_two_events_have_one_id() {
        let ann = User { id: UserId::of(7), name: "Ann".parse().unwrap() };
        let event = || Event::in_inbox(EventKind::Contact, ann.clone(), 9, Value::Null);
        assert_ne!(event().id, event().id);
    }
}
