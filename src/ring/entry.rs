//! One place of the log, encoded for its readers.

use crate::protocol::{Frame, ResetReason, RoomId, Seq, ServerFrame, UnixMillis};

/// What an entry costs beside its frame, in bytes: the allocation, the indexes, the frame's handle.
const OVERHEAD: usize = 160;

/// Head of a `message` frame's payload, up to its `seq`.
const HEAD: &str = r#"{"type":"message","seq":"#;

/// One entry of the log as every reader of the ring sees it.
#[derive(Debug)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// Whom it concerns.
    pub audience: Audience,
    /// The frame as clients get it. Of [`Audience::Nobody`]: empty, never sent.
    pub frame: Frame,
    /// The place it had before the log lost it, 0 for a message that was never lost.
    ///
    /// A reader that crossed the last marker with a cursor of at least `was` has had it.
    pub was: Seq,
    /// When the accepting instance took the message; 0 for what is no message.
    pub at: UnixMillis,
    /// `at`, made monotone along the log, so that age can be searched for.
    pub(super) stamp: UnixMillis,
}

/// Whom an entry concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A message: the members of the room.
    Room(RoomId),
    /// A hole this instance could not fill: every connection gets the `reset` frame.
    Everyone,
    /// An epoch marker: no frame. A reader that crosses it notes the cursor it had before, and skips
    /// returned messages whose [`was`](Entry::was) is not above that.
    Nobody,
}

impl Entry {
    pub(super) fn message(seq: Seq, room: RoomId, draft: Draft, stamp: UnixMillis) -> Self {
        let Draft { frame, was, at } = draft;
        Self { seq, audience: Audience::Room(room), frame, was, at, stamp }
    }

    pub(super) fn hole(seq: Seq, stamp: UnixMillis) -> Self {
        let frame = Frame::json(&ServerFrame::Reset { seq, reason: ResetReason::Hole });
        Self { seq, audience: Audience::Everyone, frame, was: 0, at: 0, stamp }
    }

    pub(super) fn marker(seq: Seq, stamp: UnixMillis) -> Self {
        Self { seq, audience: Audience::Nobody, frame: Frame::text(""), was: 0, at: 0, stamp }
    }

    /// The room of a message.
    pub const fn room(&self) -> Option<&RoomId> {
        match &self.audience {
            Audience::Room(room) => Some(room),
            Audience::Everyone | Audience::Nobody => None,
        }
    }

    /// `at`, made monotone along the log: older entries never look younger.
    pub(crate) const fn stamp(&self) -> UnixMillis {
        self.stamp
    }

    /// What it counts against the ring's bound, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.frame.len() + OVERHEAD
    }

    /// The record of a message as JSON, cut out of its frame. None for what is no message.
    pub fn record(&self) -> Option<String> {
        self.room()?;
        let payload = std::str::from_utf8(self.frame.payload()).ok()?;
        let (_, fields) = payload.strip_prefix(HEAD)?.split_once(',')?;
        let tail = if self.was == 0 { "}".to_owned() } else { format!(r#","was":{}}}"#, self.was) };
        Some(format!("{{{}}}", fields.strip_suffix(&tail)?))
    }
}

/// A message that is about to enter the ring.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The encoded `message` frame.
    pub(crate) frame: Frame,
    /// The place it had before, or 0.
    pub(crate) was: Seq,
    /// When it was accepted.
    pub(crate) at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_comes_back_out_of_the_frame() {
        let record = r#"{"room":"a","id":"m","body":"x\"was\":3}"}"#;
        for was in [0, 3] {
            let draft = Draft { frame: Frame::message(1_700_000_000_000_001, record, was), was, at: 1 };
            let entry = Entry::message(1_700_000_000_000_001, RoomId::lobby(), draft, 1);
            assert_eq!(entry.record().as_deref(), Some(record));
        }
        assert_eq!(Entry::marker(5, 0).record(), None);
        assert_eq!(Entry::hole(5, 0).record(), None);
    }
}
