//! From entries of the log to the batch that the database takes. Pure: no clock, no I/O.

use std::collections::{HashMap, hash_map::Entry};

use bytes::Bytes;
use hubbub_log::{Kind, LogEntry, Snapshot};
use hubbub_messenger::{
    journal::{Batch, Cursor, DeadLetter},
    message::Message,
};
use hubbub_protocol::{MessageId, RoomId, Seq, UnixMillis, UserId};

use crate::{
    epochs::{cursor_at, lost_between},
    events::{id, is_known, read},
};

/// The most bytes of records in one batch.
const MAX_BYTES: usize = 1024 * 1024;

/// An event that the database has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) seq: Seq,
    pub(crate) error: String,
}

/// An event of a kind that this release does not know. The walk ends in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) seq: Seq,
    pub(crate) kind: Kind,
}

/// What a recorder does with the entries that follow its cursor.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) batch: Batch,
    /// The entries in the batch, markers included.
    pub(crate) entries: usize,
    /// The events in the batch.
    pub(crate) events: u64,
    /// Messages that stand in the batch once more, at a higher place.
    pub(crate) repeated: u64,
    /// When its first message was accepted.
    pub(crate) oldest: Option<UnixMillis>,
    pub(crate) unknown: Option<Unknown>,
    places: HashMap<(RoomId, UserId, MessageId), usize>,
}

/// Walks from the cursor over the entries of a snapshot, up to 1 MiB of records. `refused` becomes a dead letter.
pub(crate) fn walk(from: &Cursor, snapshot: &Snapshot, refused: Option<&Refusal>) -> Walk {
    let mut walk = Walk::new(from);
    let mut bytes = 0;
    for entry in &snapshot.entries {
        bytes += entry.record().map_or(0, Bytes::len);
        let is_full = bytes > MAX_BYTES && walk.entries > 0;
        if is_full || walk.is_stopped_by(entry) {
            break;
        }
        walk.step(entry, snapshot, refused);
    }
    walk
}

impl Walk {
    fn new(from: &Cursor) -> Self {
        let batch = Batch {
            from: from.clone(),
            to: from.clone(),
            messages: vec![],
            dead_letters: vec![],
            met: vec![],
            gaps: vec![],
        };
        Self { batch, entries: 0, events: 0, repeated: 0, oldest: None, unknown: None, places: HashMap::new() }
    }

    fn is_stopped_by(&mut self, entry: &LogEntry) -> bool {
        let unknown = entry.kind().filter(|kind| !is_known(kind));
        self.unknown = unknown.map(|kind| Unknown { seq: entry.seq(), kind: kind.clone() });
        self.unknown.is_some()
    }

    fn step(&mut self, entry: &LogEntry, snapshot: &Snapshot, refused: Option<&Refusal>) {
        let (seq, last) = (entry.seq(), self.batch.to.seq);
        if seq <= last {
            return;
        }
        let lost = lost_between(last, entry, &snapshot.markers);
        self.batch.gaps.extend(lost);
        if last == 0 || lost.is_some() || matches!(entry, LogEntry::Marker(_)) {
            self.batch.to = cursor_at(seq, &snapshot.markers);
        }
        self.batch.to.seq = seq;
        self.entries += 1;
        if let Some(record) = entry.record() {
            self.events += 1;
            let refused = refused.filter(|refusal| refusal.seq == seq);
            let read = refused.map_or_else(|| read(entry, record), |refusal| Err(refusal.error.clone()));
            match read {
                Ok(Some(message)) => self.take(message),
                Ok(None) => (),
                Err(error) => self.batch.dead_letters.push(dead_letter(entry, record, &error)),
            }
            if entry.kind() != Some(&Kind::Message) {
                // with a dead letter too: else it would come again for ever
                self.batch.met.extend(id(record));
            }
        }
    }

    /// Of several messages with the same room, sender and id the first one stays, at the lowest place.
    fn take(&mut self, message: Message) {
        self.oldest.get_or_insert(message.at);
        let name = (message.room.clone(), message.from.id.clone(), message.id.clone());
        match self.places.entry(name) {
            Entry::Vacant(place) => {
                place.insert(self.batch.messages.len());
                self.batch.messages.push(message);
            }
            Entry::Occupied(place) => {
                self.repeated += 1;
                if let Some(first) = self.batch.messages.get_mut(*place.get()) {
                    first.place = first.place.min(message.place);
                }
            }
        }
    }
}

/// The error is text of a library: nothing in it may keep the database from taking it.
fn dead_letter(entry: &LogEntry, record: &[u8], error: &str) -> DeadLetter {
    let kind = entry.kind().unwrap_or(&Kind::Message).name().to_owned();
    let error = error.chars().filter(|c| !c.is_control()).take(500).collect();
    DeadLetter { seq: entry.seq(), kind, record: record.to_vec(), error }
}

#[cfg(test)]
mod tests {
    use hubbub_log::Marker;

    use super::*;

    const BASE: Cursor = Cursor { seq: 100, base: 100 };

    fn record(id: &str, more: &str) -> String {
        format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u","name":"Ann"}},"body":"hi","at":7{more}}}"#)
    }

    fn said(seq: Seq, was: Seq, record: impl Into<String>) -> LogEntry {
        LogEntry::Message { seq, was, record: record.into().into() }
    }

    fn snapshot(markers: &[Marker], entries: Vec<LogEntry>) -> Snapshot {
        let seq = entries.last().map_or(0, LogEntry::seq);
        Snapshot { base: markers.last().map_or(0, |marker| marker.base), seq, markers: markers.to_vec(), entries }
    }

