//! The payloads of the channel: a header line of text, then lines of JSON.
//!
//! `redis-cli SUBSCRIBE` shows them as text. The first word is a version: during a rolling deploy instances of two
//! releases share the channel, and each skips the payloads that it does not know.

use std::{fmt::Write as _, str::FromStr};

use bytes::Bytes;
use hubbub_protocol::{Count, RoomId, Seq, User};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{Submission, VersionedCount},
    ring::Draft,
};

const VERSION: &str = "1";

/// An ephemeral event that every instance gets. It has no `seq` and may be lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Announcement {
    /// People are typing in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// The people who have typed within the last second.
        from: Vec<User>,
    },
}

/// A payload of the channel.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// A batch of consecutive messages.
    Messages(Messages<'a>),
    /// An epoch has opened: sync now rather than at the next tick.
    Epoch,
    /// The census has changed.
    Count(VersionedCount),
    /// An ephemeral event.
    Announcement(Announcement),
    /// An instance checks that its own payloads come back.
    Probe { instance: &'a str, number: u64 },
}

/// A batch of consecutive messages of one epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages<'a> {
    /// Base of their epoch.
    pub(crate) epoch: Seq,
    /// `seq` of the first one.
    pub(crate) first: Seq,
    lines: &'a str,
}

impl<'a> Messages<'a> {
    /// The messages, encoded for the ring. A malformed line keeps its `seq`, with an empty record.
    pub(crate) fn drafts(self) -> impl Iterator<Item = Draft<'a>> {
        (self.first..).zip(self.lines.lines()).map(|(seq, line)| {
            let (was, record) = line.split_once(' ').unwrap_or_default();
            Draft::message(seq, was.parse().unwrap_or(0), record)
        })
    }
}

/// Reads a payload. None: it is of another version, or malformed.
pub(crate) fn parse(payload: &[u8]) -> Option<Payload<'_>> {
    let (header, body) = std::str::from_utf8(payload).ok()?.split_once('\n')?;
    let mut words = header.split(' ');
    if words.next()? != VERSION {
        return None;
    }
    match words.next()? {
        "messages" => {
            let (epoch, first) = (number(words.next())?, number(words.next())?);
            Some(Payload::Messages(Messages { epoch, first, lines: body }))
        }
        "epoch" => Some(Payload::Epoch),
        "count" => {
            let version = number(words.next())?;
            let (connections, instances) = (number(words.next())?, number(words.next())?);
            let settling = number::<u8>(words.next())? != 0;
            Some(Payload::Count(VersionedCount { version, count: Count { connections, instances, settling } }))
        }
        "typing" => Some(Payload::Announcement(serde_json::from_str(body).ok()?)),
        "probe" => Some(Payload::Probe { instance: words.next()?, number: number(words.next())? }),
        _ => None,
    }
}

fn number<N: FromStr>(word: Option<&str>) -> Option<N> {
    word?.parse().ok()
}

/// A batch of new messages; the first has the `seq` `first`.
pub(crate) fn messages<'a>(epoch: Seq, first: Seq, batch: impl ExactSizeIterator<Item = &'a Submission>) -> Bytes {
    let mut text = format!("{VERSION} messages {epoch} {first} {}\n", batch.len()).into_bytes();
    for submission in batch {
        text.extend_from_slice(format!("{} ", submission.was).as_bytes());
        text.extend_from_slice(&submission.record);
        text.push(b'\n');
    }
    text.into()
}

/// The hint that an epoch has opened.
pub(crate) fn epoch(base: Seq) -> Bytes {
    format!("{VERSION} epoch {base}\n").into()
}

/// A change of the census.
pub(crate) fn count(count: VersionedCount) -> Bytes {
    let VersionedCount { version, count: Count { connections, instances, settling } } = count;
    format!("{VERSION} count {version} {connections} {instances} {}\n", u8::from(settling)).into()
}

/// An ephemeral event.
pub(crate) fn announcement(announcement: &Announcement) -> Bytes {
    let mut text = match announcement {
        Announcement::Typing { .. } => format!("{VERSION} typing\n"),
    };
    // a type of the protocol always serialises; every instance skips a body that cannot be read
    let body = serde_json::to_string(announcement).unwrap_or_default();
    text.push_str(&body);
    text.into()
}

