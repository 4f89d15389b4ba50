//! Why a connection ends. The range of the code tells the client what to do next.

/// Every reason for which this server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client closed, or the conversation is over.
    Normal,
    /// The peer broke RFC 6455: an unmasked frame, reserved bits.
    ProtocolError,
    /// A binary frame.
    BinaryFrame,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// An inbound frame over the limit.
    FrameTooLarge,
    /// The server failed.
    Internal,
    /// This instance stops; `drain` said when to come back.
    Drain,
    /// The client has seen more than this instance, which cannot reach the log. Another one may know.
    TryAgainLater,
    /// No `hello` in time.
    HelloTimeout,
    /// Nothing was heard from the client for too long.
    HeartbeatLost,
    /// The client does not read, or reads slower than the log moves on.
    SlowConsumer,
    /// The client went on publishing though errors told it to stop.
    RateLimited,
    /// Three frames in a row that were no frames of this protocol.
    BadFrame,
    /// Too many connections from one address or session.
    TooManyConnections,
}

impl CloseReason {
    /// Every reason, in the order of the codes.
    pub const ALL: [Self; 14] = [
        Self::Normal,
        Self::ProtocolError,
        Self::BinaryFrame,
        Self::InvalidUtf8,
        Self::FrameTooLarge,
        Self::Internal,
        Self::Drain,
        Self::TryAgainLater,
        Self::HelloTimeout,
        Self::HeartbeatLost,
        Self::SlowConsumer,
        Self::RateLimited,
        Self::BadFrame,
        Self::TooManyConnections,
    ];

    /// The code in the close frame and the reason text beside it.
    pub const fn parts(self) -> (u16, &'static str) {
        match self {
            Self::Normal => (1000, "normal"),
            Self::ProtocolError => (1002, "protocol_error"),
            Self::BinaryFrame => (1003, "binary_frame"),
            Self::InvalidUtf8 => (1007, "invalid_utf8"),
            Self::FrameTooLarge => (1009, "frame_too_large"),
            Self::Internal => (1011, "internal_error"),
            Self::Drain => (1012, "drain"),
            Self::TryAgainLater => (1013, "try_again_later"),
            Self::HelloTimeout => (4000, "hello_timeout"),
            Self::HeartbeatLost => (4001, "heartbeat_lost"),
            Self::SlowConsumer => (4002, "slow_consumer"),
            Self::RateLimited => (4003, "rate_limited"),
            Self::BadFrame => (4500, "bad_frame"),
            Self::TooManyConnections => (4501, "too_many_connections"),
        }
    }

    /// The code in the close frame.
    pub const fn code(self) -> u16 {
        self.parts().0
    }

    /// The reason text in the close frame.
    pub const fn name(self) -> &'static str {
        self.parts().1
    }
}

/// Whether a client should connect again after this close code.
///
/// Codes 4000–4499 say yes, 4500–4999 no; of the standard ones, those that blame the client's frames say no.
pub const fn is_reconnectable(code: u16) -> bool {
    !matches!(code, 1002 | 1003 | 1007 | 1009 | 4500..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_says_whether_to_reconnect() {
        let stay_away: Vec<u16> =
            CloseReason::ALL.map(CloseReason::code).into_iter().filter(|code| !is_reconnectable(*code)).collect();
        assert_eq!(stay_away, [1002, 1003, 1007, 1009, 4500, 4501]);
    }
}
