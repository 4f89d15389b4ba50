//! What the core and the clients make of the events that they hear.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hubbub_messenger::outbox::{Event, EventKind};
use hubbub_protocol::{RoomId, UserId};
use serde_json::Value;

/// A person's rights in a room.
#[derive(Clone, Copy)]
struct Rights {
    may_post: bool,
    leads: bool,
}

/// Seats and members, from events alone.
#[derive(Default)]
pub(super) struct Replica {
    pub(super) heard: usize,
    seats: HashMap<UserId, BTreeMap<RoomId, (u64, Option<Rights>)>>,
    members: HashMap<RoomId, BTreeSet<UserId>>,
}

impl Replica {
    pub(super) fn hear(&mut self, event: &Event) {
        self.heard += 1;
        let fields = &event.fields;
        match event.kind {
            EventKind::Membership => {
                let room = RoomId::stored(fields["about"].as_str().unwrap()).unwrap();
                let rev = fields["rev"].as_u64().unwrap();
                let seat = (fields["state"] == "in").then(|| {
                    let leads = fields["role"] != "member";
                    Rights { may_post: fields["may_post"].as_bool().unwrap(), leads }
                });
                let last = self.seats.entry(event.from.id.clone()).or_default().entry(room).or_insert((0, None));
                assert!(rev > last.0, "each membership of a person has a higher rev");
                *last = (rev, seat);
            }
            EventKind::Room if fields.contains_key("posting") => {
                let (is_archived, admins) = (fields["archived"] == true, fields["posting"] == "admins");
                for seats in self.seats.values_mut() {
                    if let Some((_, Some(rights))) = seats.get_mut(&event.room) {
                        rights.may_post = !is_archived && (!admins || rights.leads);
                    }
                }
            }
            EventKind::Members => {
                let named = |value: &Value| {
                    let people = value.as_array().unwrap().iter();
                    people.map(|user| UserId::stored(user["id"].as_str().unwrap()).unwrap()).collect::<Vec<_>>()
                };
                let members = self.members.entry(event.room.clone()).or_default();
                for user in named(&fields["added"]) {
                    assert!(members.insert(user), "nobody is added twice");
                }
                for user in named(&fields["removed"]) {
                    // who has made a room is in it without having been added
                    let _was_there = members.remove(&user);
                }
            }
            _ => {}
        }
    }

    /// The rooms of a person, and where it may post.
    pub(super) fn seats(&self, user: &UserId) -> Vec<(RoomId, bool)> {
        let seats = self.seats.get(user).into_iter().flatten();
        seats.filter_map(|(room, (_, seat))| Some((room.clone(), seat.as_ref()?.may_post))).collect()
    }

    /// Who has been added to a room and not removed.
    pub(super) fn members(&self, room: &RoomId) -> BTreeSet<UserId> {
        self.members.get(room).cloned().unwrap_or_default()
    }
}
