//! What travels on the channel: a line of text that says what it is, then lines of JSON.
//!
//! `redis-cli SUBSCRIBE` shows it readably. The first word is a version: instances of two releases share the channel
//! during a rolling deploy, and each skips what it does not know.

use std::{borrow::Cow, fmt::Write as _, str::FromStr};

use bytes::Bytes;
use hubbub_protocol::{Count, RoomId, Seq, UnixMillis, User};
use serde::{Deserialize, Serialize};

use crate::backend::{Submission, Tally};

const VERSION: &str = "1";

/// Something ephemeral that instances tell each other. It has no `seq`, and may be lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Announcement {
    /// Who types in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// Those who typed within the last second.
        from: Vec<User>,
    },
}

/// A payload of the channel.
#[derive(Debug)]
pub(crate) enum Push<'a> {
    /// A batch of consecutive messages.
    Messages(Messages<'a>),
    /// An epoch was opened: sync now rather than at the next tick.
    Epoch,
    /// The census changed.
    Count(Tally),
    /// Something ephemeral.
    Announcement(Announcement),
    /// An instance listens for itself.
    Probe {
        /// Which one.
        instance: &'a str,
        /// Its number for the probe.
        number: u64,
    },
}

/// A batch of consecutive messages of one epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages<'a> {
    /// Base of the epoch.
    pub(crate) epoch: Seq,
    /// Place of the first message.
    pub(crate) first: Seq,
    lines: &'a str,
}

impl<'a> Messages<'a> {
    /// Each message's place, former place and record. A malformed line has an empty record: its place is taken.
    pub(crate) fn iter(self) -> impl Iterator<Item = (Seq, Seq, &'a str)> {
        (self.first..).zip(self.lines.lines()).map(|(seq, line)| {
            let (was, record) = line.split_once(' ').unwrap_or_default();
            (seq, was.parse().unwrap_or(0), record)
        })
    }
}

/// Reads a payload. None: not for this version.
pub(crate) fn parse(payload: &[u8]) -> Option<Push<'_>> {
    let (header, body) = std::str::from_utf8(payload).ok()?.split_once('\n')?;
    let mut words = header.split(' ');
    if words.next()? != VERSION {
        return None;
    }
    match words.next()? {
        "messages" => {
            let (epoch, first) = (number(words.next())?, number(words.next())?);
            Some(Push::Messages(Messages { epoch, first, lines: body }))
        }
        "epoch" => Some(Push::Epoch),
        "count" => {
            let version = number(words.next())?;
            let (connections, instances) = (number(words.next())?, number(words.next())?);
            let settling = number::<u8>(words.next())? != 0;
            Some(Push::Count(Tally { version, count: Count { connections, instances, settling } }))
        }
        "typing" => Some(Push::Announcement(serde_json::from_str(body).ok()?)),
        "probe" => Some(Push::Probe { instance: words.next()?, number: number(words.next())? }),
        _ => None,
    }
}

fn number<N: FromStr>(word: Option<&str>) -> Option<N> {
    word?.parse().ok()
}

/// A batch of new messages, the first at `first`.
pub(crate) fn messages<'a>(epoch: Seq, first: Seq, batch: impl ExactSizeIterator<Item = &'a Submission>) -> Bytes {
    let mut text = format!("{VERSION} messages {epoch} {first} {}\n", batch.len()).into_bytes();
    for submission in batch {
        text.extend_from_slice(format!("{} ", submission.was).as_bytes());
        text.extend_from_slice(&submission.record);
        text.push(b'\n');
    }
    text.into()
}

/// The hint that an epoch was opened.
pub(crate) fn epoch(base: Seq) -> Bytes {
    format!("{VERSION} epoch {base}\n").into()
}

/// A change of the census.
pub(crate) fn count(tally: Tally) -> Bytes {
    let Tally { version, count: Count { connections, instances, settling } } = tally;
    format!("{VERSION} count {version} {connections} {instances} {}\n", u8::from(settling)).into()
}

/// Something ephemeral.
pub(crate) fn announcement(announcement: &Announcement) -> Bytes {
    let mut text = match announcement {
        Announcement::Typing { .. } => format!("{VERSION} typing\n"),
    };
    // a type of the protocol always serialises; a body that will not read is skipped by everyone
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

/// What an instance needs to know of every record that passes.
#[derive(Debug, Deserialize)]
pub(crate) struct Outline<'a> {
    #[serde(borrow)]
    pub(crate) room: Cow<'a, str>,
    pub(crate) at: UnixMillis,
}

/// What it needs to know of a record that has to be offered again.
#[derive(Debug, Deserialize)]
struct Identity<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    from: Sender<'a>,
}

#[derive(Debug, Deserialize)]
struct Sender<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// What makes a message recognisable as a repetition.
pub(crate) fn key(sender: &str, message: &str) -> std::sync::Arc<str> {
    format!("{sender}:{message}").into()
}

