//! Entries that are about to enter the ring. All that takes time, parsing and encoding, is done here, before the ring's
//! lock is taken.

use std::borrow::Cow;

use hubbub_protocol::{Frame, ResetReason, Seq, ServerFrame, UnixMillis};
use serde::Deserialize;

use crate::{backend::LogEntry, marker::Marker, sequencer::Place};

/// An entry of the log, encoded for clients.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Draft<'a> {
    Message(NewMessage<'a>),
    Hole(Hole),
    Marker {
        marker: Marker,
        /// What this instance lacks in front of the marker.
        hole: Option<Hole>,
    },
}

/// A message with its `message` frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewMessage<'a> {
    pub(crate) seq: Seq,
    /// The former `seq` of a re-appended message, or 0.
    pub(crate) was: Seq,
    /// When it was accepted.
    pub(super) at: UnixMillis,
    /// Not checked yet; empty if the record cannot be read.
    pub(super) room: Cow<'a, str>,
    pub(super) frame: Frame,
}

/// Entries up to `seq` that this instance can never have, with the `reset` frame for its clients.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(super) seq: Seq,
    pub(super) frame: Frame,
}

/// What the ring reads of a record.
#[derive(Debug, Default, Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
    at: UnixMillis,
}

impl Hole {
    pub(crate) fn up_to(seq: Seq) -> Self {
        Self { seq, frame: Frame::json(&ServerFrame::Reset { seq, reason: ResetReason::Hole }) }
    }
}

impl<'a> Draft<'a> {
    /// A message. One whose record cannot be read, such as one of another release, uses up its `seq`, but is not kept.
    pub(crate) fn message(seq: Seq, was: Seq, record: &'a str) -> Self {
        let Outline { room, at } = serde_json::from_str(record).unwrap_or_default();
        Self::Message(NewMessage { seq, was, at, room, frame: Frame::message(seq, record, was) })
    }

    pub(crate) const fn place(&self) -> Place {
        match self {
            Self::Message(NewMessage { seq, .. }) | Self::Hole(Hole { seq, .. }) => Place::Message(*seq),
            Self::Marker { marker, .. } => Place::Marker(*marker),
        }
    }
}

impl<'a> From<&'a LogEntry> for Draft<'a> {
    fn from(entry: &'a LogEntry) -> Self {
        match entry {
            LogEntry::Message { seq, was, record } => {
                Self::message(*seq, *was, std::str::from_utf8(record).unwrap_or_default())
            }
            LogEntry::Marker(marker) => Self::from(*marker),
        }
    }
}

impl From<Marker> for Draft<'_> {
    fn from(marker: Marker) -> Self {
        Self::Marker { marker, hole: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_for_its_room_and_age_and_an_unreadable_one_keeps_its_place() {
        let read = |record| match Draft::message(7, 3, record) {
            Draft::Message(NewMessage { seq: 7, was: 3, at, room, frame }) => {
                assert_eq!(frame, Frame::message(7, record, 3));
                (room.into_owned(), at)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(read(r#"{"room":"a\u0062","id":"m1","from":{"id":"u"},"at":7}"#), ("ab".to_owned(), 7));
        for unreadable in ["", "{}", "[]", r#"{"room":5,"at":7}"#] {
            assert_eq!(read(unreadable), (String::new(), 0), "{unreadable}");
        }
    }
}
