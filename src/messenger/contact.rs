//! What two people are to each other.

use serde::Serialize;

use crate::person::Person;

words! {
    /// What a person says of another one.
    Stance {
        /// It would like the other one as a contact.
        Asked = "asked",
        /// They are contacts. Both say so, or none.
        Accepted = "accepted",
        /// It does not want to hear of the other one.
        Blocked = "blocked",
    }
}

words! {
    /// What another person is to one who looks.
    ContactState {
        /// Nothing.
        None = "none",
        /// Asked, and has not answered.
        Asked = "asked",
        /// Has asked, and got no answer yet.
        Asks = "asks",
        /// A contact.
        Accepted = "accepted",
        /// Blocked by the one who looks.
        Blocked = "blocked",
    }
}

/// What one person is to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// The other one.
    pub person: Person,
    /// What it is.
    pub state: ContactState,
}
