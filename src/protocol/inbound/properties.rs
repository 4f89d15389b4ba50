//! Frames that are valid, or wrong in known ways, and what the decoder has to answer.
//!
//! Each field is generated together with the verdict on it, so the model here repeats none of the decoder's checks: it
//! knows only their order.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use super::ClientFrame;
use crate::{ErrorCode, MAX_BODY_BYTES, MAX_ROOMS};

/// Written as half an emoji.
const HALF: char = '\u{10ffff}';

const TYPES: [&str; 6] = ["hello", "publish", "join", "leave", "typing", "ping"];

/// What stands in a frame for one of the fields that the decoder knows.
#[derive(Clone, Debug)]
enum Field {
    Absent,
    Null,
    /// Of a type or a range that the field does not have.
    Misshapen(Value),
    Valid(Value),
    /// Of the right type, with the code of the refusal.
    Refused(Value, ErrorCode),
    /// A text with an escape that is half a character, with the code of the refusal.
    Torn(Value, ErrorCode),
}

impl Field {
    fn value(&self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Null => Some(Value::Null),
            Self::Misshapen(value) | Self::Valid(value) | Self::Refused(value, _) | Self::Torn(value, _) => {
                Some(value.clone())
            }
        }
    }

    /// The value, or `missing` if the field is left out.
    fn check(&self, missing: Result<Value, ErrorCode>) -> Result<Value, ErrorCode> {
        match self {
            Self::Absent | Self::Null => missing,
            Self::Valid(value) => Ok(value.clone()),
            Self::Refused(_, code) | Self::Torn(_, code) => Err(*code),
            Self::Misshapen(_) => Err(ErrorCode::BadFrame),
        }
    }
}

#[derive(Clone, Debug)]
struct Draft {
    kind: Field,
    fields: BTreeMap<&'static str, Field>,
    unknown: Vec<(String, Value)>,
    /// A known field that stands there twice.
    repeated: Option<&'static str>,
    /// Every character of a text is written as `\uXXXX`.
    is_escaped: bool,
    rotation: usize,
}

impl Draft {
    /// The frame as JSON text, its fields in some order.
    fn text(&self) -> String {
        let known = self.fields.iter().map(|(name, field)| ((*name).to_owned(), field.value()));
        let known = known.chain([("type".to_owned(), self.kind.value())]);
        let mut members: Vec<(String, Value)> =
            known.filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        if let Some(again) = self.repeated.and_then(|name| members.iter().find(|(other, _)| other == name)).cloned() {
            members.push(again);
        }
        members.extend(self.unknown.iter().cloned());
        let middle = self.rotation.checked_rem(members.len()).unwrap_or_default();
        members.rotate_left(middle);
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("{}: {}", self.string(name), self.json(value))).collect();
        format!("{{{}}}", members.join(", "))
    }

    fn json(&self, value: &Value) -> String {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| self.json(value)).collect();
                format!("[{}]", values.join(","))
            }
            other => other.to_string(),
        }
    }

    fn string(&self, text: &str) -> String {
        if !self.is_escaped {
            return Value::from(text).to_string().replace(HALF, "\\ud83d");
        }
        let escape = |c: char| match c {
            HALF => "\\ud83d".to_owned(),
            c => {
                let units: Vec<String> =
                    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
                units.concat()
            }
        };
        format!("\"{}\"", text.chars().map(escape).collect::<String>())
    }

    fn field(&self, name: &str) -> &Field {
        self.fields.get(name).unwrap_or(&Field::Absent)
    }

    /// The frame as the server understands it, or the code and the id of the refusal.
    fn model(&self) -> Result<Value, (ErrorCode, Option<String>)> {
        let is_misshapen = |field: &Field| matches!(field, Field::Misshapen(_));
        let repeats = self.repeated.is_some_and(|name| self.field(name).value().is_some());
        let Field::Valid(kind) = &self.kind else { return Err((ErrorCode::BadFrame, None)) };
        if repeats || self.fields.values().any(is_misshapen) {
            return Err((ErrorCode::BadFrame, None));
        }
        let kind = kind.as_str().unwrap();
        let frame = match kind {
            "hello" => self.hello(),
            "publish" => self.publish(),
            "join" | "leave" | "typing" => self.room().map(|room| json!({"type": kind, "room": room})),
            "ping" => Ok(json!({"type": "ping", "n": self.field("n").check(Ok(Value::Null)).unwrap()})),
            _ => Err(ErrorCode::UnknownType),
        };
        let id = self.field("id").value().and_then(|id| id.as_str().map(str::to_owned));
        let id = id.filter(|id| !id.contains(HALF)).map(|id| id.chars().take(64).collect());
        let mut frame = frame.map_err(|code| (code, id.filter(|_| kind == "publish")))?;
        frame.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        Ok(frame)
    }

    fn room(&self) -> Result<Value, ErrorCode> {
        self.field("room").check(Err(ErrorCode::InvalidRoom))
    }

    fn hello(&self) -> Result<Value, ErrorCode> {
        let name = self.field("name").check(Err(ErrorCode::InvalidName))?;
        let session = self.field("session").check(Ok(Value::Null))?;
        let rooms: BTreeSet<String> = serde_json::from_value(self.field("rooms").check(Ok(json!(["lobby"])))?).unwrap();
        if rooms.len() > MAX_ROOMS {
            return Err(ErrorCode::TooManyRooms);
        }
        let resume = self.field("resume").check(Ok(Value::Null))?;
        let name = name.as_str().unwrap().trim();
        Ok(json!({"type": "hello", "name": name, "session": session, "rooms": rooms, "resume": resume}))
    }

    fn publish(&self) -> Result<Value, ErrorCode> {
        let id = self.field("id").check(Err(ErrorCode::InvalidId))?;
        let room = self.room()?;
        let body = self.field("body").check(Err(ErrorCode::EmptyBody))?;
        Ok(json!({"type": "publish", "id": id, "room": room, "body": body}))
    }
}

