//! What the core and the clients make of the events that they hear.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hubbub_messenger::outbox::{Event, EventKind};
use hubbub_protocol::{RoomId, UserId};
use serde_json::Value;

/// A person's seat in a room.
#[derive(Clone, Copy)]
struct Seat {
    may_post: bool,
    leads: bool,
}

/// Who posts in a room.
#[derive(Clone, Copy)]
struct Rules {
    is_archived: bool,
    admins_only: bool,
    rev: u64,
}

impl Rules {
    fn apply(self, seat: &mut Seat) {
        seat.may_post = !self.is_archived && (!self.admins_only || seat.leads);
    }
}

/// Seats and members, from events alone.
#[derive(Default)]
pub(super) struct Replica {
    pub(super) heard: usize,
    /// How many events told of something older than what was known.
    pub(super) outdated: usize,
    seats: HashMap<UserId, BTreeMap<RoomId, (u64, Option<Seat>)>>,
    rules: HashMap<RoomId, Rules>,
    members: HashMap<RoomId, BTreeSet<UserId>>,
}

impl Replica {
    /// Hears of seats. Events may come late, twice and in any order.
    pub(super) fn seat(&mut self, event: &Event) {
        let fields = &event.fields;
        match event.kind {
            EventKind::Membership => {
                let room = RoomId::stored(fields["about"].as_str().unwrap()).unwrap();
                let rev = fields["rev"].as_u64().unwrap();
                let mut seat = (fields["state"] == "in").then(|| Seat {
                    may_post: fields["may_post"].as_bool().unwrap(),
                    leads: fields["role"] != "member",
                });
                if let (Some(seat), Some(rules)) = (&mut seat, self.rules.get(&room).filter(|rules| rules.rev > rev)) {
                    rules.apply(seat);
                }
                let last = self.seats.entry(event.from.id.clone()).or_default().entry(room).or_insert((0, None));
                if rev > last.0 {
                    *last = (rev, seat);
                } else {
                    self.outdated += 1;
                }
            }
            EventKind::Room if fields.contains_key("posting") => {
                let rules = Rules {
                    is_archived: fields["archived"] == true,
                    admins_only: fields["posting"] == "admins",
                    rev: fields["rev"].as_u64().unwrap(),
                };
                if self.rules.get(&event.room).is_some_and(|known| known.rev >= rules.rev) {
                    self.outdated += 1;
                    return;
                }
                let _former = self.rules.insert(event.room.clone(), rules);
                for seats in self.seats.values_mut() {
                    if let Some((_, Some(seat))) = seats.get_mut(&event.room) {
                        rules.apply(seat);
                    }
                }
            }
            _ => {}
        }
    }

    /// Hears events as they were told.
    pub(super) fn hear(&mut self, event: &Event) {
        self.heard += 1;
        self.seat(event);
        if event.kind != EventKind::Members {
            return;
        }
        let named = |value: &Value| {
            let people = value.as_array().unwrap().iter();
            people.map(|user| UserId::stored(user["id"].as_str().unwrap()).unwrap()).collect::<Vec<_>>()
        };
        let members = self.members.entry(event.room.clone()).or_default();
        for user in named(&event.fields["added"]) {
            assert!(members.insert(user), "nobody is added twice");
        }
        for user in named(&event.fields["removed"]) {
            // who has made a room is in it without having been added
            let _was_there = members.remove(&user);
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