/// The same, of a record.
pub(crate) fn key_of(record: &str) -> Option<std::sync::Arc<str>> {
    let Identity { id, from } = serde_json::from_str(record).ok()?;
    Some(key(&from.id, &id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use hubbub_protocol::{GuestSecret, RoomId, User};

    fn submission(record: &'static str, was: Seq) -> Submission {
        Submission { key: "u:m".into(), record: Bytes::from_static(record.as_bytes()), was }
    }

    #[test]
    fn a_batch_reads_back_with_its_places() {
        let batch = [submission(r#"{"a":1}"#, 0), submission(r#"{"b":"x y"}"#, 42)];
        let payload = messages(1_764_000_000_000_000, 1_764_000_000_000_007, batch.iter());
        let text = "1 messages 1764000000000000 1764000000000007 2\n0 {\"a\":1}\n42 {\"b\":\"x y\"}\n";
        assert_eq!(payload, text);
        let Some(Push::Messages(read)) = parse(&payload) else { panic!("no messages") };
        assert_eq!((read.epoch, read.first), (1_764_000_000_000_000, 1_764_000_000_000_007));
        let lines: Vec<_> = read.iter().collect();
        let (first, second) = (1_764_000_000_000_007, 1_764_000_000_000_008);
        assert_eq!(lines, [(first, 0, r#"{"a":1}"#), (second, 42, r#"{"b":"x y"}"#)]);
    }

    #[test]
    fn the_small_payloads_read_back() {
        assert!(matches!(parse(&epoch(5)), Some(Push::Epoch)));
        assert!(matches!(parse(&probe("a", 9)), Some(Push::Probe { instance: "a", number: 9 })));
        let tally = Tally { version: 3, count: Count { connections: 2, instances: 1, settling: true } };
        assert!(matches!(parse(&count(tally)), Some(Push::Count(read)) if read == tally));
        let from = vec![User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() }];
        let typing = Announcement::Typing { room: RoomId::lobby(), from };
        assert!(matches!(parse(&announcement(&typing)), Some(Push::Announcement(read)) if read == typing));
    }

    #[test]
    fn what_is_not_known_is_skipped() {
        for payload in ["", "\n", "2 epoch 5\n", "1 sing\n", "1 count 1\n", "1 messages x\n", "1 typing\n{}", "\u{1}"] {
            assert!(parse(payload.as_bytes()).is_none(), "{payload}");
        }
    }

    #[test]
    fn a_record_yields_its_key() {
        let record = r#"{"room":"a","id":"m1","from":{"id":"u","name":"x"},"body":"","at":7}"#;
        assert_eq!(key_of(record).as_deref(), Some("u:m1"));
        let outline: Outline<'_> = serde_json::from_str(record).unwrap();
        assert_eq!((outline.room.as_ref(), outline.at), ("a", 7));
    }

    /// A record without a raw newline, as JSON has none.
    fn record() -> impl Strategy<Value = Bytes> {
        any::<String>().prop_map(|body| serde_json::json!({ "body": body }).to_string().into())
    }

    proptest! {
        #[test]
        fn any_batch_reads_back(
            epoch in any::<Seq>(), first in 0..1_u64 << 53, batch in prop::collection::vec((any::<Seq>(), record()), 0..20),
        ) {
            let key: std::sync::Arc<str> = "u:m".into();
            let submissions: Vec<_> =
                batch.iter().map(|(was, record)| Submission { key: key.clone(), record: record.clone(), was: *was }).collect();
            let payload = messages(epoch, first, submissions.iter());
            let Some(Push::Messages(read)) = parse(&payload) else { panic!("no messages: {payload:?}") };
            prop_assert_eq!((read.epoch, read.first), (epoch, first));
            let expected: Vec<_> = (first..).zip(&batch).map(|(seq, (was, record))| (seq, *was, record.as_ref())).collect();
            let lines: Vec<_> = read.iter().map(|(seq, was, record)| (seq, was, record.as_bytes())).collect();
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn any_small_payload_reads_back(
            number in any::<u64>(), instance in "[^ \n]{1,40}", connections in any::<u64>(), instances in any::<u64>(),
            settling in any::<bool>(), names in prop::collection::vec("[a-zA-Zé🙂 \"]{0,20}x", 0..4),
        ) {
            prop_assert!(matches!(parse(&epoch(number)), Some(Push::Epoch)));
            let heard = matches!(
                parse(&probe(&instance, number)),
                Some(Push::Probe { instance: read, number: n }) if read == instance && n == number
            );
            prop_assert!(heard);
            let tally = Tally { version: number, count: Count { connections, instances, settling } };
            prop_assert!(matches!(parse(&count(tally)), Some(Push::Count(read)) if read == tally));
            let from = names.iter().map(|name| User { id: GuestSecret::random().user_id(), name: name.parse().unwrap() });
            let typing = Announcement::Typing { room: RoomId::lobby(), from: from.collect() };
            prop_assert!(matches!(parse(&announcement(&typing)), Some(Push::Announcement(read)) if read == typing));
        }

        #[test]
        fn no_payload_makes_the_reader_panic(
            header in "(1 (messages|epoch|count|typing|probe)|2 x)( [0-9]{0,21}){0,4}", body in any::<Vec<u8>>(),
        ) {
            let payload = [header.as_bytes(), b"\n", &body].concat();
            if let Some(Push::Messages(batch)) = parse(&payload) {
                prop_assert!(batch.iter().take(100).all(|(seq, ..)| seq >= batch.first));
            }
        }
    }
}
