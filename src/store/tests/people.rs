//! People in a database, and the services that they use.

use std::sync::{Arc, Mutex};

use hubbub_messenger::{
    change::{CallError, Refused},
    channels::Channels,
    contacts::Contacts,
    directs::Directs,
    groups::Groups,
    memberships::{Memberships, Seats},
    outbox::{Event, EventKind, Teller},
    registry::Registry,
};
use hubbub_protocol::{RoomId, UserId};
use serde_json::Value;

use super::*;

/// The services of one instance, and what they have told.
pub(super) struct World {
    pub(super) database: Database,
    pub(super) told: Arc<Told>,
    pub(super) contacts: Contacts,
    pub(super) directs: Directs,
    pub(super) groups: Groups,
    pub(super) channels: Channels,
}

/// Keeps what is told.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Vec<Event>>);

impl Teller for Told {
    fn tell(&self, events: Vec<Event>) {
        self.0.lock().unwrap().extend(events);
    }
}

impl Told {
    /// Everything since the last call.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The last `membership` that somebody got since the last call: state, room, and whether it may post.
    pub(super) fn memberships(&self) -> Vec<(UserId, String, RoomId, bool)> {
        let events = self.take();
        let memberships = events.into_iter().filter(|event| event.kind == EventKind::Membership);
        memberships
            .map(|event| {
                let room = RoomId::stored(event.fields["about"].as_str().unwrap()).unwrap();
                assert_eq!(event.room, RoomId::inbox(&event.from.id));
                let may_post = event.fields.get("may_post").and_then(Value::as_bool).unwrap_or_default();
                (event.from.id, event.fields["state"].as_str().unwrap().to_owned(), room, may_post)
            })
            .collect()
    }
}

pub(super) fn user(number: u128) -> UserId {
    UserId::of(number)
}

impl World {
    /// An instance at a database with this many people, numbered from 1.
    pub(super) async fn with(home: &Home, people: u128) -> Self {
        let world = Self::at(home).await;
        for number in 1..=people {
            world.database.run_sql(format!(
                "INSERT INTO accounts (id, username, name, created_at) VALUES ('{}', 'user{number}', 'Person {number}', 1)",
                user(number).as_str()
            )).await;
        }
        world
    }

    /// Another instance at the same database.
    pub(super) async fn at(home: &Home) -> Self {
        let (database, told) = (home.open().await, Arc::new(Told::default()));
        let teller: Arc<dyn Teller> = Arc::<Told>::clone(&told);
        let registry = Registry::new(Arc::new(database.clone()), teller);
        Self {
            database,
            told,
            contacts: Contacts::new(registry.clone()),
            directs: Directs::new(registry.clone()),
            groups: Groups::new(registry.clone()),
            channels: Channels::new(registry),
        }
    }

    /// The seats of a person, in the order of the rooms.
    pub(super) async fn seats(&self, number: u128) -> Seats {
        let mut seats = self.database.of(&[user(number)]).await.unwrap().pop().unwrap();
        seats.rooms.sort_by(|one, other| one.room.cmp(&other.room));
        seats
    }

    /// The rooms of a person.
    pub(super) async fn rooms(&self, number: u128) -> Vec<RoomId> {
        self.seats(number).await.rooms.into_iter().map(|seat| seat.room).collect()
    }
}

/// Why a call is refused.
pub(super) fn refusal<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> Refused {
    match outcome {
        Err(CallError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

/// The code of a conflict.
pub(super) fn conflict<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> &'static str {
    match refusal(outcome) {
        Refused::Conflict { code, .. } => code,
        other => panic!("{other:?}"),
    }
}
