//! How a worker seats the connections of accounts: by what the directory answers, and by what services tell in the log.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hubbub_log::ring::{Change, Entry, Rights};
use hubbub_protocol::{CloseReason, ConnectionId, RoomId, Seq};

use super::{super::roster::Slot, Answer, Question, Worker};
use crate::{
    connection::{Connection, Moved},
    ports::{Seats, Unavailable},
    socket::Transport,
};

impl<T: Transport> Worker<T> {
    /// Asks for the seats of a connection, if they must be read.
    pub(super) fn ask(&self, connection: &Connection<T>) {
        let Some(sitter) = connection.sitter() else { return };
        let Some(read) = connection.ask_seats(self.position()) else { return };
        let question = Question { connection: connection.id(), sitter: sitter.clone(), read };
        if self.questions.try_send(question).is_err() {
            // the next sweep asks again
            connection.unask_seats();
        }
    }

    /// The seats of all accounts are not known above `known` any more: something of the log may be missing here.
    pub(super) fn doubt_all(&self, known: Seq) {
        for (_, connection) in self.roster.iter().filter(|(_, connection)| connection.sitter().is_some()) {
            connection.doubt_seats(self.position(), known);
            self.ask(connection);
        }
    }

    /// The answer of the directory about one connection.
    pub(super) fn seat(&mut self, id: ConnectionId, read: u64, answer: Answer) {
        let Some(&slot) = self.slots.get(&id) else { return };
        let Some(connection) = self.roster.get(slot).map(Arc::clone) else { return };
        let Seats { rev, rooms } = match answer {
            Ok(Some(seats)) => seats,
            Ok(None) => return connection.end_session(),
            Err(Unavailable) => {
                // whoever is connected waits for the next try
                connection.refuse(CloseReason::TryAgainLater);
                return connection.unask_seats();
            }
        };
        let rooms = rooms.into_iter().map(|(room, rights)| (self.roster.shared(room), rights)).collect();
        let newer = |room: &RoomId, position| self.rules.told_above(room, position);
        if let Some(moved) = connection.take_seats(read, Seats { rev, rooms }, newer, self.encode) {
            self.move_seats(slot, &moved);
        }
        self.take_over(&connection);
    }

    /// Carries out what an entry of the log changes in seats. Its frame has been delivered, and the position is still in
    /// front of it.
    pub(super) async fn apply_change(&mut self, entry: &Entry) {
        match (entry.change(), entry.room()) {
            (Some(Change::Membership { room, rev, seat }), Some(inbox)) => {
                let rules = self.rules.newer_than(room, *rev);
                let seat = seat.map(|rights| rules.map_or(rights, |rules| rules.applied_to(rights)));
                self.change_seats(inbox, room, *rev, seat, entry.seq).await;
            }
            (Some(Change::Rules { rev, rules }), Some(room)) if self.rules.note(room, *rev, *rules, entry.seq) => {
                let Self { roster, budget, .. } = self;
                for connection in roster.members(room) {
                    connection.change_rules(room, *rules);
                    budget.count_write().await;
                }
            }
            (Some(Change::SessionEnded { inbox, session }), _) => {
                for connection in self.roster.members(inbox).filter(|connection| connection.is_of_session(session)) {
                    connection.end_session();
                }
            }
            _ => (),
        }
    }

    /// The person of an inbox has a seat in a room above `at`, or none after it.
    async fn change_seats(&mut self, inbox: &RoomId, room: &RoomId, rev: u64, seat: Option<Rights>, at: Seq) {
        let Some(key) = self.roster.room(inbox) else { return };
        let room = self.roster.shared(room.clone());
        for slot in self.roster.slots(key).to_vec() {
            let moved = self.roster.get(slot).map(|connection| connection.change_seat(&room, rev, seat, at));
            self.move_seats(slot, &moved.unwrap_or_default());
            self.budget.count_write().await;
        }
    }

    fn move_seats(&mut self, slot: Slot, moved: &Moved) {
        for room in &moved.left {
            self.roster.leave(slot, room);
            self.remove_seat(room);
        }
        self.roster.join_all(slot, &moved.joined);
        for room in &moved.joined {
            self.count_seat(room);
        }
    }
}
