//! One place of the log, encoded for its readers.

use hubbub_protocol::{Frame, ResetReason, RoomId, Seq, ServerFrame, UnixMillis};

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
    /// The place it had before the log lost it. 0 for a message that was never lost, and for one of which this
    /// instance cannot tell who had it: everyone gets those.
    ///
    /// A reader has had it if this is not above what [`crossed_at`](Self::crossed_at) of the last marker gave.
    pub was: Seq,
    /// When the accepting instance took the message; 0 for what is no message.
    pub at: UnixMillis,
    /// `at`, made monotone along the log, so that age can be searched for.
    pub(super) stamp: UnixMillis,
    /// What the frame says that it was; of a marker, nothing.
    former: Seq,
    /// Of a marker: what this instance had walked before it.
    walked: Span,
}

/// Places from the base of an epoch to the last one that an instance walked in it.
///
/// Whoever stands there has had what the epoch has up to there. Of any other cursor that cannot be said: it may belong
/// to an epoch that came and went elsewhere.
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

/// Whom an entry concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A message: the members of the room.
    Room(RoomId),
    /// A hole this instance could not fill: every connection gets the `reset` frame.
    Everyone,
    /// An epoch marker: no frame. A reader that crosses it notes [`crossed_at`](Entry::crossed_at) its cursor, and skips
    /// returned messages whose [`was`](Entry::was) is not above that.
    Nobody,
}

impl Entry {
    /// A message, after a marker in front of which this instance had walked `walked`.
    pub(super) fn message(seq: Seq, room: RoomId, draft: Draft, stamp: UnixMillis, walked: Span) -> Self {
        let Draft { frame, was: former, at } = draft;
        let was = if walked.contains(former) { former } else { 0 };
        Self { seq, audience: Audience::Room(room), frame, was, at, stamp, former, walked: Span::default() }
    }

    pub(super) fn hole(seq: Seq, stamp: UnixMillis) -> Self {
        let frame = Frame::json(&ServerFrame::Reset { seq, reason: ResetReason::Hole });
        Self { frame, audience: Audience::Everyone, ..Self::marker(seq, stamp, Span::default()) }
    }

    pub(super) fn marker(seq: Seq, stamp: UnixMillis, walked: Span) -> Self {
        let (audience, frame) = (Audience::Nobody, Frame::text(""));
        Self { seq, audience, frame, was: 0, at: 0, stamp, former: 0, walked }
    }

    /// Of a marker: up to where a reader that crosses it with this cursor has surely had what the log has lost. 0 when
    /// the cursor comes from another instance that knew more, or other things.
    pub const fn crossed_at(&self, cursor: Seq) -> Seq {
        if self.walked.contains(cursor) { cursor } else { 0 }
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
        let tail = if self.former == 0 { "}".to_owned() } else { format!(r#","was":{}}}"#, self.former) };
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

    const PLACE: Seq = 1_700_000_000_000_001;

    fn message(was: Seq, walked: Span) -> Entry {
        let record = r#"{"room":"a","id":"m","body":"x\"was\":3}"}"#;
        let draft = Draft { frame: Frame::message(PLACE, record, was), was, at: 1 };
        Entry::message(PLACE, RoomId::lobby(), draft, 1, walked)
    }

    #[test]
    fn the_record_comes_back_out_of_the_frame() {
        let record = r#"{"room":"a","id":"m","body":"x\"was\":3}"}"#;
        for was in [0, 3] {
            assert_eq!(message(was, Span::default()).record().as_deref(), Some(record));
        }
        assert_eq!(Entry::marker(5, 0, Span::default()).record(), None);
        assert_eq!(Entry::hole(5, 0).record(), None);
    }

    #[test]
    fn only_what_was_walked_here_tells_who_had_what() {
        let walked = Span { base: 100, last: 120 };
        let marker = Entry::marker(200, 0, walked);
        for (cursor, crossed_at) in [(99, 0), (100, 100), (115, 115), (120, 120), (121, 0), (150, 0)] {
            assert_eq!(marker.crossed_at(cursor), crossed_at, "{cursor}");
        }
        for (former, was) in [(0, 0), (99, 0), (110, 110), (121, 0)] {
            assert_eq!(message(former, walked).was, was, "{former}");
        }
    }
}
