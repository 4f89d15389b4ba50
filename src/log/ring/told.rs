//! What services tell: who hears it, as which frame, and what it changes in the seats of connections.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use hubbub_protocol::{Frame, RoomId, RoomKind, Seq, SessionId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::kind::{Kind, Telling};

/// What an event changes in the seats of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The person of the inbox has a seat in this room from here on, or no longer.
    Membership {
        /// The room.
        room: RoomId,
        /// The count of the changes of this person's seats. A change counts only if it is above those that counted before.
        rev: u64,
        /// None: no seat any more.
        seat: Option<Rights>,
    },
    /// The rules of the room of the event.
    Rules {
        /// The count of the changes of this room.
        rev: u64,
        /// The rules from here on.
        rules: Rules,
    },
    /// A session of a person has ended.
    SessionEnded {
        /// The inbox of the person, in which every connection of the person has a seat.
        inbox: RoomId,
        /// The session.
        session: SessionId,
    },
}

/// What a person may do in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether the person may publish in it, by the role and by the rules of the room.
    pub may_post: bool,
    /// Whether the person is an owner or admin there: they publish also where others may not.
    pub leads: bool,
}

/// Who may publish in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Nobody.
    pub archived: bool,
    /// Owners and admins only.
    pub admins_only: bool,
}

impl Rules {
    /// The rights of the same person under these rules.
    pub const fn applied_to(self, rights: Rights) -> Rights {
        Rights { may_post: !self.archived && (!self.admins_only || rights.leads), leads: rights.leads }
    }
}

/// What the ring keeps of an event that is no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) kind: Kind,
    /// The record, if the frame is not made around it, and the former `seq` of the event or 0.
    pub(super) record: Option<(Box<str>, Seq)>,
    pub(super) change: Option<Change>,
}

/// An event that services tell, read from its record.
pub(super) struct Reading {
    pub(super) told: Told,
    /// The room whose seats get the frame. None: no client gets it.
    pub(super) room: Option<RoomId>,
    pub(super) frame: Frame,
    pub(super) fields: Range<usize>,
}

/// The fields that the core reads.
#[derive(Deserialize)]
struct Fields {
    room: Box<str>,
    about: Option<Box<str>>,
    rev: Option<u64>,
    state: Option<State>,
    may_post: Option<bool>,
    role: Option<Box<str>>,
    session: Option<SessionId>,
    posting: Option<Box<str>>,
    archived: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    In,
    Out,
}

/// What clients do not get of a record in an inbox: whose inbox it is, and the id and sender of the event.
const UNTOLD: [&str; 3] = ["room", "id", "from"];

impl Reading {
    /// An event of a kind that is known. None: its record is not as it must be, so nobody gets it and it changes nothing.
    pub(super) fn of(kind: Telling, seq: Seq, was: Seq, record: &str) -> Option<Self> {
        let fields: Fields = serde_json::from_str(record).ok()?;
        let room = RoomId::stored(&fields.room)?;
        let is_for_inbox = !matches!(kind, Telling::Members | Telling::Room | Telling::Group);
        if is_for_inbox != (room.kind() == RoomKind::Inbox) {
            return None;
        }
        let change = if fields.concern_seats(kind) { Some(fields.change(kind, &room)?) } else { None };
        let (shown, original) = if is_for_inbox {
            (shown_in_inbox(record)?, Some((record.into(), was)))
        } else {
            (record.to_owned(), None)
        };
        let (frame, range) = Frame::event(kind.name(), seq, &shown, was);
        let told = Told { kind: Kind::Told(kind), record: original, change };
        let room = (kind != Telling::SessionEnded).then_some(room);
        Some(Self { told, room, frame, fields: range })
    }
}

impl Fields {
    /// Whether it changes something in seats.
    const fn concern_seats(&self, kind: Telling) -> bool {
        match kind {
            Telling::Membership | Telling::SessionEnded => true,
            Telling::Room => self.posting.is_some() || self.archived.is_some(),
            Telling::Members | Telling::Group | Telling::Contact | Telling::Profile | Telling::Settings => false,
        }
    }

    /// What it changes in seats. None: a field is missing.
    fn change(self, kind: Telling, room: &RoomId) -> Option<Change> {
        Some(match kind {
            Telling::Membership => {
                let about = RoomId::stored(&self.about?).filter(|about| about.kind() == RoomKind::Private)?;
                let seat = match self.state? {
                    State::In => {
                        let leads = matches!(self.role.as_deref(), Some("owner" | "admin"));
                        Some(Rights { may_post: self.may_post?, leads })
                    }
                    State::Out => None,
                };
                Change::Membership { room: about, rev: self.rev?, seat }
            }
            Telling::SessionEnded => Change::SessionEnded { inbox: room.clone(), session: self.session? },
            _ => {
                let admins_only = self.posting.is_some_and(|posting| &*posting != "members");
                let rules = Rules { archived: self.archived.unwrap_or(false), admins_only };
                Change::Rules { rev: self.rev?, rules }
            }
        })
    }
}