/// A field: mostly valid, sometimes refused, left out, null or misshapen.
fn field(
    valid: impl Strategy<Value = Value> + 'static,
    refused: impl Strategy<Value = (Value, ErrorCode)> + 'static,
    misshapen: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Field> {
    prop_oneof![
        24 => valid.prop_map(Field::Valid),
        4 => refused.prop_map(|(value, code)| Field::Refused(value, code)),
        2 => Just(Field::Absent),
        1 => Just(Field::Null),
        1 => misshapen.prop_map(Field::Misshapen),
    ]
    .boxed()
}

/// The field, or sometimes a text in it that is half an emoji at its end.
fn or_torn(field: BoxedStrategy<Field>, code: ErrorCode) -> BoxedStrategy<Field> {
    let torn = "[a-z]{0,4}".prop_map(move |text| Field::Torn(format!("{text}{HALF}").into(), code));
    prop_oneof![30 => field, 1 => torn].boxed()
}

fn texts(pattern: &'static str) -> impl Strategy<Value = Value> {
    pattern.prop_map(Value::from)
}

fn refused(texts: impl Strategy<Value = Value>, code: ErrorCode) -> impl Strategy<Value = (Value, ErrorCode)> {
    texts.prop_map(move |value| (value, code))
}

fn no_text() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![json!(1), json!(1.5), json!(true), json!(["a"]), json!({"a": 1})])
}

fn no_number() -> impl Strategy<Value = Value> {
    let values = [json!(-1), json!(1.5), json!(1e30), json!("1"), json!(true), json!([]), json!({})];
    prop::sample::select(values.to_vec())
}

fn room() -> impl Strategy<Value = Value> {
    texts("[a-z0-9][a-z0-9._-]{0,63}")
}

fn no_room() -> impl Strategy<Value = Value> {
    prop_oneof![texts("|[A-Z][a-z]{0,4}|[._-][a-z]{0,4}|[a-z]{1,4}[ /äA\u{0}]"), texts("[a-z0-9]{65,70}")]
}

fn id() -> BoxedStrategy<Field> {
    let long = texts("[A-Za-z0-9_-]{65,140}|é{60,70}");
    let bad = prop_oneof![texts("|[a-z]{0,4}[. é/😀\u{0}][a-z]{0,4}"), long];
    or_torn(field(texts("[A-Za-z0-9_-]{1,64}"), refused(bad, ErrorCode::InvalidId), no_text()), ErrorCode::InvalidId)
}

