//! The person at the client's end of a connection.

use hubbub_protocol::{GuestSecret, SessionId, User, UserName};

/// A person: the sender of messages, and the one whose permissions the ports check.
#[derive(Clone, Debug)]
pub struct Person {
    /// Id and name, as other clients see them.
    pub user: User,
    /// How the person is known.
    pub kind: PersonKind,
    /// The secret that was created for a guest without one. `welcome` carries it to the client; it is not sent again.
    pub new_secret: Option<GuestSecret>,
}

/// How a person is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonKind {
    /// By a secret that the client made. A guest is in public rooms only.
    Guest,
    /// By an account.
    Account {
        /// The session that the connection belongs to. When it ends, the connection is closed.
        session: SessionId,
    },
}

impl Person {
    /// A guest. Its secret proves its user id. Without a secret it gets a new one, and so a new id.
    pub fn guest(name: UserName, secret: Option<GuestSecret>) -> Self {
        let new_secret = secret.is_none().then(GuestSecret::random);
        let id = secret.or(new_secret).unwrap_or_else(GuestSecret::random).user_id();
        Self { user: User { id, name }, kind: PersonKind::Guest, new_secret }
    }

    /// A person with an account, on a connection of this session.
    pub const fn account(user: User, session: SessionId) -> Self {
        Self { user, kind: PersonKind::Account { session }, new_secret: None }
    }

    /// The session that the connection belongs to. None: the person is a guest.
    pub const fn session(&self) -> Option<&SessionId> {
        match &self.kind {
            PersonKind::Guest => None,
            PersonKind::Account { session } => Some(session),
        }
    }

    /// Whether the person has an account.
    pub const fn has_account(&self) -> bool {
        matches!(self.kind, PersonKind::Account { .. })
    }
}
