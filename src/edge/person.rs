//! The person at the client's end of a connection.

use hubbub_protocol::{GuestSecret, User, UserName};

/// A person: the sender of messages, and the one whose permissions the ports check.
#[derive(Clone, Debug)]
pub struct Person {
    /// Id and name, as other clients see them.
    pub user: User,
    /// The secret that was created for a guest without one. `welcome` carries it to the client; it is not sent again.
    pub new_secret: Option<GuestSecret>,
}

impl Person {
    /// A guest. Its secret proves its user id. Without a secret it gets a new one, and so a new id.
    pub fn guest(name: UserName, secret: Option<GuestSecret>) -> Self {
        let new_secret = secret.is_none().then(GuestSecret::random);
        let id = secret.or(new_secret).unwrap_or_else(GuestSecret::random).user_id();
        Self { user: User { id, name }, new_secret }
    }
}