fn name() -> BoxedStrategy<Field> {
    let control = "[a-z]{1,3}[\u{0}-\u{1f}\u{7f}\u{202a}-\u{202e}\u{2066}-\u{2069}][a-z]{1,3}";
    let bad =
        prop_oneof![texts("[ \n\u{a0}\u{200b}\u{2800}\u{3164}\u{fe0f}]{0,5}"), texts("[aé😀]{65,80}"), texts(control)];
    let good = prop_oneof![texts(" {0,3}[a-zé😀\"\\\\][a-zé😀 ]{0,62}[a-z] {0,3}"), texts("[aé😀]{64}")];
    or_torn(field(good, refused(bad, ErrorCode::InvalidName), no_text()), ErrorCode::InvalidName)
}

fn session() -> BoxedStrategy<Field> {
    let good = any::<[u8; 16]>().prop_map(|bytes| Value::from(URL_SAFE_NO_PAD.encode(bytes)));
    let bad = texts("|A{21}|A{23}|A{21}B|A{21}[!=+/ ]|A{22}==");
    or_torn(field(good, refused(bad, ErrorCode::InvalidSession), no_text()), ErrorCode::InvalidSession)
}

fn body() -> BoxedStrategy<Field> {
    let longest = Just(Value::from("x".repeat(MAX_BODY_BYTES)));
    let good = prop_oneof![9 => texts("[ \n]{0,3}[a-zé😀\"\\\\][a-zé😀\u{1} ]{0,40}"), 1 => longest];
    let blank = prop_oneof![9 => texts("[ \t\n\u{85}\u{a0}\u{2003}\u{200d}\u{3164}\u{2800}\u{fe0f}\u{e0020}]{0,9}"), 1 => Just(" ".repeat(MAX_BODY_BYTES + 1).into())];
    let long = ["x".repeat(MAX_BODY_BYTES + 1), "é".repeat(MAX_BODY_BYTES / 2 + 1)].map(Value::from);
    let long = prop::sample::select(long.to_vec());
    let bad = prop_oneof![
        refused(blank, ErrorCode::EmptyBody),
        refused(texts("a{0,3}\u{0}a"), ErrorCode::InvalidBody),
        refused(long, ErrorCode::BodyTooLarge)
    ];
    or_torn(field(good, bad, no_text()), ErrorCode::InvalidBody)
}

fn rooms() -> BoxedStrategy<Field> {
    let few = prop::collection::vec(room(), 0..8).prop_map(|rooms| [rooms.clone(), rooms].concat());
    let many = (MAX_ROOMS - 1..MAX_ROOMS + 3).prop_map(|count| (0..count).map(|n| json!(format!("r{n}"))).collect());
    let good = prop_oneof![few, many];
    let bad = (prop::collection::vec(room(), 0..4), no_room(), prop::collection::vec(room(), 0..40))
        .prop_map(|(before, bad, after)| [before, vec![bad], after].concat());
    let odd = prop_oneof![texts("[a-z]{0,4}"), Just(json!([1])), Just(json!(["a", null])), Just(json!({"a": "b"}))];
    field(good.prop_map(Value::from), refused(bad.prop_map(Value::from), ErrorCode::InvalidRoom), odd)
}

fn resume() -> BoxedStrategy<Field> {
    let good = any::<u64>().prop_map(|seq| json!({"seq": seq}));
    let odd = prop_oneof![
        no_number().prop_map(|seq| json!({"seq": seq})),
        prop::sample::select(vec![json!({}), json!(7), json!("7"), json!({"seq": null})]),
    ];
    prop_oneof![16 => good.prop_map(Field::Valid), 2 => Just(Field::Absent), 1 => Just(Field::Null), 1 => odd.prop_map(Field::Misshapen)]
        .boxed()
}

