//! The frames of the server.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, GuestSecret, InvalidId, Limits, MessageId, RoomId, Seq, UnixMillis, UserId, UserName};

/// A frame from server to client. Its `type` is the `snake_case` name of the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to `hello`. Missed messages follow, then `live`. If the client's cursor could not be taken up, a `reset`
    /// comes first.
    Welcome(Box<Welcome>),
    /// The replay of missed messages is over. From here on messages come as they are published. Now a client sends its
    /// unacked publishes again.
    Live {
        /// The new cursor: everything up to here has been sent.
        seq: Seq,
    },
    /// A message of a room that this connection is in, also one of its own. Its `seq` is the new cursor.
    Message(Message),
    /// A publish of this connection is in the log. It need not be sent again. This does not move the cursor.
    Ack(Ack),
    /// Sign of life, each `heartbeat_ms`. A client that receives nothing for twice that long should reconnect.
    Heartbeat {
        /// The new cursor: everything up to here has been sent.
        seq: Seq,
    },
    /// The number of connections has changed. At most four a second.
    Count(Count),
    /// People are typing in a room. At most one a second and room.
    Typing {
        /// The room.
        room: RoomId,
        /// The people who sent `typing` within the last second.
        from: Vec<User>,
    },
    /// The answer to `join`: the connection is in the room.
    Joined {
        /// The room.
        room: RoomId,
        /// The new cursor. Messages of the room above it come.
        seq: Seq,
    },
    /// The answer to `leave`: the connection is no longer in the room.
    Left {
        /// The room.
        room: RoomId,
        /// The new cursor. Messages of the room above it do not come.
        seq: Seq,
    },
    /// The connection between the instances was lost or is back. There is nothing to do for the client.
    Status {
        /// The new state.
        relay: RelayState,
    },
    /// Messages between the client's cursor and `seq` cannot be replayed. Some of them may be in the history, over HTTP.
    Reset {
        /// The new cursor, even if it is lower than the old one. Messages above it come.
        seq: Seq,
        /// Why they cannot be replayed.
        reason: ResetReason,
    },
    /// This instance stops. Close code 1012 follows at once. Connect again after the given time.
    Drain {
        /// The time to wait in milliseconds, counted from the close. It differs from client to client.
        reconnect_after_ms: u64,
    },
    /// A frame of the client was refused. The connection stays open.
    Error(Refusal),
    /// The answer to `ping`.
    Pong {
        /// The number of the ping, if it had one.
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
    /// Number of this connection, unique on its instance.
    pub connection: ConnectionId,
    /// Name of the instance that serves it.
    pub instance: String,
    /// The client's id and name, as others see them.
    pub user: User,
    /// Whether the client is known by an account.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(test, ts(optional, as = "Option<bool>"))]
    pub account: bool,
    /// The secret that the server made, if the client sent none. Keep it for the next `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<GuestSecret>,
    /// The `seq` from which this connection is served. The cursor of a client that had none.
    pub seq: Seq,
    /// Whether the replay begins at the client's cursor. If it sent one and this is false, a `reset` follows.
    pub resumed: bool,
    /// Interval of the `heartbeat` frames, in milliseconds.
    pub heartbeat_ms: u64,
    /// Time in milliseconds within which a publish that is sent again under its id is not delivered twice.
    pub dedupe_ms: u64,
    /// The limits of the protocol.
    pub limits: Limits,
    /// The number of connections.
    pub count: Count,
    /// The state of the connection between the instances.
    pub relay: RelayState,
}

/// The sender of a message: a person, or a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct User {
    /// Derived from the session, so that no other person can have it.
    pub id: UserId,
    /// Chosen freely: two users may have the same name.
    pub name: UserName,
}

/// A message as the log keeps it: all but its `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Record {
    /// The room it was published to.
    pub room: RoomId,
    /// The id that the sender chose. Unique together with `from.id` and `room`.
    pub id: MessageId,
    /// The sender.
    pub from: User,
    /// The text.
    pub body: String,
    /// When an instance accepted it, by its clock, in milliseconds since 1970. For display only: the order is that of `seq`.
    pub at: UnixMillis,
}

