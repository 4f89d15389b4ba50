//! What an event of the log is.

use std::sync::Arc;

/// What an event of the log is. An event of a kind that this release does not know takes its `seq`, is kept in the ring, and
/// is appended again if the log loses it, but no client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message of a room.
    Message,
    /// What a service of the server tells.
    Told(Telling),
    /// A kind of another release.
    Other(Arc<str>),
}

/// What a service of the server tells: it has changed something in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// To a room: who came into it or left it.
    Members,
    /// To a room: its name, its rules, or that it is archived.
    Room,
    /// To a room: its group changed.
    Group,
    /// To a person's inbox: the person is in a room now, or no longer.
    Membership,
    /// To a person's inbox: a contact changed.
    Contact,
    /// To a person's inbox: the profile of the person or of a contact changed.
    Profile,
    /// To a person's inbox: the person's settings changed.
    Settings,
    /// To a person's inbox: one of the person's sessions has ended. No client gets it.
    SessionEnded,
}

impl Telling {
    const ALL: [Self; 8] = [
        Self::Members,
        Self::Room,
        Self::Group,
        Self::Membership,
        Self::Contact,
        Self::Profile,
        Self::Settings,
        Self::SessionEnded,
    ];

    /// Its name, as it stands in the log and in frames.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Room => "room",
            Self::Group => "group",
            Self::Membership => "membership",
            Self::Contact => "contact",
            Self::Profile => "profile",
            Self::Settings => "settings",
            Self::SessionEnded => "session_ended",
        }
    }
}

impl Kind {
    /// The kind with this name. None: it is no name of a kind, which has 1 to 32 of the characters `a-z_`.
    pub fn named(name: &str) -> Option<Self> {
        let is_valid = (1..=32).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        if !is_valid {
            return None;
        }
        if name == Self::Message.name() {
            return Some(Self::Message);
        }
        let told = Telling::ALL.into_iter().find(|told| told.name() == name);
        Some(told.map_or_else(|| Self::Other(name.into()), Self::Told))
    }

    /// Its name, as it stands in the log and in frames.
    pub fn name(&self) -> &str {
        match self {
            Self::Message => "message",
            Self::Told(told) => told.name(),
            Self::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_a_line_of_words_without_being_mistaken() {
        assert_eq!(Kind::named("message"), Some(Kind::Message));
        assert_eq!(Kind::named("edited").unwrap().name(), "edited");
        for name in ["", "Edited", "a b", "a\n", "a-b", "0", &"a".repeat(33)] {
            assert_eq!(Kind::named(name), None, "{name:?}");
        }
    }

    #[test]
    fn what_services_tell_is_known_by_its_name() {
        for told in Telling::ALL {
            assert_eq!(Kind::named(told.name()), Some(Kind::Told(told)));
        }
    }
}
