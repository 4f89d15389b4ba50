//! The names of groups.

use std::{fmt, str::FromStr, sync::Arc};

use hubbub_protocol::RoomId;
use serde::{Deserialize, Serialize};

/// A group: 26 digits, as of a room without its first character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupId(Arc<str>);

/// It is no id of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group is 26 digits of base 32")]
pub struct InvalidGroupId;

impl GroupId {
    /// The group with these 128 bits.
    pub fn of(bits: u128) -> Self {
        Self(RoomId::private(bits).as_str().trim_start_matches('~').into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupId {
    type Err = InvalidGroupId;

    fn from_str(text: &str) -> Result<Self, InvalidGroupId> {
        RoomId::stored(&format!("~{text}")).map(|_| Self(text.into())).ok_or(InvalidGroupId)
    }
}

impl TryFrom<String> for GroupId {
    type Error = InvalidGroupId;

    fn try_from(text: String) -> Result<Self, InvalidGroupId> {
        text.parse()
    }
}

impl From<GroupId> for String {
    fn from(id: GroupId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_as_a_room_without_its_first_character() {
        let id = GroupId::of(7);
        assert_eq!(id.as_str(), "00000000000000000000000007");
        assert_eq!(id.as_str().parse(), Ok(id));
        for bad in ["", "~0000000000000000000000007", "0000000000000000000000000I", "lobby"] {
            assert_eq!(bad.parse::<GroupId>(), Err(InvalidGroupId), "{bad}");
        }
    }
}