/// A message of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Message {
    /// Its number in the log. Messages are ordered by it.
    pub seq: Seq,
    /// The rest of the message.
    #[serde(flatten)]
    pub record: Record,
    /// The lowest `seq` at which anybody may have seen it, if Redis has lost it since: its place in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Seq>,
    /// The `seq` it had before Redis lost it, if it did. A client that has shown the message under that `seq` ignores this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Seq>,
}

/// A page of a room's history, as it is answered over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct HistoryPage {
    /// The messages, in the order of `seq`.
    pub messages: Vec<Message>,
    /// The `before` to ask with for the next page, of older messages. Null if there are none.
    pub next: Option<Seq>,
    /// The highest `seq` that the answering instance knows. Messages above it can be missing on this page.
    pub seq: Seq,
}

/// The confirmation that a publish is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ack {
    /// The id of the publish.
    pub id: MessageId,
    /// Its number in the log.
    pub seq: Seq,
    /// Whether the log had it already: it was sent before, or the server itself had to ask Redis twice.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// Name of the instance that accepted it.
    pub instance: String,
    /// When the instance accepted it, in milliseconds since 1970.
    pub accepted_at: UnixMillis,
    /// When the log confirmed it, in milliseconds since 1970.
    pub logged_at: UnixMillis,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The number of connections, over all instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Count {
    /// Connections of all instances.
    pub connections: u64,
    /// Instances that have reported their number.
    pub instances: u64,
    /// Whether instances may be missing from it, because Redis has come back only now.
    pub settling: bool,
}

/// Whether messages flow between instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// They do.
    Live,
    /// They do not: the log cannot be reached. Connections stay, and publishes wait.
    #[default]
    Degraded,
}

/// Why messages after a cursor cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The log does not reach back that far any more.
    TooOld,
    /// The log has no such `seq`: the cursor belongs to a log that was lost.
    UnknownCursor,
    /// A part of the log after the cursor is lost.
    Hole,
}

/// The refusal of a frame. Over HTTP a problem document carries the same codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
pub struct Refusal {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong, in English. The text may change.
    pub detail: String,
    /// The `id` of the refused publish, cut to 64 characters. Left out for other frames, and with `bad_frame`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Time in milliseconds after which the frame may be sent again. Only with `rate_limited` and `overloaded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without an `id` and without `retry_after_ms`.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), id: None, retry_after_ms: None }
    }

    /// The same, about the publish with this id.
    #[must_use]
    pub fn about(mut self, id: Option<&str>) -> Self {
        // An invalid id is sent back too, but no longer than a valid one can be.
        self.id = id.map(|id| id.chars().take(64).collect());
        self
    }

    /// The same, with a time after which the frame may be sent again.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

