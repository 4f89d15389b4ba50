//! The frames of a client. [`ClientFrame::decode`] is the only parser of untrusted input.

#[cfg(test)]
mod properties;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    ErrorCode, GuestSecret, MAX_BODY_BYTES, MAX_ROOMS, MessageId, Refusal, RoomId, Seq, UserName,
    text::{Text, is_visible},
    token::{AccessToken, InvalidAccessToken},
};

/// A frame from client to server. Its `type` is the `snake_case` name of the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Introduces the client: its name, secret, rooms and cursor. It has to be the first frame, and comes once. The answer
    /// is `welcome`, then the missed messages, then `live`.
    Hello(Hello),
    /// Introduces a person with an account. It stands in place of the other `hello`.
    #[serde(rename = "hello")]
    AccountHello(AccountHello),
    /// Publishes a message to a room that the connection is in. The answer is `ack`, or `error` with its `id`.
    Publish(Publish),
    /// Joins a room. The answer is `joined`.
    Join {
        /// The room.
        room: RoomId,
    },
    /// Leaves a room. The answer is `left`.
    Leave {
        /// The room.
        room: RoomId,
    },
    /// Shows the room that the person is typing. There is no answer.
    Typing {
        /// The room.
        room: RoomId,
    },
    /// Asks for a `pong`, to see whether the connection still works.
    Ping {
        /// Any number. It comes back in the `pong`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        n: Option<u64>,
    },
}

/// The first frame of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Hello {
    /// The person's name, as other people see it.
    pub name: UserName,
    /// The secret that makes the client the same sender as before. If it is left out, the server makes one and puts it
    /// into `welcome`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<GuestSecret>,
    /// The rooms to join. If it is left out: `lobby`.
    pub rooms: Vec<RoomId>,
    /// The cursor of an earlier connection. If it is left out, no old messages are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// The first frame of a client whose person has an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct AccountHello {
    /// The access token of the person's session.
    pub token: AccessToken,
    /// The public rooms to join. If it is left out: none.
    pub rooms: Vec<RoomId>,
    /// The cursor of an earlier connection. If it is left out, no old messages are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// The cursor from which a client wants the messages that it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Resume {
    /// The highest `seq` that it received.
    pub seq: Seq,
}

/// A message for a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Publish {
    /// Chosen by the client. It names one message of the sender in the room: within `dedupe_ms`, the same text is
    /// delivered once, and another text is refused with `id_reused`.
    pub id: MessageId,
    /// The room to publish it to.
    pub room: RoomId,
    /// The text: something of it is visible, and it has at most `body_bytes` bytes of UTF-8.
    pub body: String,
}

/// Upper bound in characters for the error text of the JSON parser in a refusal. It can quote the frame.
const MAX_QUOTE_CHARS: usize = 120;

/// Every field that a frame of a client can have. Others are ignored.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    name: Option<Text>,
    session: Option<Text>,
    token: Option<Text>,
    rooms: Option<Vec<Text>>,
    resume: Option<Resume>,
    id: Option<Text>,
    room: Option<Text>,
    body: Option<Text>,
    n: Option<u64>,
}

/// The fields of a message of a back end. Others are ignored.
#[derive(Deserialize)]
struct Draft {
    id: Text,
    body: Text,
    name: Text,
}

impl ClientFrame {
    /// Parses and checks a frame.
    ///
    /// # Errors
    ///
    /// The refusal to send to the client. It carries the `id` of a publish, if the frame had one and was valid JSON with
    /// fields of the right types.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        // Serde would also take the fields in their order from an array.
        if !text.trim_start().starts_with('{') {
            return Err(Refusal::new(ErrorCode::BadFrame, "not a frame of this protocol: it is not a JSON object"));
        }
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| bad_frame(&error))?;
        match fields.kind.as_ref() {
            "hello" if fields.token.is_some() => AccountHello::from_fields(&fields).map(Self::AccountHello),
            "hello" => Hello::from_fields(&fields).map(Self::Hello),
            "publish" => Publish::from_fields(fields).map(Self::Publish),
            "join" => Ok(Self::Join { room: fields.room()? }),
            "leave" => Ok(Self::Leave { room: fields.room()? }),
            "typing" => Ok(Self::Typing { room: fields.room()? }),
            "ping" => Ok(Self::Ping { n: fields.n }),
            other => {
                let name: String = other.chars().take(32).collect();
                Err(Refusal::new(ErrorCode::UnknownType, format!("there is no frame of type {name:?}")))
            }
        }
    }
}