/// A record of an inbox as clients get it: `room` is what it tells of.
fn shown_in_inbox(record: &str) -> Option<String> {
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(record).ok()?;
    let mut text = String::with_capacity(record.len());
    for (name, value) in fields.into_iter().filter(|(name, _)| !UNTOLD.contains(name)) {
        let name = if name == "about" { "room" } else { name };
        let start = if text.is_empty() { '{' } else { ',' };
        write!(text, r#"{start}"{name}":{value}"#).ok()?;
    }
    text.push('}');
    Some(text)
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::UserId;
    use serde_json::{Value, json};

    use super::*;

    fn inbox() -> RoomId {
        RoomId::inbox(&UserId::of(7))
    }

    fn record(room: &RoomId, fields: &Value) -> String {
        let mut record = json!({"room": room, "id": "e1", "from": {"id": "u", "name": "Ann"}, "at": 5});
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        record.to_string()
    }

    fn read(kind: Telling, room: &RoomId, fields: &Value) -> Option<Reading> {
        Reading::of(kind, 9, 3, &record(room, fields))
    }

    #[test]
    fn a_frame_of_an_inbox_names_the_room_that_it_tells_of_and_never_the_inbox() {
        let about = RoomId::private(1);
        let fields =
            json!({"about": about, "rev": 4, "state": "in", "may_post": true, "role": "admin", "kind": "channel"});
        let reading = read(Telling::Membership, &inbox(), &fields).unwrap();
        let frame: Value = serde_json::from_slice(reading.frame.payload()).unwrap();
        let shown = json!({
            "type": "membership", "seq": 9, "was": 3, "at": 5, "room": about, "rev": 4, "state": "in", "may_post": true,
            "role": "admin", "kind": "channel",
        });
        assert_eq!(frame, shown);
        assert!(reading.frame.payload().starts_with(br#"{"type":"membership","seq":9,"#));
        assert_eq!(reading.told.record, Some((record(&inbox(), &fields).into(), 3)));
        let seat = Some(Rights { may_post: true, leads: true });
        assert_eq!(reading.told.change, Some(Change::Membership { room: about, rev: 4, seat }));
        assert_eq!(reading.room, Some(inbox()));
    }

    #[test]
    fn no_client_hears_that_a_session_has_ended() {
        let reading = read(Telling::SessionEnded, &inbox(), &json!({"session": "s1"})).unwrap();
        let ended = Change::SessionEnded { inbox: inbox(), session: "s1".parse().unwrap() };
        assert_eq!((reading.room, reading.told.change), (None, Some(ended)));
    }

    #[test]
    fn the_rules_of_a_room_decide_about_each_rank() {
        let room = RoomId::private(1);
        let change = |fields: &Value| read(Telling::Room, &room, fields).unwrap().told.change;
        assert_eq!(change(&json!({"rev": 4, "topic": "x"})), None);
        for (fields, member, admin) in [
            (json!({"rev": 4, "posting": "members", "archived": false}), true, true),
            (json!({"rev": 4, "posting": "admins", "archived": false}), false, true),
            (json!({"rev": 4, "posting": "admins", "archived": true}), false, false),
            (json!({"rev": 4, "archived": true}), false, false),
        ] {
            let Some(Change::Rules { rev: 4, rules }) = change(&fields) else { panic!("{fields}") };
            let may_post = |leads: bool| rules.applied_to(Rights { may_post: !leads, leads }).may_post;
            assert_eq!((may_post(false), may_post(true)), (member, admin), "{fields}");
        }
    }

    #[test]
    fn what_is_not_as_it_must_be_changes_nothing_and_nobody_gets_it() {
        let (room, about) = (RoomId::private(1), RoomId::private(2));
        for (kind, audience, fields) in [
            (Telling::Membership, &inbox(), json!({"about": about, "rev": 4, "state": "in"})),
            (Telling::Membership, &inbox(), json!({"about": about, "rev": 4, "state": "away", "may_post": true})),
            (Telling::Membership, &inbox(), json!({"about": about, "state": "out"})),
            (Telling::Membership, &inbox(), json!({"rev": 4, "state": "out"})),
            (Telling::Membership, &inbox(), json!({"about": inbox(), "rev": 4, "state": "out"})),
            (Telling::Membership, &room, json!({"about": about, "rev": 4, "state": "out"})),
            (Telling::Members, &inbox(), json!({"rev": 4})),
            (Telling::SessionEnded, &inbox(), json!({})),
            (Telling::Room, &room, json!({"archived": true})),
        ] {
            assert!(read(kind, audience, &fields).is_none(), "{kind:?} in {audience}: {fields}");
        }
    }
}