    fn walked(from: &Cursor, entries: Vec<LogEntry>) -> Walk {
        walk(from, &snapshot(&[Marker { base: 100, cut: 0, low: 100 }], entries), None)
    }

    fn names(walk: &Walk) -> Vec<(&str, Seq)> {
        walk.batch.messages.iter().map(|message| (message.id.as_str(), message.place)).collect()
    }

    #[test]
    fn messages_keep_their_order_and_the_cursor_ends_on_the_last() {
        let walk = walked(&BASE, vec![said(101, 0, record("m1", "")), said(102, 0, record("m2", ""))]);
        assert_eq!(names(&walk), [("m1", 101), ("m2", 102)]);
        assert_eq!((walk.batch.from, walk.batch.to), (BASE, Cursor { seq: 102, base: 100 }));
        assert_eq!((walk.entries, walk.events, walk.oldest), (2, 2, Some(7)));
    }

    #[test]
    fn a_place_is_the_first_one_that_is_known() {
        let entries = vec![
            said(101, 0, record("m1", "")),
            said(102, 40, record("m2", "")),
            said(103, 40, record("m3", r#","first":20"#)),
        ];
        assert_eq!(names(&walked(&BASE, entries)), [("m1", 101), ("m2", 40), ("m3", 20)]);
    }

    #[test]
    fn of_one_message_in_a_batch_the_first_stays_at_the_lowest_place() {
        let changed = record("m1", "").replace("hi", "other");
        let walk =
            walked(&BASE, vec![said(101, 0, record("m1", "")), said(102, 40, changed), said(103, 0, record("m1", ""))]);
        assert_eq!(names(&walk), [("m1", 40)]);
        assert_eq!((walk.batch.messages[0].body.as_str(), walk.repeated, walk.events), ("hi", 2, 3));
    }

    #[test]
    fn a_marker_moves_the_base_and_is_no_event() {
        let marker = Marker { base: 200, cut: 101, low: 200 };
        let entries = vec![said(101, 0, record("m1", "")), LogEntry::Marker(marker), said(201, 0, record("m2", ""))];
        let walk = walk(&BASE, &snapshot(&[marker], entries), None);
        assert_eq!(walk.batch.to, Cursor { seq: 201, base: 200 });
        assert_eq!((walk.entries, walk.events), (3, 2));
    }

    #[test]
    fn the_first_entry_of_a_log_says_by_its_markers_in_which_epoch_it_stands() {
        let markers = [Marker { base: 100, cut: 0, low: 100 }, Marker { base: 200, cut: 150, low: 200 }];
        let walk = walk(&Cursor { seq: 0, base: 0 }, &snapshot(&markers, vec![said(120, 0, record("m1", ""))]), None);
        assert_eq!(walk.batch.to, Cursor { seq: 120, base: 100 });
        assert_eq!(walk.batch.gaps, [(101, 119)]);
    }

    #[test]
    fn what_the_log_has_no_more_becomes_a_gap() {
        let walk = walked(&BASE, vec![said(105, 0, record("m1", "")), said(106, 0, record("m2", ""))]);
        assert_eq!(walk.batch.gaps, [(101, 104)]);
        assert_eq!(walk.batch.to, Cursor { seq: 106, base: 100 });
    }

    #[test]
    fn a_record_that_cannot_be_read_is_a_dead_letter() {
        let unreadable = record("m1", "").replace("Ann", "");
        let walk = walked(&BASE, vec![said(101, 0, unreadable.clone()), said(102, 0, record("m2", ""))]);
        assert_eq!(names(&walk), [("m2", 102)]);
        let [dead] = &walk.batch.dead_letters[..] else { panic!("{walk:?}") };
        assert_eq!((dead.seq, dead.kind.as_str(), &dead.record[..]), (101, "message", unreadable.as_bytes()));
        assert!(dead.error.contains("name"), "{dead:?}");
    }

    #[test]
    fn a_refused_event_is_a_dead_letter_with_the_reason() {
        let refused = Refusal { seq: 102, error: "a\0b".into() };
        let entries = vec![said(101, 0, record("m1", "")), said(102, 0, record("m2", ""))];
        let walk = walk(&BASE, &snapshot(&[], entries), Some(&refused));
        assert_eq!(names(&walk), [("m1", 101)]);
        assert_eq!((walk.batch.dead_letters[0].seq, walk.batch.dead_letters[0].error.as_str()), (102, "ab"));
        assert_eq!(walk.batch.to.seq, 102);
    }

    #[test]
    fn a_walk_ends_in_front_of_an_unknown_kind() {
        let kind = Kind::named("edited").unwrap();
        let event = LogEntry::Event { seq: 102, was: 0, kind: kind.clone(), record: "{}".into() };
        let walk = walked(&BASE, vec![said(101, 0, record("m1", "")), event, said(103, 0, record("m2", ""))]);
        assert_eq!(names(&walk), [("m1", 101)]);
        assert_eq!((walk.batch.to.seq, walk.unknown), (101, Some(Unknown { seq: 102, kind })));
    }

    #[test]
    fn a_batch_holds_a_mebibyte_or_one_event() {
        let large = || record("m1", &format!(r#","x":"{}""#, "x".repeat(MAX_BYTES / 2)));
        let entries = || (101..104).map(|seq| said(seq, 0, large())).collect();
        assert_eq!(walked(&BASE, entries()).batch.to.seq, 101);
        let huge = record("m1", &format!(r#","x":"{}""#, "x".repeat(2 * MAX_BYTES)));
        assert_eq!(walked(&BASE, vec![said(101, 0, huge)]).batch.to.seq, 101);
    }
}
