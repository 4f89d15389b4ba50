//! Builds every frame of a conversation, and the frames of notices.

use hubbub_lifecycle::clock::millis;
use hubbub_protocol::{
    Ack, ConnectionId, DEDUPE_WINDOW, Frame, HEARTBEAT_INTERVAL, Limits, Refusal, ResetReason, Seq, ServerFrame,
    VERSION, Welcome,
};

use crate::{node::Node, notice::Notice, person::Person};

/// The frame that carries a notice.
pub(crate) fn notice(notice: &Notice) -> Frame {
    Frame::json(&match notice.clone() {
        Notice::Live { seq } => ServerFrame::Live { seq },
        Notice::Heartbeat { seq } => ServerFrame::Heartbeat { seq },
        Notice::Joined { room, seq } => ServerFrame::Joined { room, seq },
        Notice::Left { room, seq } => ServerFrame::Left { room, seq },
        Notice::Reset { seq } => ServerFrame::Reset { seq, reason: ResetReason::Hole },
        Notice::Count(count) => ServerFrame::Count(count),
        Notice::Status(relay) => ServerFrame::Status { relay },
        Notice::Typing { room, from } => ServerFrame::Typing { room, from },
    })
}

/// The answer to `hello`: the connection is served from `seq` on.
pub(super) fn welcome(node: &Node, connection: ConnectionId, person: &Person, seq: Seq, resumed: bool) -> Frame {
    Frame::json(&ServerFrame::Welcome(Box::new(Welcome {
        version: VERSION,
        connection,
        instance: node.name().to_owned(),
        user: person.user.clone(),
        account: person.has_account(),
        session: person.new_secret,
        seq,
        resumed,
        heartbeat_ms: millis(HEARTBEAT_INTERVAL),
        dedupe_ms: millis(DEDUPE_WINDOW),
        limits: Limits::V1,
        count: node.count(),
        relay: node.relay_state(),
    })))
}

/// The client's cursor cannot be used: it is served from `seq`.
pub(super) fn reset(seq: Seq, reason: ResetReason) -> Frame {
    Frame::json(&ServerFrame::Reset { seq, reason })
}

/// A publish has its seq.
pub(super) fn ack(ack: Ack) -> Frame {
    Frame::json(&ServerFrame::Ack(ack))
}

/// A frame of the client is refused.
pub(super) fn error(refusal: Refusal) -> Frame {
    Frame::json(&ServerFrame::Error(refusal))
}

/// The answer to `ping`.
pub(super) fn pong(n: Option<u64>) -> Frame {
    Frame::json(&ServerFrame::Pong { n })
}

/// This instance stops: the client should reconnect after this pause, in milliseconds.
pub(super) fn drain(reconnect_after_ms: u64) -> Frame {
    Frame::json(&ServerFrame::Drain { reconnect_after_ms })
}
