//! The frames of the server.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, GuestSecret, Limits, MessageId, Refusal, RoomId, Seq, UnixMillis, UserId, UserName};

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
    /// Parts of the log, first to last `seq`, that were lost for good and that the page touches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, ts(optional, as = "Option<Vec<(Seq, Seq)>>"))]
    pub gaps: Vec<(Seq, Seq)>,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ErrorCode;

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
    fn error_has_the_documented_shape() {
        let refusal = Refusal::new(ErrorCode::RateLimited, "slow down").about(Some("m1")).retry_after_ms(20);
        assert_shape(
            &ServerFrame::Error(refusal),
            &json!({"type": "error", "code": "rate_limited", "detail": "slow down", "id": "m1", "retry_after_ms": 20}),
        );
    }
}