fn number() -> BoxedStrategy<Field> {
    let good = prop_oneof![any::<u64>(), Just(u64::MAX)].prop_map(Value::from);
    prop_oneof![16 => good.prop_map(Field::Valid), 2 => Just(Field::Absent), 1 => Just(Field::Null), 1 => no_number().prop_map(Field::Misshapen)]
        .boxed()
}

fn kind() -> impl Strategy<Value = Field> {
    let unknown = prop_oneof![Just(String::new()), "[a-z]{1,4}_x|Hello|PUBLISH|[é😀]{33,40}"];
    prop_oneof![
        8 => prop::sample::select(TYPES.to_vec()).prop_map(|kind| Field::Valid(kind.into())),
        8 => prop::sample::select(vec!["hello", "publish"]).prop_map(|kind| Field::Valid(kind.into())),
        1 => unknown.prop_map(|kind| Field::Valid(kind.into())),
        1 => prop_oneof![Just(Field::Absent), Just(Field::Null), no_text().prop_map(Field::Misshapen)],
    ]
}

fn drafts() -> impl Strategy<Value = Draft> {
    let names = ["body", "id", "n", "name", "resume", "room", "rooms", "session"];
    let room = field(room(), refused(no_room(), ErrorCode::InvalidRoom), no_text());
    let room = or_torn(room, ErrorCode::InvalidRoom);
    let fields = (body(), id(), number(), name(), resume(), room, rooms(), session());
    let fields =
        fields.prop_map(move |(a, b, c, d, e, f, g, h)| names.into_iter().zip([a, b, c, d, e, f, g, h]).collect());
    let unknown = prop::collection::vec(("x_[a-z]{1,4}", prop_oneof![no_text(), no_number()]), 0..3);
    let repeated = prop::option::weighted(0.05, prop::sample::select(names.to_vec()));
    let layout = (repeated, any::<bool>(), 0..20_usize);
    (kind(), fields, unknown, layout).prop_map(|(kind, fields, unknown, (repeated, is_escaped, rotation))| Draft {
        kind,
        fields,
        unknown,
        repeated,
        is_escaped,
        rotation,
    })
}

fn answer(text: &str) -> Result<Value, (ErrorCode, Option<String>)> {
    let frame = ClientFrame::decode(text).map_err(|refusal| (refusal.code, refusal.id))?;
    Ok(serde_json::to_value(frame).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_frame_is_decoded_or_refused_by_the_rules(draft in drafts()) {
        prop_assert_eq!(answer(&draft.text()), draft.model());
    }

    #[test]
    fn every_frame_that_is_read_comes_back_the_same_after_it_is_written(draft in drafts()) {
        if let Ok(frame) = ClientFrame::decode(&draft.text()) {
            prop_assert_eq!(ClientFrame::decode(&serde_json::to_string(&frame).unwrap()), Ok(frame));
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_or_followed_by_more_is_a_bad_frame(draft in drafts(), cut in any::<prop::sample::Index>()) {
        let text = draft.text();
        let ends: Vec<usize> = text.char_indices().map(|(end, _)| end).collect();
        let short = &text[..*cut.get(&ends)];
        prop_assert_eq!(answer(short), Err((ErrorCode::BadFrame, None)), "{}", short);
        prop_assert_eq!(answer(&format!("{text} {text}")), Err((ErrorCode::BadFrame, None)));
    }
}

/// Otherwise the properties above could hold because nothing gets that far.
#[test]
fn the_drafts_reach_every_frame_and_every_code_of_the_decoder() {
    let (mut runner, mut reached) = (TestRunner::deterministic(), BTreeSet::new());
    for _ in 0..3000 {
        let draft = drafts().new_tree(&mut runner).unwrap().current();
        reached.insert(match draft.model() {
            Ok(frame) => frame["type"].as_str().unwrap().to_owned(),
            Err((code, _)) => code.name().to_owned(),
        });
    }
    let codes = [
        "bad_frame",
        "unknown_type",
        "invalid_name",
        "invalid_session",
        "invalid_room",
        "invalid_id",
        "invalid_body",
        "body_too_large",
        "empty_body",
        "too_many_rooms",
    ];
    assert_eq!(reached, TYPES.into_iter().chain(codes).map(str::to_owned).collect());
}