/// A probe of this instance.
pub(crate) fn probe(instance: &str, number: u64) -> Bytes {
    let mut text = String::new();
    if writeln!(text, "{VERSION} probe {instance} {number}").is_err() {
        text.clear();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use hubbub_protocol::{GuestSecret, RoomId, User};

    fn line(record: impl Into<Bytes>, was: Seq) -> Submission {
        let submission = Submission::new(r#"{"room":"a","id":"m","from":{"id":"u"}}"#, was, 0).unwrap();
        Submission { record: record.into(), ..submission }
    }

    #[test]
    fn a_batch_reads_back_with_its_seqs() {
        let batch = [line(r#"{"a":1}"#, 0), line(r#"{"b":"x y"}"#, 42)];
        let payload = messages(1_764_000_000_000_000, 1_764_000_000_000_007, batch.iter());
        let text = "1 messages 1764000000000000 1764000000000007 2\n0 {\"a\":1}\n42 {\"b\":\"x y\"}\n";
        assert_eq!(payload, text);
        let Some(Payload::Messages(read)) = parse(&payload) else { panic!("no messages") };
        assert_eq!((read.epoch, read.first), (1_764_000_000_000_000, 1_764_000_000_000_007));
        let drafts: Vec<_> = read.drafts().collect();
        let (first, second) = (1_764_000_000_000_007, 1_764_000_000_000_008);
        assert_eq!(drafts, [Draft::message(first, 0, r#"{"a":1}"#), Draft::message(second, 42, r#"{"b":"x y"}"#)]);
    }

    #[test]
    fn the_small_payloads_read_back() {
        assert!(matches!(parse(&epoch(5)), Some(Payload::Epoch)));
        assert!(matches!(parse(&probe("a", 9)), Some(Payload::Probe { instance: "a", number: 9 })));
        let census = VersionedCount { version: 3, count: Count { connections: 2, instances: 1, settling: true } };
        assert!(matches!(parse(&count(census)), Some(Payload::Count(read)) if read == census));
        let from = vec![User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() }];
        let typing = Announcement::Typing { room: RoomId::lobby(), from };
        assert!(matches!(parse(&announcement(&typing)), Some(Payload::Announcement(read)) if read == typing));
    }

    #[test]
    fn an_unknown_payload_is_skipped() {
        for payload in ["", "\n", "2 epoch 5\n", "1 sing\n", "1 count 1\n", "1 messages x\n", "1 typing\n{}", "\u{1}"] {
            assert!(parse(payload.as_bytes()).is_none(), "{payload}");
        }
    }

    /// A record without a raw newline, as JSON has none.
    fn record() -> impl Strategy<Value = String> {
        any::<String>().prop_map(|body| serde_json::json!({ "room": "a", "body": body, "at": 7 }).to_string())
    }

    proptest! {
        #[test]
        fn any_batch_reads_back(
            epoch in any::<Seq>(), first in 0..1_u64 << 53, batch in prop::collection::vec((any::<Seq>(), record()), 0..20),
        ) {
            let submissions: Vec<_> = batch.iter().map(|(was, record)| line(record.clone(), *was)).collect();
            let payload = messages(epoch, first, submissions.iter());
            let Some(Payload::Messages(read)) = parse(&payload) else { panic!("no messages: {payload:?}") };
            prop_assert_eq!((read.epoch, read.first), (epoch, first));
            let expected: Vec<_> = (first..).zip(&batch).map(|(seq, (was, record))| Draft::message(seq, *was, record)).collect();
            prop_assert_eq!(read.drafts().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn any_small_payload_reads_back(
            number in any::<u64>(), instance in "[^ \n]{1,40}", connections in any::<u64>(), instances in any::<u64>(),
            settling in any::<bool>(), names in prop::collection::vec("[a-zA-Zé🙂 \"]{0,20}x", 0..4),
        ) {
            prop_assert!(matches!(parse(&epoch(number)), Some(Payload::Epoch)));
            let returned = matches!(
                parse(&probe(&instance, number)),
                Some(Payload::Probe { instance: read, number: n }) if read == instance && n == number
            );
            prop_assert!(returned);
            let census = VersionedCount { version: number, count: Count { connections, instances, settling } };
            prop_assert!(matches!(parse(&count(census)), Some(Payload::Count(read)) if read == census));
            let from = names.iter().map(|name| User { id: GuestSecret::random().user_id(), name: name.parse().unwrap() });
            let typing = Announcement::Typing { room: RoomId::lobby(), from: from.collect() };
            prop_assert!(matches!(parse(&announcement(&typing)), Some(Payload::Announcement(read)) if read == typing));
        }

        #[test]
        fn no_payload_makes_the_reader_panic(
            header in "(1 (messages|epoch|count|typing|probe)|2 x)( [0-9]{0,21}){0,4}", body in any::<Vec<u8>>(),
        ) {
            let payload = [header.as_bytes(), b"\n", &body].concat();
            if let Some(Payload::Messages(batch)) = parse(&payload) {
                prop_assert!(batch.drafts().take(100).all(|draft| draft.place().seq() >= batch.first));
            }
        }
    }
}
