//! Who may read the history of private rooms over HTTP: their members.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_http::{access::Readers, history::unavailable, problem::Problem};
use hubbub_messenger::{accounts::Accounts, memberships::Memberships};
use hubbub_protocol::{RoomId, no_such_room};

use crate::accounts::problem;

/// The pause before a client should ask again while the database is away, in milliseconds.
const AWAY_MS: u64 = 2000;

/// Members read their rooms. A room that one is not in cannot be told from one that does not exist.
#[derive(Clone, Debug)]
pub struct MemberReaders {
    /// Knows whose token it is.
    pub accounts: Accounts,
    /// Knows who is in which room.
    pub memberships: Arc<dyn Memberships>,
}

impl Readers for MemberReaders {
    fn admit<'a>(&'a self, token: &'a str, room: &'a RoomId) -> BoxFuture<'a, Result<(), Problem>> {
        async move {
            let caller = self.accounts.authorize(token).await.map_err(problem)?;
            let read = self.memberships.of(&[caller.account]).await;
            let seats = read.map_err(|error| unavailable(error.to_string(), AWAY_MS))?;
            let is_in = seats.iter().flat_map(|seats| &seats.rooms).any(|seat| seat.room == *room);
            if is_in { Ok(()) } else { Err(no_such_room().into()) }
        }
        .boxed()
    }
}
