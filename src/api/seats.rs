//! The seats of people with accounts, as the core asks for them: from the database.

use std::sync::Arc;

use futures_util::{
    FutureExt,
    future::{BoxFuture, try_join},
};
use hubbub_edge::ports::{Directory, Seats, Sitter, Unavailable};
use hubbub_log::ring::Rights;
use hubbub_messenger::{
    StoreError,
    memberships::{self, Memberships, Seat},
    rank::Role,
};

/// Reads seats and sessions from the database, with two statements for any number of people.
#[derive(Clone, Debug)]
pub struct MemberDirectory(pub Arc<dyn Memberships>);

impl Directory for MemberDirectory {
    fn seats<'a>(&'a self, sitters: &'a [Sitter]) -> BoxFuture<'a, Result<Vec<Option<Seats>>, Unavailable>> {
        async move {
            let people: Vec<_> = sitters.iter().map(|sitter| sitter.user.clone()).collect();
            let sessions: Vec<_> = sitters.iter().map(|sitter| sitter.session.clone()).collect();
            let read = try_join(self.0.of(&people), self.0.standing(&sessions)).await;
            let (seats, standing) = read.map_err(|error| unavailable(&error))?;
            let all = sitters.iter().zip(seats);
            Ok(all.map(|(sitter, seats)| standing.contains(&sitter.session).then(|| taken(seats))).collect())
        }
        .boxed()
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    tracing::debug!(%error, "the rooms of people cannot be read");
    Unavailable
}

fn taken(seats: memberships::Seats) -> Seats {
    let rights = |seat: &Seat| Rights { may_post: seat.may_post, leads: seat.role >= Role::Admin };
    Seats { rev: seats.rev, rooms: seats.rooms.into_iter().map(|seat| (seat.room.clone(), rights(&seat))).collect() }
}
