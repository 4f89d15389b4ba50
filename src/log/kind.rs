//! What an event of the log is.

use std::sync::Arc;

/// What an event of the log is. This release shows messages. An event of any other kind takes its `seq`, is kept in the
/// ring, and is appended again if the log loses it, but no client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message of a room.
    Message,
    /// A kind of another release.
    Other(Arc<str>),
}

impl Kind {
    /// The kind with this name. None: it is no name of a kind, which has 1 to 32 of the characters `a-z_`.
    pub fn named(name: &str) -> Option<Self> {
        let is_valid = (1..=32).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        match name {
            _ if !is_valid => None,
            "message" => Some(Self::Message),
            other => Some(Self::Other(other.into())),
        }
    }

    /// Its name, as it stands in the log and in frames.
    pub fn name(&self) -> &str {
        match self {
            Self::Message => "message",
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
}