/// The text of a field. Empty, which no name, id or room is, if the field is left out or has half a character.
fn or_empty(text: Option<&Text>) -> &str {
    text.and_then(|text| text.0.as_deref()).unwrap_or_default()
}

impl Fields<'_> {
    fn room(&self) -> Result<RoomId, Refusal> {
        Ok(or_empty(self.room.as_ref()).parse()?)
    }

    /// The rooms of a `hello`, each once.
    fn rooms(&self) -> Result<Option<Vec<RoomId>>, Refusal> {
        let Some(names) = &self.rooms else { return Ok(None) };
        let rooms = names.iter().map(|name| Ok(or_empty(Some(name)).parse()?));
        let mut rooms = rooms.collect::<Result<Vec<_>, Refusal>>()?;
        rooms.sort_unstable();
        rooms.dedup();
        if rooms.len() > MAX_ROOMS { Err(too_many_rooms()) } else { Ok(Some(rooms)) }
    }
}

impl Hello {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let name = or_empty(fields.name.as_ref()).parse::<UserName>()?;
        let session = fields.session.as_ref().map(|text| or_empty(Some(text)).parse::<GuestSecret>()).transpose()?;
        let rooms = fields.rooms()?.unwrap_or_else(|| vec![RoomId::lobby()]);
        Ok(Self { name, session, rooms, resume: fields.resume })
    }
}

impl AccountHello {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let token = or_empty(fields.token.as_ref()).parse();
        let token =
            token.map_err(|error: InvalidAccessToken| Refusal::new(ErrorCode::InvalidToken, error.to_string()))?;
        Ok(Self { token, rooms: fields.rooms()?.unwrap_or_default(), resume: fields.resume })
    }
}

impl Publish {
    /// Checks the parts of a publish. The same rules hold over WebSocket and over HTTP.
    ///
    /// # Errors
    ///
    /// The refusal for the first part that is invalid, without an `id`.
    pub fn parse(id: &str, room: &str, body: impl Into<String>) -> Result<Self, Refusal> {
        let (id, room, body) = (id.parse()?, room.parse()?, body.into());
        if !is_visible(&body) {
            return Err(Refusal::new(ErrorCode::EmptyBody, "a message needs a body of which something can be seen"));
        }
        if body.contains('\0') {
            return Err(Refusal::new(
                ErrorCode::InvalidBody,
                "the body has the character U+0000, which cannot be stored",
            ));
        }
        if body.len() > MAX_BODY_BYTES {
            let detail = format!("a body of {} bytes is over the limit of {MAX_BODY_BYTES}", body.len());
            return Err(Refusal::new(ErrorCode::BodyTooLarge, detail));
        }
        Ok(Self { id, room, body })
    }

    /// Parses what a back end publishes to this room over HTTP: a JSON object with `id`, `body` and the `name` of the sender.
    ///
    /// # Errors
    ///
    /// The refusal for the first part that is invalid, without an `id`.
    pub fn from_back_end(json: &str, room: &str) -> Result<(UserName, Self), Refusal> {
        let Draft { id, body, name } = serde_json::from_str(json).map_err(|error| bad_frame(&error))?;
        let name = or_empty(Some(&name)).parse()?;
        Ok((name, Self::from_texts(or_empty(Some(&id)), room, Some(body))?))
    }

    fn from_fields(fields: Fields<'_>) -> Result<Self, Refusal> {
        let Fields { id, room, body, .. } = fields;
        let parsed = Self::from_texts(or_empty(id.as_ref()), or_empty(room.as_ref()), body);
        parsed.map_err(|refusal| refusal.about(id.as_ref().and_then(|text| text.0.as_deref())))
    }

    fn from_texts(id: &str, room: &str, body: Option<Text>) -> Result<Self, Refusal> {
        let half = matches!(body, Some(Text(None)));
        match Self::parse(id, room, body.and_then(|text| text.0).unwrap_or_default()) {
            Err(refusal) if half && refusal.code == ErrorCode::EmptyBody => Err(half_a_character()),
            parsed => parsed,
        }
    }
}

fn bad_frame(error: &serde_json::Error) -> Refusal {
    let error: String = error.to_string().chars().take(MAX_QUOTE_CHARS).collect();
    Refusal::new(ErrorCode::BadFrame, format!("not a frame of this protocol: {error}"))
}

fn half_a_character() -> Refusal {
    let detail = "the body has an escape that is half a character, such as \\ud83d without its other half";
    Refusal::new(ErrorCode::InvalidBody, detail)
}

