//! What a client does with each frame of the server.

use std::time::Duration;

use hubbub_protocol::{ErrorCode, Message, MessageId, Refusal, Seq, ServerFrame, Welcome};
use tokio::time::Instant;

use super::Core;
use crate::{Event, FailReason};

/// The wait after an `overloaded` or `rate_limited` without `retry_after_ms`.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

impl Core {
    /// The server sent a frame.
    pub fn on_frame(&mut self, frame: ServerFrame, now: Instant) {
        self.received_at = now;
        match frame {
            ServerFrame::Welcome(welcome) => self.on_welcome(*welcome),
            ServerFrame::Live { seq } => self.on_live(seq),
            ServerFrame::Message(message) => self.on_message(message),
            ServerFrame::Ack(ack) => {
                if let Some(waited) = self.outbox.remove(&ack.id, now) {
                    self.events.push_back(Event::Acked { id: ack.id.clone(), seq: ack.seq, ack: Some(ack), waited });
                }
            }
            ServerFrame::Heartbeat { seq } => self.advance(seq),
            ServerFrame::Count(count) => self.events.push_back(Event::Count(count)),
            ServerFrame::Typing { room, from } => self.events.push_back(Event::Typing { room, from }),
            ServerFrame::Joined { room, seq } => {
                self.advance(seq);
                self.events.push_back(Event::Joined(room));
            }
            ServerFrame::Left { room, seq } => {
                self.advance(seq);
                self.leaving.retain(|left| *left != room);
                self.events.push_back(Event::Left(room));
            }
            ServerFrame::Status { relay } => self.events.push_back(Event::Status(relay)),
            ServerFrame::Reset { seq, reason } => {
                // The only frame that may move the cursor back: the old one belongs to a log that is lost.
                self.cursor = Some(seq);
                self.events.push_back(Event::Reset { seq, reason });
            }
            ServerFrame::Drain { reconnect_after_ms } => {
                let reconnect_after = Duration::from_millis(reconnect_after_ms);
                self.drain_wait = Some(reconnect_after);
                self.events.push_back(Event::Drain { reconnect_after });
            }
            ServerFrame::Error(refusal) => self.on_refusal(refusal),
            // An answer to no question: this client does not ping.
            ServerFrame::Pong { .. } => {}
        }
    }

    fn on_welcome(&mut self, welcome: Welcome) {
        let Welcome { instance, resumed, seq, count, relay, .. } = welcome;
        self.dedupe_window = Duration::from_millis(welcome.dedupe_ms);
        self.silence_limit = Duration::from_millis(welcome.heartbeat_ms) * 2 + Duration::from_secs(5);
        // A cursor that the server did not take up stays until the `reset` that follows. If the connection ends before
        // that, the client resumes from the same cursor on the next one, and gets the `reset` there.
        self.cursor.get_or_insert(seq);
        self.events.extend([Event::Connected { instance, resumed }, Event::Count(count), Event::Status(relay)]);
    }

    fn on_live(&mut self, seq: Seq) {
        self.advance(seq);
        self.is_live = true;
        self.failed_attempts = 0;
        let settled = self.outbox.settle(self.received_at, self.dedupe_window);
        let acked = settled.acked.into_iter().map(|(id, seq, waited)| Event::Acked { id, seq, ack: None, waited });
        let expired = settled.expired.into_iter().map(|id| Event::Failed { id, reason: FailReason::Expired });
        self.events.push_back(Event::Live);
        self.events.extend(acked.chain(expired));
    }

    fn on_message(&mut self, message: Message) {
        let record = &message.record;
        if self.cursor.is_some_and(|cursor| message.seq <= cursor) {
            self.violations.reordered += 1;
        }
        self.advance(message.seq);
        if record.from.id == self.config.session.user_id() {
            self.outbox.received(&record.id, message.seq);
        }
        if !self.config.rooms.contains(&record.room) && !self.leaving.contains(&record.room) {
            self.violations.misdelivered += 1;
        }
        if self.recent.insert(&message) {
            self.events.push_back(Event::Message(message));
        } else {
            self.violations.duplicated += u64::from(message.was.is_none());
            self.events.push_back(Event::Repeated(message));
        }
    }

    fn on_refusal(&mut self, refusal: Refusal) {
        let id = refusal.id.as_deref().and_then(|id| id.parse::<MessageId>().ok());
        let hint = refusal.retry_after_ms.map(Duration::from_millis);
        match (id, refusal.code) {
            (Some(id), ErrorCode::RateLimited | ErrorCode::Overloaded) => {
                self.outbox.hold(&id, hint.unwrap_or(DEFAULT_RETRY), self.received_at);
            }
            // It goes out again on the next connection.
            (_, ErrorCode::Draining) | (None, _) => {}
            (Some(id), code) => {
                if self.outbox.remove(&id, self.received_at).is_some() {
                    self.events.push_back(Event::Failed { id, reason: FailReason::Refused(code) });
                }
            }
        }
        self.events.push_back(Event::Refused(refusal));
    }

    fn advance(&mut self, seq: Seq) {
        self.cursor = self.cursor.max(Some(seq));
    }
}
