//! What the recorder does with an event of each kind. Pure: no clock, no I/O.

use hubbub_log::{Kind, LogEntry};
use hubbub_messenger::message::{Message, Told};
use hubbub_protocol::{MessageId, Record, RoomId, UnixMillis, User};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Events of services. They come by way of the outbox.
pub(crate) const OF_SERVICES: [&str; 8] =
    ["members", "room", "group", "membership", "contact", "profile", "settings", "session_ended"];

/// Those that are kept as messages of their room. The others stand in the inbox of a person: what they tell of is in
/// other tables already.
const KEPT: [&str; 3] = ["members", "room", "group"];

/// Whether this release knows what to do with an event of this kind.
pub(crate) fn is_known(kind: &Kind) -> bool {
    *kind == Kind::Message || OF_SERVICES.contains(&kind.name())
}

/// The message that an event is kept as. None: it is not kept.
///
/// # Errors
///
/// The record cannot be read, and why.
pub(crate) fn read(entry: &LogEntry, record: &[u8]) -> Result<Option<Message>, String> {
    match entry.kind() {
        Some(Kind::Message) => said(entry, record).map(Some),
        Some(kind) if KEPT.contains(&kind.name()) => told(entry, kind, record).map(Some),
        _ => id(record).map(|_| None),
    }
}

/// The id of an event, which is also that of its row in the outbox.
///
/// # Errors
///
/// The record cannot be read, and why.
pub(crate) fn id(record: &[u8]) -> Result<MessageId, String> {
    #[derive(Deserialize)]
    struct Named {
        id: MessageId,
    }
    let Named { id } = serde_json::from_slice(record).map_err(|error| error.to_string())?;
    Ok(id)
}

fn said(entry: &LogEntry, record: &[u8]) -> Result<Message, String> {
    let Record { room, id, from, body, at } = serde_json::from_slice(record).map_err(|error| error.to_string())?;
    Ok(Message { place: entry.place(), room, id, from, at, body, told: None })
}

fn told(entry: &LogEntry, kind: &Kind, record: &[u8]) -> Result<Message, String> {
    #[derive(Deserialize)]
    struct Event {
        room: String,
        id: MessageId,
        from: User,
        at: UnixMillis,
        #[serde(flatten)]
        fields: Map<String, Value>,
    }
    let event = serde_json::from_slice(record).map_err(|error| error.to_string())?;
    let Event { room, id, from, at, mut fields } = event;
    let room = RoomId::stored(&room).ok_or_else(|| format!("{room} is no room"))?;
    // the place says it
    fields.remove("first");
    let told = Some(Told { kind: kind.name().to_owned(), fields });
    Ok(Message { place: entry.place(), room, id, from, at, body: String::new(), told })
}
