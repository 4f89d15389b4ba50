//! Entries that are about to enter the ring. All that takes time, parsing and encoding, is done here, before the ring's
//! lock is taken.

use std::{borrow::Cow, ops::Range};

use hubbub_protocol::{Frame, ResetReason, RoomId, Seq, ServerFrame, UnixMillis};
use serde::Deserialize;

use super::told::{Reading, Told};
use crate::{backend::LogEntry, kind::Kind, marker::Marker, sequencer::Place};

/// An entry of the log, encoded for clients.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Draft<'a> {
    Event(NewEvent<'a>),
    Hole(Hole),
    Marker {
        marker: Marker,
        /// What this instance lacks in front of the marker.
        hole: Option<Hole>,
    },
}

/// An event with its frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewEvent<'a> {
    pub(crate) seq: Seq,
    /// The former `seq` of a re-appended event, or 0.
    pub(crate) was: Seq,
    /// When it was accepted.
    pub(crate) at: UnixMillis,
    /// Of a message: its room, which is not checked yet; empty if the record cannot be read.
    pub(super) room: Cow<'a, str>,
    /// What it is, unless it is a message.
    pub(super) told: Option<Box<Told>>,
    /// Of an event that is no message: the room whose seats get the frame.
    pub(super) shown_in: Option<RoomId>,
    pub(super) frame: Frame,
    /// Where the fields of the record stand in the frame.
    pub(super) fields: Range<usize>,
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
    /// An event. One whose record cannot be read uses up its `seq`, but is not kept.
    pub(crate) fn event(seq: Seq, was: Seq, kind: Kind, record: &'a str) -> Self {
        let Outline { room, at } = serde_json::from_str(record).unwrap_or_default();
        let reading = if let Kind::Told(told) = kind { Reading::of(told, seq, was, record) } else { None };
        if let Some(Reading { told, room: shown_in, frame, fields }) = reading {
            return Self::Event(NewEvent { seq, was, at, room, told: Some(Box::new(told)), shown_in, frame, fields });
        }
        let (frame, fields) = Frame::event(kind.name(), seq, record, was);
        let told = (kind != Kind::Message).then(|| Box::new(Told { kind, record: None, change: None }));
        Self::Event(NewEvent { seq, was, at, room, told, shown_in: None, frame, fields })
    }

    pub(crate) const fn place(&self) -> Place {
        match self {
            Self::Event(NewEvent { seq, .. }) | Self::Hole(Hole { seq, .. }) => Place::Message(*seq),
            Self::Marker { marker, .. } => Place::Marker(*marker),
        }
    }
}

impl<'a> From<&'a LogEntry> for Draft<'a> {
    fn from(entry: &'a LogEntry) -> Self {
        match entry {
            LogEntry::Message { seq, was, record } => {
                Self::event(*seq, *was, Kind::Message, std::str::from_utf8(record).unwrap_or_default())
            }
            LogEntry::Event { seq, was, kind, record } => {
                Self::event(*seq, *was, kind.clone(), std::str::from_utf8(record).unwrap_or_default())
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
        let read = |record| match Draft::event(7, 3, Kind::Message, record) {
            Draft::Event(NewEvent { seq: 7, was: 3, at, room, frame, .. }) => {
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
