//! Every frame of the protocol reads back as what was written, whatever it carries.
#![expect(clippy::unwrap_used, reason = "a value that cannot be made should fail the test")]

use hubbub_protocol::{
    Ack, ClientFrame, ConnectionId, Count, ErrorCode, GuestSecret, Hello, Limits, MAX_BODY_BYTES, MAX_ROOMS, Message,
    MessageId, Publish, Record, Refusal, RelayState, ResetReason, Resume, RoomId, ServerFrame, User, UserName, Welcome,
};
use proptest::prelude::*;

fn room() -> impl Strategy<Value = RoomId> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|text| text.parse().unwrap())
}

fn message_id() -> impl Strategy<Value = MessageId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn name() -> impl Strategy<Value = UserName> {
    prop::collection::vec(any::<char>(), 1..70)
        .prop_filter_map("no name", |letters| String::from_iter(letters).parse().ok())
}

fn session() -> impl Strategy<Value = GuestSecret> {
    any::<()>().prop_map(|()| GuestSecret::random())
}

fn user() -> impl Strategy<Value = User> {
    (session(), name()).prop_map(|(session, name)| User { id: session.user_id(), name })
}

fn body() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("empty or too large", |body| !body.trim().is_empty() && body.len() <= MAX_BODY_BYTES)
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let resume = prop::option::of(any::<u64>().prop_map(|seq| Resume { seq }));
    let rooms = prop::collection::btree_set(room(), 0..=MAX_ROOMS).prop_map(|rooms| rooms.into_iter().collect());
    let hello = (name(), prop::option::of(session()), rooms, resume)
        .prop_map(|(name, session, rooms, resume)| ClientFrame::Hello(Hello { name, session, rooms, resume }));
    let publish = (message_id(), room(), body());
    prop_oneof![
        hello,
        publish.prop_map(|(id, room, body)| ClientFrame::Publish(Publish { id, room, body })),
        room().prop_map(|room| ClientFrame::Join { room }),
        room().prop_map(|room| ClientFrame::Leave { room }),
        room().prop_map(|room| ClientFrame::Typing { room }),
        any::<Option<u64>>().prop_map(|n| ClientFrame::Ping { n }),
    ]
}

fn count() -> impl Strategy<Value = Count> {
    any::<(u64, u64, bool)>().prop_map(|(connections, instances, settling)| Count { connections, instances, settling })
}

fn relay_state() -> impl Strategy<Value = RelayState> {
    prop_oneof![Just(RelayState::Live), Just(RelayState::Degraded)]
}

fn welcome() -> impl Strategy<Value = ServerFrame> {
    let numbers = any::<(u32, u64, u64, [bool; 2], u64, u64)>();
    let limits = any::<[u32; 5]>().prop_map(|limits| limits.map(|limit| usize::try_from(limit).unwrap()));
    let limits = limits.prop_map(|[frame_bytes, body_bytes, name_chars, rooms, unacked_publishes]| Limits {
        frame_bytes,
        body_bytes,
        name_chars,
        rooms,
        unacked_publishes,
    });
    (numbers, any::<String>(), user(), prop::option::of(session()), limits, count(), relay_state()).prop_map(
        |(numbers, instance, user, session, limits, count, relay)| {
            let (version, connection, seq, [resumed, account], heartbeat_ms, dedupe_ms) = numbers;
            let connection = ConnectionId::new(connection);
            let welcome = Welcome {
                version,
                connection,
                instance,
                user,
                account,
                session,
                seq,
                resumed,
                heartbeat_ms,
                dedupe_ms,
                limits,
                count,
                relay,
            };
            ServerFrame::Welcome(Box::new(welcome))
        },
    )
}

fn message() -> impl Strategy<Value = ServerFrame> {
    (any::<(u64, u64, Option<u64>, Option<u64>)>(), room(), message_id(), user(), any::<String>()).prop_map(
        |((seq, at, first, was), room, id, from, body)| {
            ServerFrame::Message(Message { seq, record: Record { room, id, from, body, at }, first, was })
        },
    )
}

fn ack() -> impl Strategy<Value = ServerFrame> {
    (message_id(), any::<(u64, bool, String, u64, u64)>()).prop_map(
        |(id, (seq, duplicate, instance, accepted_at, logged_at))| {
            ServerFrame::Ack(Ack { id, seq, duplicate, instance, accepted_at, logged_at })
        },
    )
}

fn error() -> impl Strategy<Value = ServerFrame> {
    let code = prop::sample::select(&ErrorCode::ALL[..]);
    (code, any::<(String, Option<String>, Option<u64>)>()).prop_map(|(code, (detail, id, retry_after_ms))| {
        ServerFrame::Error(Refusal { code, detail, id, retry_after_ms })
    })
}

fn reset() -> impl Strategy<Value = ServerFrame> {
    let reason = prop_oneof![Just(ResetReason::TooOld), Just(ResetReason::UnknownCursor), Just(ResetReason::Hole)];
    (any::<u64>(), reason).prop_map(|(seq, reason)| ServerFrame::Reset { seq, reason })
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let typing = (room(), prop::collection::vec(user(), 0..4));
    prop_oneof![
        welcome(),
        message(),
        ack(),
        error(),
        reset(),
        any::<u64>().prop_map(|seq| ServerFrame::Live { seq }),
        any::<u64>().prop_map(|seq| ServerFrame::Heartbeat { seq }),
        count().prop_map(ServerFrame::Count),
        typing.prop_map(|(room, from)| ServerFrame::Typing { room, from }),
        (room(), any::<u64>()).prop_map(|(room, seq)| ServerFrame::Joined { room, seq }),
        (room(), any::<u64>()).prop_map(|(room, seq)| ServerFrame::Left { room, seq }),
        relay_state().prop_map(|relay| ServerFrame::Status { relay }),
        any::<u64>().prop_map(|reconnect_after_ms| ServerFrame::Drain { reconnect_after_ms }),
        any::<Option<u64>>().prop_map(|n| ServerFrame::Pong { n }),
    ]
}

proptest! {
    #[test]
    fn what_a_client_says_is_what_the_server_reads(frame in client_frame()) {
        let text = serde_json::to_string(&frame).unwrap();
        prop_assert_eq!(ClientFrame::decode(&text), Ok(frame), "{}", text);
    }

    #[test]
    fn what_the_server_says_is_what_a_client_reads(frame in server_frame()) {
        let text = serde_json::to_string(&frame).unwrap();
        prop_assert_eq!(serde_json::from_str::<ServerFrame>(&text).unwrap(), frame, "{}", text);
    }
}
