//! One place of the log, encoded for its readers.

use hubbub_protocol::{Frame, RoomId, Seq, UnixMillis};

use super::{
    draft::{Hole, NewEvent},
    told::{Change, Told},
};
use crate::{first_place::first_place, kind::Kind};

/// Estimated bytes of an entry beside its frame: the allocation, the indexes, the handle of the frame.
const OVERHEAD: usize = 160;

/// One entry of the log as the readers of the ring see it.
#[derive(Debug)]
pub struct Entry {
    /// Its number in the log.
    pub seq: Seq,
    /// Which connections it concerns.
    pub audience: Audience,
    /// The frame as clients get it. Never sent to [`Audience::Nobody`] and [`Audience::Hidden`].
    pub frame: Frame,
    /// The former `seq` of a re-appended message. 0 for any other message, and for a re-appended one if this instance
    /// cannot know whether a reader has received it before: every reader gets these.
    ///
    /// A reader has received the message before if `was` is not above what [`crossed_at`](Self::crossed_at) of the last
    /// marker returned.
    pub was: Seq,
    /// When the accepting instance took the message; 0 for markers and holes.
    pub at: UnixMillis,
    /// Age key: when this or an older entry was placed, whichever is later, by the steady clock of this instance. It never
    /// decreases along the log, so that a binary search finds the entries of an age.
    pub(super) stamp: u64,
    /// Where the fields of the record begin and end in the frame: every byte is kept once. Empty for markers and holes.
    fields: (u32, u32),
    /// What an event is that is no message.
    told: Option<Box<Told>>,
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
    /// A message, or what a service tells: connections with a seat in the room, which may be an inbox.
    Room(RoomId),
    /// A hole that this instance cannot fill: every connection gets the `reset` frame.
    Everyone,
    /// An epoch marker, without a frame. A reader that crosses it keeps [`crossed_at`](Entry::crossed_at) of its cursor,
    /// and skips re-appended messages whose [`was`](Entry::was) is not above that.
    Nobody,
    /// An event that no client gets. Kept in order to be appended again.
    Hidden,
}

impl Entry {
    /// An event. `applied` is what this instance had applied before the last marker.
    pub(super) fn event(event: NewEvent<'_>, audience: Audience, stamp: u64, applied: Span) -> Self {
        let NewEvent { seq, was: former, at, room: _, told, shown_in: _, frame, fields } = event;
        let was = if applied.contains(former) { former } else { 0 };
        // a frame of 4 GiB cannot get here; if it did, it would not be appended again
        let end = |at: usize| u32::try_from(at).unwrap_or(0);
        let fields = (end(fields.start), end(fields.end));
        Self { seq, audience, frame, was, at, stamp, fields, told, applied: Span::default() }
    }

    pub(super) fn hole(Hole { seq, frame }: Hole, stamp: u64) -> Self {
        Self { frame, audience: Audience::Everyone, ..Self::marker(seq, stamp, Span::default()) }
    }

    pub(super) fn marker(seq: Seq, stamp: u64, applied: Span) -> Self {
        let (audience, frame) = (Audience::Nobody, Frame::text(""));
        Self { seq, audience, frame, was: 0, at: 0, stamp, fields: (0, 0), told: None, applied }
    }

    /// Of a marker: a reader that crosses it with this cursor has received the lost messages up to the returned `seq`.
    /// 0 if the cursor comes from an epoch that this instance has not applied.
    pub const fn crossed_at(&self, cursor: Seq) -> Seq {
        if self.applied.contains(cursor) { cursor } else { 0 }
    }

    /// The room whose seats get it.
    pub const fn room(&self) -> Option<&RoomId> {
        match &self.audience {
            Audience::Room(room) => Some(room),
            Audience::Everyone | Audience::Nobody | Audience::Hidden => None,
        }
    }

    /// The age key: about when it was placed, by the steady clock. An entry never looks older than one before it.
    pub(crate) const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Bytes that it counts against [`Retention::bytes`](super::Retention::bytes).
    pub(super) fn size(&self) -> usize {
        let told = self.told.as_ref().map_or(0, |told| {
            let record = told.record.as_ref().map_or(0, |(record, _)| record.len());
            size_of::<Told>() + record
        });
        self.frame.len() + OVERHEAD + told
    }

