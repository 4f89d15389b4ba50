//! The person on the other side of a connection, resolved before the conversation begins.

use hubbub_protocol::{GuestSecret, User, UserName};

/// A person, as the sender of messages and the subject of the ports.
#[derive(Clone, Debug)]
pub struct Person {
    /// The sender of its messages.
    pub user: User,
    /// The secret that was made for a guest who brought none. The client is told it once.
    pub new_secret: Option<GuestSecret>,
}

impl Person {
    /// A guest, proven by its secret. Without a secret it gets a new one.
    pub fn guest(name: UserName, secret: Option<GuestSecret>) -> Self {
        let new_secret = secret.is_none().then(GuestSecret::random);
        let id = secret.or(new_secret).unwrap_or_else(GuestSecret::random).user_id();
        Self { user: User { id, name }, new_secret }
    }
}
