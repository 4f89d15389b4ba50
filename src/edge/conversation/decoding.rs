//! What a client has sent, decoded.

use std::sync::LazyLock;

use hubbub_lifecycle::metric;
use hubbub_protocol::{ClientFrame, Refusal};
use metrics::Counter;

use crate::socket::Inbound;

/// Number of consecutive malformed frames after which the connection is closed.
const MAX_MALFORMED: u32 = 3;

static FRAMES_IN: LazyLock<Counter> = LazyLock::new(|| metrics::counter!(metric::FRAMES_IN));

/// The result of decoding a message from the socket.
pub(super) enum Decoded {
    Frame(ClientFrame),
    Malformed(Refusal),
    /// A WebSocket ping or pong.
    Control,
    Binary,
}

pub(super) fn decode(inbound: Inbound) -> Decoded {
    match inbound {
        Inbound::Text(text) => {
            FRAMES_IN.increment(1);
            ClientFrame::decode(&text).map_or_else(Decoded::Malformed, Decoded::Frame)
        }
        Inbound::Binary(_) => Decoded::Binary,
        Inbound::Control => Decoded::Control,
    }
}

/// Number of consecutive malformed frames.
#[derive(Debug, Default)]
pub(super) struct Malformed(u32);

impl Malformed {
    /// Counts a malformed frame. Another refusal resets the count. Returns true if the connection must be closed.
    pub(super) const fn count(&mut self, refusal: &Refusal) -> bool {
        self.0 = if refusal.code.is_malformed() { self.0 + 1 } else { 0 };
        self.0 >= MAX_MALFORMED
    }
}
