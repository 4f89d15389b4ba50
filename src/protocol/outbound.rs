//! What the server says.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, GuestSecret, InvalidId, Limits, MessageId, RoomId, Seq, UnixMillis, UserId, UserName};

/// A frame from server to client. Its `type` is the `snake_case` name of the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to `hello`.
    Welcome(Box<Welcome>),
    /// The replay is over; from here on messages come as they are said.
    Live {
        /// Everything up to here has been sent.
        seq: Seq,
    },
    /// A message of a room this connection is in.
    Message(Message),
    /// A publish of this connection has its place in the log.
    Ack(Ack),
    /// Everything up to `seq` that concerns this connection has been sent.
    Heartbeat {
        /// The cursor to keep.
        seq: Seq,
    },
    /// The live connection counter.
    Count(Count),
    /// Who types in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// Those who typed within the last second.
        from: Vec<User>,
    },
    /// The connection is in the room.
    Joined {
        /// The room.
        room: RoomId,
        /// Messages of the room above this come live.
        seq: Seq,
    },
    /// The connection is no longer in the room.
    Left {
        /// The room.
        room: RoomId,
        /// No message of the room above this will come.
        seq: Seq,
    },
    /// The relay between the instances changed its state.
    Status {
        /// Its state.
        relay: RelayState,
    },
    /// What came before `seq` cannot be replayed: load it over HTTP.
    Reset {
        /// Messages above this come.
        seq: Seq,
        /// Why.
        reason: ResetReason,
    },
    /// The server stops; close 1012 follows at once.
    Drain {
        /// When to come back, counted from the close.
        reconnect_after_ms: u64,
    },
    /// A frame of the client was refused.
    Error(Refusal),
    /// The answer to `ping`.
    Pong {
        /// What the ping carried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        n: Option<u64>,
    },
}

/// The answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Welcome {
    /// Version of the protocol.
    pub version: u32,
    /// This connection, unique on its instance.
    pub connection: ConnectionId,
    /// The instance that serves it.
    pub instance: String,
    /// Who the client is.
    pub user: User,
    /// The secret the server made because the client sent none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<GuestSecret>,
    /// The point from which this connection is served.
    pub seq: Seq,
    /// Whether the cursor of the client was taken up.
    pub resumed: bool,
    /// How often a `heartbeat` comes, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a publish may be repeated under its id, in milliseconds.
    pub dedupe_ms: u64,
    /// The limits of the protocol.
    pub limits: Limits,
    /// The live connection counter.
    pub count: Count,
    /// The state of the relay.
    pub relay: RelayState,
}

/// A person, or whatever speaks as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct User {
    /// Proven by the session.
    pub id: UserId,
    /// Chosen freely.
    pub name: UserName,
}

/// A message as the log keeps it: everything but its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Record {
    /// Where it was said.
    pub room: RoomId,
    /// The sender's id for it.
    pub id: MessageId,
    /// Who said it.
    pub from: User,
    /// What was said.
    pub body: String,
    /// When the accepting instance took it. The order is `seq`, never this.
    pub at: UnixMillis,
}

/// A message in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Message {
    /// Its place.
    pub seq: Seq,
    /// What was said where, and by whom.
    #[serde(flatten)]
    pub record: Record,
    /// The place it had before Redis lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Seq>,
}

/// A page of a room's history, as it is answered over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct HistoryPage {
    /// In the order of `seq`.
    pub messages: Vec<Message>,
    /// The `before` of the page of older ones, if there are any.
    pub next: Option<Seq>,
    /// The highest place that the answering instance knows: what is above it may be missing here.
    pub seq: Seq,
}

/// The confirmation that a publish is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ack {
    /// The id the client gave.
    pub id: MessageId,
    /// Its place.
    pub seq: Seq,
    /// It was there already: this is a repetition.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// The instance that accepted it.
    pub instance: String,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// When the log had it.
    pub logged_at: UnixMillis,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How many are connected, over all instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Count {
    /// Connections of all instances.
    pub connections: u64,
    /// Instances that report.
    pub instances: u64,
    /// Not all instances may have reported yet since Redis came back.
    pub settling: bool,
}

/// Whether messages flow between instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// They do.
    Live,
    /// The log cannot be reached: publishes wait, connections stay.
    #[default]
    Degraded,
}