/// Why a frame of a client, or an HTTP request, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame is not a JSON object with a `type`, or one of its fields has a wrong type. Three such frames in a row close
    /// the connection with 4500.
    BadFrame,
    /// The server knows no frame of this `type`. It counts towards the three of `bad_frame`.
    UnknownType,
    /// The first frame was not `hello`.
    HelloRequired,
    /// A second `hello` on the same connection.
    HelloRepeated,
    /// The name is not 1 to 64 characters, nothing of it can be seen, or it has control or text direction override
    /// characters.
    InvalidName,
    /// The session is not 16 bytes in base64url.
    InvalidSession,
    /// The room is neither 1 to 64 characters of `a-z0-9._-` with a letter or digit first, nor `~` and the 26 digits of a
    /// private room.
    InvalidRoom,
    /// The message id is not 1 to 64 characters of `A-Za-z0-9_-`.
    InvalidId,
    /// The sender has said something else in this room under this id. It was not said again: use another id.
    IdReused,
    /// The body has an escape that is half a character, such as `\ud83d` without its other half.
    InvalidBody,
    /// The body is larger than `body_bytes`.
    BodyTooLarge,
    /// The body is missing, or nothing of it can be seen.
    EmptyBody,
    /// The connection is not in the room it publishes to. Join it first.
    NotJoined,
    /// The connection would be in more than `rooms` rooms. Leave one first.
    TooManyRooms,
    /// Too many frames in too short a time. Send this one again after `retry_after_ms`.
    RateLimited,
    /// Too many publishes wait for the log, of all senders or of this one. Send this one again after `retry_after_ms`.
    Overloaded,
    /// This instance stops. Send the publish again on the next connection.
    Draining,
    /// The person is in the room, but may not do this in it.
    NotAllowed,
    /// There is no such room, or the person is not in it: the two cannot be told apart.
    NoSuchRoom,
    /// The token is none of this server, or is no longer valid because its session has ended.
    InvalidToken,
    /// The time of the token is over. Get another one.
    TokenExpired,
    /// Only people with an account may do this.
    AccountRequired,
    /// Only its author may do this.
    NotYours,
    /// The reaction is not one emoji.
    InvalidEmoji,
    /// There is no such file, or it is none of the person's own.
    NoSuchFile,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 25] = [
        Self::BadFrame,
        Self::UnknownType,
        Self::HelloRequired,
        Self::HelloRepeated,
        Self::InvalidName,
        Self::InvalidSession,
        Self::InvalidRoom,
        Self::InvalidId,
        Self::IdReused,
        Self::InvalidBody,
        Self::BodyTooLarge,
        Self::EmptyBody,
        Self::NotJoined,
        Self::TooManyRooms,
        Self::RateLimited,
        Self::Overloaded,
        Self::Draining,
        Self::NotAllowed,
        Self::NoSuchRoom,
        Self::InvalidToken,
        Self::TokenExpired,
        Self::AccountRequired,
        Self::NotYours,
        Self::InvalidEmoji,
        Self::NoSuchFile,
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
            Self::IdReused => "id_reused",
            Self::InvalidBody => "invalid_body",
            Self::BodyTooLarge => "body_too_large",
            Self::EmptyBody => "empty_body",
            Self::NotJoined => "not_joined",
            Self::TooManyRooms => "too_many_rooms",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::NotAllowed => "not_allowed",
            Self::NoSuchRoom => "no_such_room",
            Self::InvalidToken => "invalid_token",
            Self::TokenExpired => "token_expired",
            Self::AccountRequired => "account_required",
            Self::NotYours => "not_yours",
            Self::InvalidEmoji => "invalid_emoji",
            Self::NoSuchFile => "no_such_file",
        }
    }

    /// Whether it counts towards the three in a row that close a connection.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::BadFrame | Self::UnknownType)
    }
}

impl From<InvalidId> for ErrorCode {
    fn from(invalid: InvalidId) -> Self {
        match invalid {
            InvalidId::Room => Self::InvalidRoom,
            InvalidId::Inbox => Self::NoSuchRoom,
            InvalidId::Message => Self::InvalidId,
            InvalidId::Name => Self::InvalidName,
            InvalidId::GuestSecret | InvalidId::Session => Self::InvalidSession,
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
            account: false,
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
        let frame = ServerFrame::Message(Message { seq: 7, record: record(), first: None, was: None });
        let from = json!({"id": "N0cI__dxndWXnsh11WzSKA", "name": "Ann"});
        assert_shape(
            &frame,
            &json!({"type": "message", "seq": 7, "room": "lobby", "id": "m1", "from": from, "body": "hi", "at": 5}),
        );
        for was in [0, 3] {
            let first = (was > 0).then_some(2);
            let message = Message { seq: 7, record: record(), first, was: (was > 0).then_some(was) };
            let mut logged = serde_json::to_string(&record()).unwrap();
            if was > 0 {
                logged.insert_str(logged.len() - 1, r#","first":2"#);
            }
            let spliced = super::super::Frame::message(7, &logged, was);
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
    fn the_name_of_an_error_code_is_what_stands_in_a_frame() {
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
