//! People, as others see them.

use hubbub_protocol::{User, UserId, UserName};
use serde::Serialize;

/// A person with an account, as others see it. Never with a mail address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Its id.
    pub id: UserId,
    /// Its name now.
    pub name: UserName,
    /// Its username, which nobody else has.
    pub username: String,
    /// What it says of itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
}

impl Person {
    /// Id and name, as events have them.
    pub fn user(&self) -> User {
        User { id: self.id.clone(), name: self.name.clone() }
    }
}

/// Whom an account can find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Everyone with an account.
    #[default]
    Everyone,
    /// Members of common groups, contacts, and whoever has exactly this username.
    Groups,
}