/// Why a cursor could not be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The log does not reach back that far.
    TooOld,
    /// The log does not know this cursor.
    UnknownCursor,
    /// A part of the log is lost.
    Hole,
}

/// A frame was refused; the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Refusal {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub detail: String,
    /// The publish it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When a repetition may succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without a hint when to try again.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), id: None, retry_after_ms: None }
    }

    /// The same, about the publish with this id.
    #[must_use]
    pub fn about(mut self, id: Option<&str>) -> Self {
        // an id that is no id is echoed only as far as an id may be long
        self.id = id.map(|id| id.chars().take(64).collect());
        self
    }

    /// The same, with a hint when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

/// What can be wrong with a frame of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a JSON object with a `type`, or a field of a wrong type.
    BadFrame,
    /// A `type` this server does not know.
    UnknownType,
    /// Something else before `hello`.
    HelloRequired,
    /// A second `hello`.
    HelloRepeated,
    /// Not a name.
    InvalidName,
    /// Not a session.
    InvalidSession,
    /// Not a room.
    InvalidRoom,
    /// Not a message id.
    InvalidId,
    /// A body over the limit.
    BodyTooLarge,
    /// A body without text.
    EmptyBody,
    /// A publish to a room the connection is not in.
    NotJoined,
    /// More rooms than a connection may be in.
    TooManyRooms,
    /// This message was refused: too many in too short a time.
    RateLimited,
    /// The log is out of reach and the buffer for that time is full.
    Overloaded,
    /// This instance stops.
    Draining,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::BadFrame,
        Self::UnknownType,
        Self::HelloRequired,
        Self::HelloRepeated,
        Self::InvalidName,
        Self::InvalidSession,
        Self::InvalidRoom,
        Self::InvalidId,
        Self::BodyTooLarge,
        Self::EmptyBody,
        Self::NotJoined,
        Self::TooManyRooms,
        Self::RateLimited,
        Self::Overloaded,
        Self::Draining,
    ];

    /// The code as it stands in a frame.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::UnknownType => "unknown_type",
            Self::HelloRequired => "hello_required",
            Self::HelloRepeated => "hello_repeated",
            Self::InvalidName => "invalid_name",
            Self::InvalidSession => "invalid_session",
            Self::InvalidRoom => "invalid_room",
            Self::InvalidId => "invalid_id",
            Self::BodyTooLarge => "body_too_large",
            Self::EmptyBody => "empty_body",
            Self::NotJoined => "not_joined",
            Self::TooManyRooms => "too_many_rooms",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
        }
    }

    /// Whether it counts towards the three in a row that end a connection.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::BadFrame | Self::UnknownType)
    }
}

impl From<InvalidId> for ErrorCode {
    fn from(invalid: InvalidId) -> Self {
        match invalid {
            InvalidId::Room => Self::InvalidRoom,
            InvalidId::Message => Self::InvalidId,
            InvalidId::Name => Self::InvalidName,
            InvalidId::GuestSecret => Self::InvalidSession,
        }
    }
}

