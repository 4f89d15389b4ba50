//! What makes two publishes the same message: its key, and a hash of what it says.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::first_place;

/// Fields of a record that are not part of what it says: where, under which id, by whom and when, and the
/// [first place](first_place), which whoever appends the event again writes into it.
const ENVELOPE: [&str; 5] = ["room", "id", "from", "at", first_place::FIELD];

/// A hash of what a record says: the first 8 bytes of the SHA-256 of its kind and of its fields, without the room, the
/// id, the sender, the time and the first place. The text form is hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(u64);

impl ContentHash {
    /// The hash as a signed integer, for stores that know no other.
    pub(crate) const fn to_bits(self) -> i64 {
        self.0.cast_signed()
    }

    pub(crate) const fn from_bits(bits: i64) -> Self {
        Self(bits.cast_unsigned())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// Identifies a record, so that the log recognises a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `<from.id>:<room>:<id>`.
    pub(crate) key: Arc<str>,
    pub(crate) hash: ContentHash,
}

#[derive(Deserialize)]
struct Sender {
    id: String,
}

impl Identity {
    /// The identity of a record in JSON. None: the record cannot be read.
    pub(crate) fn of(kind: &str, record: &str) -> Option<Self> {
        let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(record).ok()?;
        let text = |name| serde_json::from_str::<String>(fields.get(name)?.get()).ok();
        let (room, id) = (text("room")?, text("id")?);
        let from: Sender = serde_json::from_str(fields.get("from")?.get()).ok()?;
        let mut digest = Sha256::new_with_prefix(kind);
        for (name, value) in fields.iter().filter(|(name, _)| !ENVELOPE.contains(name)) {
            // JSON has no raw newline, so nothing can look like a separator
            for part in ["\n", name, "\n", value.get()] {
                digest.update(part);
            }
        }
        let hash = digest.finalize().first_chunk().copied().map(u64::from_be_bytes).map(ContentHash)?;
        Some(Self { key: format!("{}:{room}:{id}", from.id).into(), hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(kind: &str, record: &str) -> ContentHash {
        Identity::of(kind, record).unwrap().hash
    }

    #[test]
    fn the_key_names_the_sender_the_room_and_the_id() {
        let record = r#"{"room":"a","id":"m1","from":{"id":"u","name":"x"},"body":"","at":7}"#;
        assert_eq!(&*Identity::of("message", record).unwrap().key, "u:a:m1");
        for unreadable in ["", "{}", "[]", r#"{"room":"a","id":"m1","from":{},"body":""}"#] {
            assert_eq!(Identity::of("message", unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn the_hash_is_of_what_is_said_and_not_of_where_by_whom_and_when() {
        let first = hash("message", r#"{"room":"a","id":"m1","from":{"id":"u","name":"x"},"body":"hi","at":7}"#);
        let elsewhere = r#"{"first":3,"at":9,"body":"hi","from":{"id":"v","name":"y"},"id":"m2","room":"b"}"#;
        assert_eq!(hash("message", elsewhere), first);
        assert_ne!(hash("edited", elsewhere), first);
        assert_ne!(hash("message", &elsewhere.replace("hi", "ho")), first);
        assert_ne!(hash("message", &elsewhere.replace(r#""first":3"#, r#""of":3"#)), first);
    }

    #[test]
    fn the_hash_stays_the_same_in_every_release() {
        // instances of two releases share the log: SHA-256 of `message`, newline, `body`, newline, `"hi"`
        let record = r#"{"room":"a","id":"m1","from":{"id":"u","name":"x"},"body":"hi","at":7}"#;
        assert_eq!(hash("message", record).to_string(), "3d1eebf8bbef0a79");
    }
}
