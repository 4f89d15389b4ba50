//! A connection as its worker keeps it.

use std::sync::Arc;

use hubbub_protocol::{Frame, HEARTBEAT_INTERVAL, Seq, ServerFrame};
use tokio::time::Instant;

use super::member::Member;
use crate::socket::Transport;

/// A connection in a worker's roster.
#[derive(Debug)]
pub(super) struct Served<T> {
    pub(super) member: Arc<Member<T>>,
    /// The worker writes to it.
    pub(super) live: bool,
    /// See [`super::member::Feed::crossed_at`]; kept here while it is live.
    pub(super) crossed_at: Seq,
    /// It missed a notice while it could not be written to.
    pub(super) uninformed: bool,
    heartbeat_due: Instant,
}

impl<T: Transport> Served<T> {
    pub(super) fn new(member: Arc<Member<T>>) -> Self {
        let heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
        Self { member, live: false, crossed_at: 0, uninformed: true, heartbeat_due }
    }

    /// Says that everything up to the connection's cursor has been sent, and asks for a sign of life.
    pub(super) fn beat(&mut self, now: Instant, position: Seq) {
        if self.heartbeat_due <= now {
            self.heartbeat_due += HEARTBEAT_INTERVAL;
            // under the feed's lock: its own task must not get ahead of what is said here
            let feed = self.member.feed();
            let heartbeat = ServerFrame::Heartbeat { seq: feed.cursor(position) };
            self.member.link().reply(&Frame::json(&heartbeat));
            self.member.link().reply(&Frame::ping());
        }
    }

    pub(super) fn fall_behind(&mut self, cursor: Seq) {
        self.live = false;
        let mut feed = self.member.feed();
        feed.crossed_at = self.crossed_at;
        feed.fall_behind(cursor);
        drop(feed);
        self.member.link().wake();
    }
}