impl From<InvalidId> for Refusal {
    fn from(invalid: InvalidId) -> Self {
        Self::new(invalid.into(), invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user() -> User {
        let session: GuestSecret = "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        User { id: session.user_id(), name: "Ann".parse().unwrap() }
    }

    fn record() -> Record {
        let (room, id) = (RoomId::lobby(), "m1".parse().unwrap());
        Record { room, id, from: user(), body: "hi".into(), at: 5 }
    }

    /// The frame has this shape, starts with its type, and reads back as itself.
    fn assert_shape(frame: &ServerFrame, shape: &serde_json::Value) {
        let text = serde_json::to_string(frame).unwrap();
        let kind = shape["type"].as_str().unwrap();
        assert!(text.starts_with(&format!(r#"{{"type":"{kind}""#)), "{text}");
        assert_eq!(&serde_json::from_str::<serde_json::Value>(&text).unwrap(), shape);
        assert_eq!(&serde_json::from_str::<ServerFrame>(&text).unwrap(), frame);
    }

    #[test]
    fn welcome_has_the_documented_shape() {
        let count = Count { connections: 3, instances: 2, settling: false };
        let welcome = Welcome {
            version: 1,
            connection: ConnectionId::new(9),
            instance: "a".into(),
            user: user(),
            session: None,
            seq: 4,
            resumed: true,
            heartbeat_ms: 25_000,
            dedupe_ms: 120_000,
            limits: Limits::V1,
            count,
            relay: RelayState::Live,
        };
        assert_shape(
            &ServerFrame::Welcome(Box::new(welcome)),
            &json!({
                "type": "welcome", "version": 1, "connection": 9, "instance": "a",
                "user": {"id": "N0cI__dxndWXnsh11WzSKA", "name": "Ann"}, "seq": 4, "resumed": true,
                "heartbeat_ms": 25_000, "dedupe_ms": 120_000,
                "limits": {"frame_bytes": 65_536, "body_bytes": 8192, "name_chars": 64, "rooms": 32, "unacked_publishes": 256},
                "count": {"connections": 3, "instances": 2, "settling": false}, "relay": "live",
            }),
        );
    }

    #[test]
    fn message_has_the_documented_shape_and_equals_the_spliced_frame() {
        let frame = ServerFrame::Message(Message { seq: 7, record: record(), was: None });
        let from = json!({"id": "N0cI__dxndWXnsh11WzSKA", "name": "Ann"});
        assert_shape(
            &frame,
            &json!({"type": "message", "seq": 7, "room": "lobby", "id": "m1", "from": from, "body": "hi", "at": 5}),
        );
        for was in [0, 3] {
            let message = Message { seq: 7, record: record(), was: (was > 0).then_some(was) };
            let spliced = super::super::Frame::message(7, &serde_json::to_string(&record()).unwrap(), was);
            assert_eq!(spliced, super::super::Frame::json(&ServerFrame::Message(message)));
        }
    }

    #[test]
    fn ack_has_the_documented_shape() {
        let ack = Ack {
            id: "m1".parse().unwrap(),
            seq: 7,
            duplicate: false,
            instance: "a".into(),
            accepted_at: 1,
            logged_at: 2,
        };
        let shape = json!({"type": "ack", "id": "m1", "seq": 7, "instance": "a", "accepted_at": 1, "logged_at": 2});
        assert_shape(&ServerFrame::Ack(ack.clone()), &shape);
        let again = serde_json::to_value(ServerFrame::Ack(Ack { duplicate: true, ..ack })).unwrap();
        assert_eq!(again["duplicate"], true);
    }

    #[test]
    fn the_small_frames_have_the_documented_shapes() {
        let room = RoomId::lobby();
        let from = vec![user()];
        let count = Count { connections: 2, instances: 1, settling: true };
        let person = json!({"id": "N0cI__dxndWXnsh11WzSKA", "name": "Ann"});
        for (frame, shape) in [
            (ServerFrame::Live { seq: 1 }, json!({"type": "live", "seq": 1})),
            (ServerFrame::Heartbeat { seq: 1 }, json!({"type": "heartbeat", "seq": 1})),
            (ServerFrame::Count(count), json!({"type": "count", "connections": 2, "instances": 1, "settling": true})),
            (
                ServerFrame::Typing { room: room.clone(), from },
                json!({"type": "typing", "room": "lobby", "from": [person]}),
            ),
            (ServerFrame::Joined { room: room.clone(), seq: 1 }, json!({"type": "joined", "room": "lobby", "seq": 1})),
            (ServerFrame::Left { room, seq: 1 }, json!({"type": "left", "room": "lobby", "seq": 1})),
            (ServerFrame::Status { relay: RelayState::Degraded }, json!({"type": "status", "relay": "degraded"})),
            (
                ServerFrame::Reset { seq: 1, reason: ResetReason::TooOld },
                json!({"type": "reset", "seq": 1, "reason": "too_old"}),
            ),
            (ServerFrame::Drain { reconnect_after_ms: 5 }, json!({"type": "drain", "reconnect_after_ms": 5})),
            (ServerFrame::Pong { n: Some(3) }, json!({"type": "pong", "n": 3})),
            (ServerFrame::Pong { n: None }, json!({"type": "pong"})),
        ] {
            assert_shape(&frame, &shape);
        }
    }

    #[test]
    fn an_error_code_is_named_as_it_is_written() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }

    #[test]
    fn error_has_the_documented_shape() {
        let refusal = Refusal::new(ErrorCode::RateLimited, "slow down").about(Some("m1")).retry_after_ms(20);
        assert_shape(
            &ServerFrame::Error(refusal),
            &json!({"type": "error", "code": "rate_limited", "detail": "slow down", "id": "m1", "retry_after_ms": 20}),
        );
    }
}
