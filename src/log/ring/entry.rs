//! One place of the log, encoded for its readers.

use hubbub_protocol::{Frame, RoomId, Seq, UnixMillis};

use super::draft::{Hole, NewMessage};

/// Estimated bytes of an entry beside its frame: the allocation, the indexes, the handle of the frame.
const OVERHEAD: usize = 160;

/// The beginning of a `message` frame's payload, up to its `seq`.
const HEAD: &str = r#"{"type":"message","seq":"#;

/// One entry of the log as the readers of the ring see it.
#[derive(Debug)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// Which connections it concerns.
    pub audience: Audience,
    /// The frame as clients get it. Empty for [`Audience::Nobody`], which is never sent.
    pub frame: Frame,
    /// The former `seq` of a re-appended message. 0 for any other message, and for a re-appended one if this instance
    /// cannot know whether a reader has received it before: every reader gets these.
    ///
    /// A reader has received the message before if `was` is not above what [`crossed_at`](Self::crossed_at) of the last
    /// marker returned.
    pub was: Seq,
    /// When the accepting instance took the message; 0 for markers and holes.
    pub at: UnixMillis,
    /// Age key: the highest `at` of this and all older entries, but not above this instance's clock. It never decreases
    /// along the log, so that a binary search finds the entries of an age.
    pub(super) stamp: UnixMillis,
    /// The `was` of the frame; 0 for markers and holes.
    former: Seq,
    /// Of a marker: what this instance had applied of the epoch before.
    applied: Span,
}

/// The part of an epoch that an instance has applied: from its base to the last `seq`.
///
/// A reader whose cursor lies in it has received everything in the epoch up to that cursor. Any other cursor proves
/// nothing: it may belong to an epoch that this instance has never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) base: Seq,
    pub(super) last: Seq,
}

impl Span {
    pub(super) const fn contains(self, seq: Seq) -> bool {
        self.base <= seq && seq <= self.last
    }
}

/// Which connections an entry concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A message: connections with a seat in the room.
    Room(RoomId),
    /// A hole that this instance cannot fill: every connection gets the `reset` frame.
    Everyone,
    /// An epoch marker, without a frame. A reader that crosses it keeps [`crossed_at`](Entry::crossed_at) of its cursor,
    /// and skips re-appended messages whose [`was`](Entry::was) is not above that.
    Nobody,
}

impl Entry {
    /// A message. `applied` is what this instance had applied before the last marker.
    pub(super) fn message(message: NewMessage<'_>, room: RoomId, stamp: UnixMillis, applied: Span) -> Self {
        let NewMessage { seq, was: former, at, room: _, frame } = message;
        let was = if applied.contains(former) { former } else { 0 };
        Self { seq, audience: Audience::Room(room), frame, was, at, stamp, former, applied: Span::default() }
    }

    pub(super) fn hole(Hole { seq, frame }: Hole, stamp: UnixMillis) -> Self {
        Self { frame, audience: Audience::Everyone, ..Self::marker(seq, stamp, Span::default()) }
    }

    pub(super) fn marker(seq: Seq, stamp: UnixMillis, applied: Span) -> Self {
        let (audience, frame) = (Audience::Nobody, Frame::text(""));
        Self { seq, audience, frame, was: 0, at: 0, stamp, former: 0, applied }
    }

    /// Of a marker: a reader that crosses it with this cursor has received the lost messages up to the returned `seq`.
    /// 0 if the cursor comes from an epoch that this instance has not applied.
    pub const fn crossed_at(&self, cursor: Seq) -> Seq {
        if self.applied.contains(cursor) { cursor } else { 0 }
    }

    /// The room of a message.
    pub const fn room(&self) -> Option<&RoomId> {
        match &self.audience {
            Audience::Room(room) => Some(room),
            Audience::Everyone | Audience::Nobody => None,
        }
    }

    /// The age key: the highest `at` of this and all older entries. So an entry never looks older than one before it.
    pub(crate) const fn stamp(&self) -> UnixMillis {
        self.stamp
    }

    /// Bytes that it counts against [`Retention::bytes`](super::Retention::bytes).
    pub(super) const fn size(&self) -> usize {
        self.frame.len() + OVERHEAD
    }

    /// The record of a message as JSON, cut out of its frame. None for markers and holes.
    pub fn record(&self) -> Option<String> {
        self.room()?;
        let payload = std::str::from_utf8(self.frame.payload()).ok()?;
        let (_, fields) = payload.strip_prefix(HEAD)?.split_once(',')?;
        let tail = if self.former == 0 { "}".to_owned() } else { format!(r#","was":{}}}"#, self.former) };
        Some(format!("{{{}}}", fields.strip_suffix(&tail)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Seq = 1_700_000_000_000_001;

    fn message(was: Seq, applied: Span) -> Entry {
        let record = r#"{"room":"a","id":"m","body":"x\"was\":3}"}"#;
        let frame = Frame::message(PLACE, record, was);
        let message = NewMessage { seq: PLACE, was, at: 1, room: "a".into(), frame };
        Entry::message(message, RoomId::lobby(), 1, applied)
    }

    #[test]
    fn the_record_comes_back_out_of_the_frame() {
        let record = r#"{"room":"a","id":"m","body":"x\"was\":3}"}"#;
        for was in [0, 3] {
            assert_eq!(message(was, Span::default()).record().as_deref(), Some(record));
        }
        assert_eq!(Entry::marker(5, 0, Span::default()).record(), None);
        assert_eq!(Entry::hole(Hole::up_to(5), 0).record(), None);
    }

    #[test]
    fn only_a_cursor_in_an_applied_epoch_proves_what_its_reader_had() {
        let applied = Span { base: 100, last: 120 };
        let marker = Entry::marker(200, 0, applied);
        for (cursor, crossed_at) in [(99, 0), (100, 100), (115, 115), (120, 120), (121, 0), (150, 0)] {
            assert_eq!(marker.crossed_at(cursor), crossed_at, "{cursor}");
        }
        for (former, was) in [(0, 0), (99, 0), (110, 110), (121, 0)] {
            assert_eq!(message(former, applied).was, was, "{former}");
        }
    }
}
