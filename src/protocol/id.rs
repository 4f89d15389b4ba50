//! Ids and names. Parsing is the only constructor, so every value is valid.

use std::{fmt, iter, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{limits::MAX_NAME_CHARS, text::is_visible};

/// Which rule for ids and names a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not a room name.
    #[error(
        "a room is 1 to 64 characters of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit; or it is the id of a \
         private room"
    )]
    Room,
    /// The id of an inbox, which no client names.
    #[error("there is no such room, or you are not in it")]
    Inbox,
    /// Not a client message id.
    #[error("a message id is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")]
    Message,
    /// Not a name.
    #[error(
        "a name is 1 to {MAX_NAME_CHARS} characters, some of them visible, without control or text direction override \
         characters"
    )]
    Name,
    /// Not the secret of a guest.
    #[error("a session is 128 bits in base64url: 22 characters")]
    GuestSecret,
    /// Not the id of a session.
    #[error("the id of a session is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")]
    Session,
}

/// Declares a validated, cheaply cloned text.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let parse: fn(&str) -> Result<&str, InvalidId> = $parse;
                parse(text).map(|valid| Self(valid.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().into()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_id! {
    /// A room. Clients name public ones, `[a-z0-9][a-z0-9._-]{0,63}`, and private ones, `~` and 26 digits of base 32.
    RoomId, |text| match text.split_at_checked(1) {
        Some(("@", user)) if is_user(user) => Err(InvalidId::Inbox),
        Some(("~", digits)) if is_private_room(digits) => Ok(text),
        _ => is_public_room(text).then_some(text).ok_or(InvalidId::Room),
    }
}

fn is_public_room(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= 64 && bytes.next().is_some_and(plain) && bytes.all(|c| plain(c) || matches!(c, b'.' | b'_' | b'-'))
}

fn is_private_room(digits: &str) -> bool {
    digits.len() == ROOM_DIGITS && digits.bytes().all(|digit| DIGITS.contains(&digit))
}

text_id! {
    /// The id of a session of an account. Clients do not see it.
    SessionId, |text| is_plain(text).then_some(text).ok_or(InvalidId::Session)
}

text_id! {
    /// The id that a client gives its message: `[A-Za-z0-9_-]{1,64}`. Together with the sender it is the idempotency key.
    MessageId, |text| is_plain(text).then_some(text).ok_or(InvalidId::Message)
}

/// Whether a text is 1 to 64 characters of `A-Za-z0-9_-`.
fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

impl MessageId {
    /// The id with these 128 bits.
    pub fn of(bits: u128) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bits.to_be_bytes()).into())
    }
}

text_id! {
    /// The name of a person: 1 to 64 characters after trimming, at least one of them visible, without control and text
    /// direction override characters.
    ///
    /// The overrides and isolates (U+202A–E, U+2066–9) would let a name reorder the text around it.
    UserName, |text| {
        let name = text.trim();
        let forbidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let is_valid = is_visible(name) && name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(forbidden);
        is_valid.then_some(name).ok_or(InvalidId::Name)
    }
}

/// Digits of the ids of private rooms: Crockford's base 32, as in ULIDs, in lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Digits that 128 bits take.
const ROOM_DIGITS: usize = 26;

/// Who is in a room. The first character of its id says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKind {
    /// Whoever joined on a connection: `lobby`.
    Public,
    /// Its members, as the database has them: `~` and 26 digits of base 32.
    Private,
    /// One person, on every connection: `@` and the id of the person. No client ever names it.
    Inbox,
}

impl RoomId {
    /// The room of a client that names none: `lobby`.
    pub fn lobby() -> Self {
        Self("lobby".into())
    }

    /// The private room with these 128 bits.
    pub fn private(bits: u128) -> Self {
        let digit = |place: usize| {
            let index = (bits >> (5 * place)) & 31;
            DIGITS.get(usize::try_from(index).unwrap_or(0)).map_or('0', |digit| char::from(*digit))
        };
        Self(iter::once('~').chain((0..ROOM_DIGITS).rev().map(digit)).collect::<String>().into())
    }

    /// The inbox of a person.
    pub fn inbox(user: &UserId) -> Self {
        Self(format!("@{}", user.as_str()).into())
    }

    /// A room of any kind, as the log and the database name it. Parsing accepts no inbox, which no client names.
    pub fn stored(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(user) => is_user(user).then(|| Self(text.into())),
            None => text.parse().ok(),
        }
    }

    /// Who is in it.
    pub fn kind(&self) -> RoomKind {
        match self.0.as_bytes().first() {
            Some(b'~') => RoomKind::Private,
            Some(b'@') => RoomKind::Inbox,
            _ => RoomKind::Public,
        }
    }
}

/// The public id of a sender: the first 128 bits of the SHA-256 of its session, in base64url. `api` for publishes over
/// HTTP.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
pub struct UserId(Arc<str>);

