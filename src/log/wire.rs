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
    kind::Kind,
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
    /// A batch of consecutive events: messages, or events of other kinds.
    Events(Events<'a>),
    /// An epoch has opened: sync now rather than at the next tick.
    Epoch,
    /// The census has changed.
    Count(VersionedCount),
    /// An ephemeral event.
    Announcement(Announcement),
    /// An instance checks that its own payloads come back.
    Probe { instance: &'a str, number: u64 },
}

/// A batch of consecutive events of one epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events<'a> {
    /// Base of their epoch.
    pub(crate) epoch: Seq,
    /// `seq` of the first one.
    pub(crate) first: Seq,
    word: Word,
    lines: &'a str,
}

/// The word of a batch in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Messages. A line is the former `seq` and the record.
    Messages,
    /// Events of other kinds, which an instance of the release before skips. The kind is in front of the line.
    Events,
}

impl Word {
    const fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Message => Self::Messages,
            Kind::Told(_) | Kind::Other(_) => Self::Events,
        }
    }
}

impl<'a> Events<'a> {
    /// The events, encoded for the ring. A malformed line keeps its `seq`, with an empty record.
    pub(crate) fn drafts(self) -> impl Iterator<Item = Draft<'a>> {
        (self.first..).zip(self.lines.lines()).map(move |(seq, line)| {
            let (kind, line) = match self.word {
                Word::Messages => (Kind::Message, line),
                Word::Events => {
                    let (kind, line) = line.split_once(' ').unwrap_or_default();
                    Kind::named(kind).map_or((Kind::Message, ""), |kind| (kind, line))
                }
            };
            let (was, record) = line.split_once(' ').unwrap_or_default();
            Draft::event(seq, was.parse().unwrap_or(0), kind, record)
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
        word @ ("messages" | "events") => {
            let (epoch, first) = (number(words.next())?, number(words.next())?);
            let word = if word == "events" { Word::Events } else { Word::Messages };
            Some(Payload::Events(Events { epoch, first, word, lines: body }))
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

/// New events, the first of which has the `seq` `first`: a payload for each run of messages or of other events.
pub(crate) fn events(epoch: Seq, mut first: Seq, batch: &[&Submission]) -> Vec<Bytes> {
    let runs = batch.chunk_by(|a, b| Word::of(&a.kind) == Word::of(&b.kind));
    let payload = |run: &[&Submission]| {
        let word = if run.iter().any(|event| event.kind == Kind::Message) { "messages" } else { "events" };
        let mut text = format!("{VERSION} {word} {epoch} {first} {}\n", run.len()).into_bytes();
        for Submission { kind, was, record, .. } in run {
            if *kind != Kind::Message {
                text.extend_from_slice(format!("{} ", kind.name()).as_bytes());
            }
            text.extend_from_slice(format!("{was} ").as_bytes());
            text.extend_from_slice(record);
            text.push(b'\n');
        }
        first += u64::try_from(run.len()).unwrap_or(u64::MAX);
        Bytes::from(text)
    };
    runs.map(payload).collect()
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
        let [payload] = &events(1_764_000_000_000_000, 1_764_000_000_000_007, &batch.each_ref())[..] else {
            panic!("one run")
        };
        let text = "1 messages 1764000000000000 1764000000000007 2\n0 {\"a\":1}\n42 {\"b\":\"x y\"}\n";
        assert_eq!(payload, text);
        let Some(Payload::Events(read)) = parse(payload) else { panic!("no messages") };
        assert_eq!((read.epoch, read.first), (1_764_000_000_000_000, 1_764_000_000_000_007));
        let drafts: Vec<_> = read.drafts().collect();
        let (first, second) = (1_764_000_000_000_007, 1_764_000_000_000_008);
        assert_eq!(
            drafts,
            [
                Draft::event(first, 0, Kind::Message, r#"{"a":1}"#),
                Draft::event(second, 42, Kind::Message, r#"{"b":"x y"}"#)
            ]
        );
    }

    /// The release before skips a payload with another word, and reads the events from the log when it finds the gap.
    #[test]
    fn events_of_other_kinds_stand_behind_a_word_of_their_own() {
        let edited = |was| Submission { kind: Kind::named("edited").unwrap(), ..line(r#"{"c":3}"#, was) };
        let batch = [line(r#"{"a":1}"#, 0), edited(0), edited(9), line(r#"{"b":2}"#, 0)];
        let payloads = events(100, 107, &batch.each_ref());
        assert_eq!(
            payloads,
            [
                "1 messages 100 107 1\n0 {\"a\":1}\n",
                "1 events 100 108 2\nedited 0 {\"c\":3}\nedited 9 {\"c\":3}\n",
                "1 messages 100 110 1\n0 {\"b\":2}\n",
            ]
        );
        let malformed = Events { epoch: 100, first: 7, word: Word::Events, lines: "Edited 0 {}\nedited\n" };
        let empty = [7, 8].map(|seq| Draft::event(seq, 0, Kind::Message, ""));
        assert_eq!(malformed.drafts().collect::<Vec<_>>(), empty);
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
            epoch in any::<Seq>(), first in 0..1_u64 << 53, batch in prop::collection::vec((any::<Seq>(), prop::sample::select(&["message", "edited"][..]), record()), 0..20),
        ) {
            let event = |(was, kind, record): &(Seq, &str, String)| {
                Submission { kind: Kind::named(kind).unwrap(), ..line(record.clone(), *was) }
            };
            let submissions: Vec<_> = batch.iter().map(event).collect();
            let payloads = events(epoch, first, &submissions.iter().collect::<Vec<_>>());
            let mut read = Vec::new();
            for payload in &payloads {
                let Some(Payload::Events(run)) = parse(payload) else { panic!("no events: {payload:?}") };
                prop_assert_eq!((run.epoch, run.first), (epoch, first + u64::try_from(read.len()).unwrap()));
                read.extend(run.drafts());
            }
            let expected = (first..).zip(&submissions).map(|(seq, Submission { was, kind, record, .. })| {
                Draft::event(seq, *was, kind.clone(), std::str::from_utf8(record).unwrap())
            });
            prop_assert_eq!(read, expected.collect::<Vec<_>>());
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
            if let Some(Payload::Events(batch)) = parse(&payload) {
                prop_assert!(batch.drafts().take(100).all(|draft| draft.place().seq() >= batch.first));
            }
        }
    }
}