/// The refusal of a room that does not exist, or that the person is not in.
pub fn no_such_room() -> Refusal {
    super::InvalidId::Inbox.into()
}

/// The refusal of more rooms than a connection may be in.
pub fn too_many_rooms() -> Refusal {
    Refusal::new(ErrorCode::TooManyRooms, format!("a connection may be in {MAX_ROOMS} rooms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> ErrorCode {
        ClientFrame::decode(text).unwrap_err().code
    }

    fn assert_round_trip(text: &str) {
        assert_eq!(serde_json::to_string(&ClientFrame::decode(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn each_frame_has_the_documented_shape() {
        assert_round_trip(
            r#"{"type":"hello","name":"Ann","session":"AAAAAAAAAAAAAAAAAAAAAA","rooms":["a","b"],"resume":{"seq":7}}"#,
        );
        assert_round_trip(r#"{"type":"hello","token":"a.b.c","rooms":["a","b"],"resume":{"seq":7}}"#);
        assert_round_trip(r#"{"type":"publish","id":"m1","room":"lobby","body":"hi"}"#);
        assert_round_trip(r#"{"type":"join","room":"lobby"}"#);
        assert_round_trip(r#"{"type":"leave","room":"lobby"}"#);
        assert_round_trip(r#"{"type":"typing","room":"lobby"}"#);
        assert_round_trip(r#"{"type":"ping","n":1}"#);
        assert_round_trip(r#"{"type":"ping"}"#);
    }

    #[test]
    fn a_hello_without_rooms_means_the_lobby() {
        let ClientFrame::Hello(hello) = ClientFrame::decode(r#"{"type":"hello","name":" Ann "}"#).unwrap() else {
            panic!("not a hello")
        };
        assert_eq!((hello.name.as_str(), hello.rooms), ("Ann", vec![RoomId::lobby()]));
    }

    #[test]
    fn a_hello_with_a_token_joins_no_room_by_itself_and_needs_no_name() {
        let ClientFrame::AccountHello(hello) = ClientFrame::decode(r#"{"type":"hello","token":"a.b.c"}"#).unwrap()
        else {
            panic!("not a hello with a token")
        };
        assert_eq!((hello.token.reveal(), hello.rooms.len()), ("a.b.c", 0));
        assert!(!format!("{hello:?}").contains("a.b.c"));
        let long = format!(r#"{{"type":"hello","token":"{}"}}"#, "x".repeat(8193));
        for text in [r#"{"type":"hello","token":""}"#, r#"{"type":"hello","token":"a b"}"#, &long] {
            assert_eq!(code(text), ErrorCode::InvalidToken, "{text:.60}");
        }
    }

    #[test]
    fn a_room_named_twice_counts_once_and_33_are_too_many() {
        let hello = |n: usize| {
            let rooms: Vec<String> = (0..n).map(|i| format!("r{i}")).chain(["r0".to_owned()]).collect();
            format!(r#"{{"type":"hello","name":"a","rooms":{rooms:?}}}"#)
        };
        assert!(ClientFrame::decode(&hello(32)).is_ok());
        assert_eq!(code(&hello(33)), ErrorCode::TooManyRooms);
    }

    #[test]
    fn each_kind_of_bad_input_has_its_code() {
        use ErrorCode::{
            BadFrame, BodyTooLarge, EmptyBody, InvalidBody, InvalidId, InvalidName, InvalidRoom, InvalidSession,
            NoSuchRoom, UnknownType,
        };
        let long = format!(r#"{{"type":"publish","id":"m","room":"a","body":"{}"}}"#, "x".repeat(MAX_BODY_BYTES + 1));
        for (text, expected) in [
            ("", BadFrame),
            ("[]", BadFrame),
            ("{}", BadFrame),
            (r#"["ping",null,null,null,null,null,null,null,null]"#, BadFrame),
            (r#"{"type":5}"#, BadFrame),
            (r#"{"type":"hello","name":5}"#, BadFrame),
            (r#"{"type":"hello","name":"a","resume":{"seq":-1}}"#, BadFrame),
            (r#"{"type":"shout"}"#, UnknownType),
            (r#"{"type":"hello"}"#, InvalidName),
            (r#"{"type":"hello","name":"a","session":"x"}"#, InvalidSession),
            (r#"{"type":"hello","name":"a","rooms":["A"]}"#, InvalidRoom),
            (r#"{"type":"join"}"#, InvalidRoom),
            (r#"{"type":"join","room":"~7"}"#, InvalidRoom),
            (r#"{"type":"join","room":"@ann"}"#, InvalidRoom),
            (r#"{"type":"join","room":"@N0cI__dxndWXnsh11WzSKA"}"#, NoSuchRoom),
            (r#"{"type":"publish","room":"a","body":"x"}"#, InvalidId),
            (r#"{"type":"publish","id":"m","room":"A","body":"x"}"#, InvalidRoom),
            (r#"{"type":"publish","id":"m","room":"a"}"#, EmptyBody),
            (r#"{"type":"publish","id":"m","room":"a","body":" \n"}"#, EmptyBody),
            (r#"{"type":"publish","id":"m","room":"a","body":"\u200b\u3164"}"#, EmptyBody),
            (r#"{"type":"publish","id":"m","room":"a","body":"\ude00"}"#, InvalidBody),
            (r#"{"type":"publish","id":"m","room":"a","body":"a\u0000b"}"#, InvalidBody),
            (r#"{"type":"publish","id":"m","room":"A","body":"\ude00"}"#, InvalidRoom),
            (r#"{"type":"publish","id":"\ud83d","room":"a","body":"x"}"#, InvalidId),
            (r#"{"type":"hello","name":"\u2800"}"#, InvalidName),
            (r#"{"type":"hello","name":"a\ud83d"}"#, InvalidName),
            (r#"{"type":"hello","name":"a","session":"\ud83d"}"#, InvalidSession),
            (r#"{"type":"hello","name":"a","rooms":["\ud83d"]}"#, InvalidRoom),
            (r#"{"type":"join","room":"a\ud83d"}"#, InvalidRoom),
            (&long, BodyTooLarge),
        ] {
            assert_eq!(code(text), expected, "{text:.80}");
        }
    }

    /// The cases that this crate and the JavaScript SDK share.
    #[derive(Deserialize)]
    struct Bodies {
        invalid: Vec<String>,
        valid: Vec<String>,
    }

    #[test]
    fn a_body_that_cannot_be_stored_is_invalid() {
        let Bodies { invalid, valid } = serde_json::from_str(include_str!("../../tests/text/bodies.json")).unwrap();
        for body in invalid {
            let refusal = Publish::parse("m", "lobby", body.clone()).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidBody, "{body:?}");
        }
        for body in valid {
            assert!(Publish::parse("m", "lobby", body.clone()).is_ok(), "{body:?}");
        }
    }

    #[test]
    fn a_back_end_is_answered_as_a_client_is() {
        let publish = |json: &str| Publish::from_back_end(json, "lobby").map_err(|refusal| refusal.code);
        let (name, publish_of_bot) = publish(r#"{"id":"1","body":"hi \ud83d\ude00","name":" Bot "}"#).unwrap();
        assert_eq!((name.as_str(), publish_of_bot), ("Bot", Publish::parse("1", "lobby", "hi 😀").unwrap()));
        for (json, code) in [
            (r#"{"id":"1","body":"hi \ud83d","name":"Bot"}"#, ErrorCode::InvalidBody),
            (r#"{"id":"1","body":"hi \u0000","name":"Bot"}"#, ErrorCode::InvalidBody),
            (r#"{"id":"1","body":" ","name":"Bot"}"#, ErrorCode::EmptyBody),
            (r#"{"id":"\ud83d","body":"hi","name":"Bot"}"#, ErrorCode::InvalidId),
            (r#"{"id":"1","body":"hi","name":"\ud83d"}"#, ErrorCode::InvalidName),
            (r#"{"id":"1","body":"hi"}"#, ErrorCode::BadFrame),
            (r#"{"id":1,"body":"hi","name":"Bot"}"#, ErrorCode::BadFrame),
            ("", ErrorCode::BadFrame),
        ] {
            assert_eq!(publish(json).unwrap_err(), code, "{json}");
        }
    }

    #[test]
    fn a_refusal_quotes_no_more_than_a_line_of_what_it_refuses() {
        let text = format!(r#"{{"type":"ping","n":"{}"}}"#, "\u{7f}".repeat(60_000));
        assert!(ClientFrame::decode(&text).unwrap_err().detail.len() < 400);
    }

    #[test]
    fn a_refused_publish_names_its_id() {
        for (body, code) in [("", ErrorCode::EmptyBody), (r"hi \ud83d", ErrorCode::InvalidBody)] {
            let text = format!(r#"{{"type":"publish","id":"m9","room":"a","body":"{body}"}}"#);
            let refusal = ClientFrame::decode(&text).unwrap_err();
            assert_eq!((refusal.id.as_deref(), refusal.code), (Some("m9"), code));
        }
    }
}