    /// What it changes in the seats of connections.
    pub fn change(&self) -> Option<&Change> {
        self.told.as_ref()?.change.as_ref()
    }

    /// Whether it is a message, which belongs to the history of its room.
    pub const fn is_message(&self) -> bool {
        matches!(self.audience, Audience::Room(_)) && self.told.is_none()
    }

    /// What an event is. None for markers and holes.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match &self.audience {
            Audience::Room(_) | Audience::Hidden => {
                Some(self.told.as_ref().map_or(Kind::Message, |told| told.kind.clone()))
            }
            Audience::Everyone | Audience::Nobody => None,
        }
    }

    /// The record of an event as JSON. None for markers and holes.
    pub fn record(&self) -> Option<String> {
        self.kind()?;
        if let Some((record, _)) = self.original() {
            return Some(record.into());
        }
        let (fields, _) = self.parts()?;
        Some(format!("{{{fields}}}"))
    }

    /// The first place of an event: the lowest `seq` at which anybody may have seen it. History is ordered by it.
    pub fn place(&self) -> Seq {
        self.record().map_or(self.seq, |record| first_place(&record, self.former(), self.seq))
    }

    /// The former `seq` of a re-appended event as the log has it, or 0. The frame tells it also when [`was`](Self::was)
    /// does not.
    pub(crate) fn former(&self) -> Seq {
        if let Some((_, former)) = self.original() {
            return former;
        }
        let was = self.parts().and_then(|(_, tail)| tail.strip_prefix(r#","was":"#)?.strip_suffix('}')?.parse().ok());
        was.unwrap_or(0)
    }

    /// The record and the former `seq`, if the frame is not made around the record.
    fn original(&self) -> Option<(&str, Seq)> {
        let (record, former) = self.told.as_ref()?.record.as_ref()?;
        Some((record, *former))
    }

    /// The fields of the record in the frame, and what follows them.
    fn parts(&self) -> Option<(&str, &str)> {
        let (start, end) = (usize::try_from(self.fields.0).ok()?, usize::try_from(self.fields.1).ok()?);
        let (fields, tail) = (self.frame.bytes().get(start..end)?, self.frame.bytes().get(end..)?);
        Some((std::str::from_utf8(fields).ok()?, std::str::from_utf8(tail).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Draft, *};

    const PLACE: Seq = 1_700_000_000_000_001;

    const RECORD: &str = r#"{"room":"a","id":"m","body":"x\"was\":3}"}"#;

    fn event(kind: Kind, was: Seq, applied: Span) -> Entry {
        let audience = match &kind {
            Kind::Message => Audience::Room(RoomId::lobby()),
            Kind::Told(_) | Kind::Other(_) => Audience::Hidden,
        };
        let Draft::Event(event) = Draft::event(PLACE, was, kind, RECORD) else { panic!("an event") };
        Entry::event(event, audience, 1, applied)
    }

    fn message(was: Seq, applied: Span) -> Entry {
        event(Kind::Message, was, applied)
    }

    #[test]
    fn an_entry_has_the_record_and_the_kind_of_its_event() {
        for kind in [Kind::Message, Kind::named("edited").unwrap()] {
            for was in [0, 3] {
                let entry = event(kind.clone(), was, Span::default());
                assert_eq!((entry.kind(), entry.record().as_deref()), (Some(kind.clone()), Some(RECORD)));
            }
        }
        assert_eq!(Entry::marker(5, 0, Span::default()).record(), None);
        assert_eq!(Entry::hole(Hole::up_to(5), 0).record(), None);
    }

    #[test]
    fn an_entry_knows_its_first_place_also_where_nobody_can_skip_it() {
        for applied in [Span::default(), Span { base: 1, last: 9 }] {
            for (was, place) in [(0, PLACE), (3, 3)] {
                let entry = message(was, applied);
                assert_eq!((entry.former(), entry.place()), (was, place));
            }
        }
        assert_eq!(Entry::marker(5, 0, Span::default()).place(), 5);
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
