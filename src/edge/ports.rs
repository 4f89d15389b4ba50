//! What the edge asks of others: who may do what, and in which rooms a person sits.
//!
//! The edge knows seats, not the reasons for them. By default every room is public: everybody may enter, and nobody has
//! a seat without asking for it.

use std::{fmt, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use hubbub_protocol::{Refusal, RoomId};

use crate::person::Person;

/// Decides what a person may do on a connection. Asked at hello, join, publish and typing, on the connection's task: it
/// must not block.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Whether the person may take a seat in this room by itself.
    ///
    /// # Errors
    ///
    /// The answer that the client gets.
    fn may_enter(&self, person: &Person, room: &RoomId) -> Result<(), Refusal>;

    /// Whether the person, who has a seat in this room, may publish there.
    ///
    /// # Errors
    ///
    /// The answer that the client gets.
    fn may_publish(&self, person: &Person, room: &RoomId) -> Result<(), Refusal>;

    /// Whether the person, who has a seat in this room, may show there that it types.
    ///
    /// # Errors
    ///
    /// The answer that the client gets.
    fn may_type(&self, person: &Person, room: &RoomId) -> Result<(), Refusal>;
}

/// Knows in which rooms a person sits without asking for it. Asked at hello.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The rooms of this person. Cancel safe.
    ///
    /// # Errors
    ///
    /// They cannot be read now: the client is closed with 1013 and comes back.
    fn rooms<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<Vec<RoomId>, Unavailable>>;
}

/// The directory cannot be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory of rooms cannot be read now")]
pub struct Unavailable;

/// The ports of one instance. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Who may do what.
    pub gate: Arc<dyn Gate>,
    /// In which rooms a person sits.
    pub directory: Arc<dyn Directory>,
}

impl Default for Ports {
    /// Every room is public.
    fn default() -> Self {
        Self { gate: Arc::new(PublicRooms), directory: Arc::new(PublicRooms) }
    }
}

/// Every room is public.
#[derive(Clone, Copy, Debug)]
struct PublicRooms;

impl Gate for PublicRooms {
    fn may_enter(&self, _: &Person, _: &RoomId) -> Result<(), Refusal> {
        Ok(())
    }

    fn may_publish(&self, _: &Person, _: &RoomId) -> Result<(), Refusal> {
        Ok(())
    }

    fn may_type(&self, _: &Person, _: &RoomId) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Directory for PublicRooms {
    fn rooms<'a>(&'a self, _: &'a Person) -> BoxFuture<'a, Result<Vec<RoomId>, Unavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }
}
