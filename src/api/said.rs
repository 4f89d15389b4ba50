//! Messages of the ring and of the database, folded into one page.

use std::{cmp::Reverse, collections::HashSet, sync::Arc};

use hubbub_http::history::Range;
use hubbub_log::ring::Entry;
use hubbub_messenger::message::{Message, Told};
use hubbub_protocol::{Frame, Message as Shown, MessageId, Record, Seq, ServerFrame, UserId};
use serde_json::json;

/// A message at its place, as the frame that clients get.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) place: Seq,
    /// Names the message within its room.
    name: (UserId, MessageId),
    pub(crate) frame: Frame,
}

impl Said {
    /// A message of the ring. None: its record cannot be read.
    pub(crate) fn of_entry(entry: &Arc<Entry>) -> Option<Self> {
        let Record { id, from, .. } = serde_json::from_str(&entry.record()?).ok()?;
        Some(Self { place: entry.place(), name: (from.id, id), frame: entry.frame.clone() })
    }

    /// A message of the database.
    pub(crate) fn of_row(row: Message) -> Self {
        let Message { place, room, id, from, at, body, told } = row;
        let name = (from.id.clone(), id.clone());
        let frame = match told {
            None => {
                let record = Record { room, id, from, body, at };
                Frame::json(&ServerFrame::Message(Shown { seq: place, record, first: None, was: None }))
            }
            Some(Told { kind, fields }) => {
                let mut frame = json!({"type": kind, "seq": place, "room": room, "id": id, "from": from, "at": at});
                if let Some(all) = frame.as_object_mut() {
                    all.extend(fields);
                }
                Frame::json(&frame)
            }
        };
        Self { place, name, frame }
    }
}

/// The newest messages in the range, in the order of their places, each once, at the lower of its places. Messages that
/// share a place are not parted, so there may be some more than the limit. The rest says whether the range may have older
/// ones.
pub(crate) fn fold(said: impl IntoIterator<Item = Said>, range: Range) -> (Vec<Said>, bool) {
    let is_within =
        |place| range.before.is_none_or(|before| place < before) && range.after.is_none_or(|after| place > after);
    let mut all: Vec<_> = said.into_iter().collect();
    all.sort_by_key(|said| said.place);
    let mut names = HashSet::new();
    all.retain(|said| names.insert(said.name.clone()));
    all.retain(|said| is_within(said.place));
    all.sort_by_key(|said| Reverse(said.place));
    let has_more = all.len() > range.limit;
    let lowest = all.iter().take(range.limit).next_back().map_or(Seq::MAX, |said| said.place);
    all.retain(|said| said.place >= lowest);
    all.reverse();
    (all, has_more)
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{RoomId, User};

    use super::*;

    fn said(place: Seq, id: &str) -> Said {
        let from = User { id: UserId::api(), name: "Ann".parse().unwrap() };
        let id: MessageId = id.parse().unwrap();
        Said::of_row(Message { place, room: RoomId::lobby(), id, from, at: 7, body: "hi".into(), told: None })
    }

    fn places((said, has_more): (Vec<Said>, bool)) -> (Vec<Seq>, bool) {
        (said.into_iter().map(|said| said.place).collect(), has_more)
    }

    #[test]
    fn a_message_stands_once_at_the_lower_of_its_places() {
        let all = || [said(9, "b"), said(5, "a"), said(7, "b"), said(12, "a"), said(8, "c")];
        let range = Range { limit: 9, ..Range::default() };
        assert_eq!(places(fold(all(), range)), (vec![5, 7, 8], false));
        // the lower place counts, also where it lies outside of the range
        assert_eq!(places(fold(all(), Range { after: Some(5), ..range })), (vec![7, 8], false));
        assert_eq!(places(fold(all(), Range { before: Some(8), ..range })), (vec![5, 7], false));
    }

    #[test]
    fn a_page_has_the_newest_of_its_range() {
        let all = || (1..=5).map(|place| said(place, &format!("m{place}")));
        let range = Range { limit: 2, ..Range::default() };
        assert_eq!(places(fold(all(), range)), (vec![4, 5], true));
        assert_eq!(places(fold(all(), Range { before: Some(3), ..range })), (vec![1, 2], false));
        assert_eq!(places(fold(all(), Range { after: Some(2), before: Some(5), limit: 1 })), (vec![4], true));
        assert_eq!(places(fold([], range)), (vec![], false));
    }

    #[test]
    fn messages_that_share_a_place_stand_on_one_page() {
        let all = || [said(4, "a"), said(5, "b"), said(5, "c"), said(5, "d"), said(6, "e")];
        let range = Range { limit: 2, ..Range::default() };
        assert_eq!(places(fold(all(), range)), (vec![5, 5, 5, 6], true));
        assert_eq!(places(fold(all(), Range { before: Some(5), ..range })), (vec![4], false));
        assert_eq!(places(fold(all(), Range { before: Some(6), after: Some(4), limit: 1 })), (vec![5, 5, 5], true));
    }

    #[test]
    fn what_the_service_wrote_is_a_frame_of_its_kind() {
        let fields = serde_json::from_str(r#"{"rev":5,"added":[]}"#).unwrap();
        let told = Some(Told { kind: "members".into(), fields });
        let from = User { id: UserId::api(), name: "Ann".parse().unwrap() };
        let (room, id) = (RoomId::lobby(), "e1".parse().unwrap());
        let said = Said::of_row(Message { place: 12, room, id, from, at: 7, body: String::new(), told });
        let frame: serde_json::Value = serde_json::from_slice(said.frame.payload()).unwrap();
        let expected = json!({
            "type": "members", "seq": 12, "room": "lobby", "id": "e1", "from": {"id": "api", "name": "Ann"}, "at": 7,
            "rev": 5, "added": []
        });
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_row_is_the_frame_that_clients_get() {
        let frame = said(1_764_000_000_000_124, "c-1").frame;
        let text = r#"{"type":"message","seq":1764000000000124,"room":"lobby","id":"c-1","from":{"id":"api","name":"Ann"},"body":"hi","at":7}"#;
        assert_eq!(std::str::from_utf8(frame.payload()).unwrap(), text);
    }
}