impl UserId {
    /// The sender of messages that were published over HTTP.
    pub fn api() -> Self {
        Self("api".into())
    }

    /// The person with these 128 bits.
    pub fn of(bits: u128) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bits.to_be_bytes()).into())
    }

    /// The id of a person, as the log and the database name it. `api` is none.
    pub fn stored(text: &str) -> Option<Self> {
        is_user(text).then(|| Self(text.into()))
    }

    /// The text: 22 characters of base64url, or `api`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is 128 bits in base64url.
fn is_user(text: &str) -> bool {
    text.len() == 22 && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The secret of a guest: 128 random bits, 22 characters in base64url. It makes a client the same sender on every
/// connection and instance. Frames call it `session`.
///
/// It must never be logged, so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
#[serde(try_from = "String", into = "String")]
pub struct GuestSecret([u8; 16]);

impl GuestSecret {
    /// A new random secret, from a cryptographic generator.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The public id of the client that has this secret.
    pub fn user_id(&self) -> UserId {
        let digest = Sha256::digest(self.0);
        let half = digest.as_slice().get(..16).unwrap_or_default();
        UserId(URL_SAFE_NO_PAD.encode(half).into())
    }
}

impl FromStr for GuestSecret {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidId::GuestSecret)?;
        bytes.try_into().map(Self).map_err(|_| InvalidId::GuestSecret)
    }
}

impl TryFrom<String> for GuestSecret {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<GuestSecret> for String {
    fn from(session: GuestSecret) -> Self {
        URL_SAFE_NO_PAD.encode(session.0)
    }
}

impl fmt::Debug for GuestSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestSecret(hidden)")
    }
}

/// Number of a connection, unique on its instance until the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(transparent)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The connection with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_follows_its_grammar() {
        for good in ["a", "0", "lobby", "a.b_c-d", &"a".repeat(64)] {
            assert!(good.parse::<RoomId>().is_ok(), "{good}");
        }
        for bad in ["", "A", ".a", "-a", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<RoomId>(), Err(InvalidId::Room), "{bad}");
        }
    }

    #[test]
    fn the_first_character_of_a_room_says_who_is_in_it() {
        let inbox = RoomId::inbox(&UserId::of(7));
        assert_eq!(RoomId::private(u128::MAX).as_str(), "~7zzzzzzzzzzzzzzzzzzzzzzzzz");
        for (room, kind) in
            [(RoomId::lobby(), RoomKind::Public), (RoomId::private(7), RoomKind::Private), (inbox, RoomKind::Inbox)]
        {
            assert_eq!(room.kind(), kind);
            assert_eq!(RoomId::stored(room.as_str()), Some(room));
        }
        for bad in ["", "~", "~7", "@", "@ann", "~7zzzzzzzzzzzzzzzzzzzzzzzzi", "ä"] {
            assert_eq!(RoomId::stored(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_client_names_private_rooms_and_no_inbox() {
        assert_eq!(RoomId::private(7).as_str().parse(), Ok(RoomId::private(7)));
        assert_eq!(RoomId::inbox(&UserId::of(7)).as_str().parse::<RoomId>(), Err(InvalidId::Inbox));
    }

    #[test]
    fn a_message_id_follows_its_grammar() {
        for good in ["a", "A-b_9", &"x".repeat(64)] {
            assert!(good.parse::<MessageId>().is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a b", "é", &"x".repeat(65)] {
            assert_eq!(bad.parse::<MessageId>(), Err(InvalidId::Message), "{bad}");
        }
    }

    #[test]
    fn a_name_is_trimmed_and_counted_in_characters() {
        assert_eq!("  Ann ".parse::<UserName>().unwrap().as_str(), "Ann");
        assert!("é".repeat(64).parse::<UserName>().is_ok());
        for bad in ["", "   ", "\u{200b}", "\u{3164}", "a\nb", "a\u{202e}b", "a\u{2066}b", &"é".repeat(65)] {
            assert_eq!(bad.parse::<UserName>(), Err(InvalidId::Name), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_22_characters_and_its_user_id_does_not_reveal_it() {
        let session = GuestSecret::random();
        let text = String::from(session);
        assert_eq!(text.len(), 22);
        assert_eq!(text.parse::<GuestSecret>().unwrap(), session);
        assert_eq!(session.user_id().as_str().len(), 22);
        assert_ne!(session.user_id().as_str(), text);
        assert!(!format!("{session:?}").contains(&text));
        for bad in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA!", "AAAAAAAAAAAAAAAAAAAAAB", &"A".repeat(23)] {
            assert_eq!(bad.parse::<GuestSecret>(), Err(InvalidId::GuestSecret), "{bad}");
        }
    }

    #[test]
    fn a_user_id_is_half_a_sha_256() {
        let zero: GuestSecret = "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        // SHA-256 of sixteen zero bytes begins 374708fff7719dd5979ec875d56cd228
        assert_eq!(zero.user_id().as_str(), "N0cI__dxndWXnsh11WzSKA");
    }
}
