//! The close codes of the server.

/// Why the server closes a connection: the code and the reason text of its close frame.
///
/// [`is_reconnectable`] returns whether the client should connect again. A client that closes by itself gets its own code
/// back, usually 1000. A connection that ends without a close frame (1006) was lost: connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// 1002: the client broke the WebSocket protocol (RFC 6455), for example by an unmasked frame. Do not reconnect.
    ProtocolError,
    /// 1003: the client sent a binary frame. This protocol has text frames only. Do not reconnect.
    BinaryFrame,
    /// 1007: the client sent text that is not UTF-8. Do not reconnect.
    InvalidUtf8,
    /// 1009: the client sent a message above `frame_bytes`. Do not reconnect.
    FrameTooLarge,
    /// 1011: an error inside the server. Reconnect with backoff.
    Internal,
    /// 1012: this instance stops. Reconnect after the `reconnect_after_ms` of the `drain` frame before it.
    Drain,
    /// 1013: the cursor of the client is ahead of this instance, which cannot reach the log, or the database cannot be asked
    /// who the client is and which rooms it is in. Reconnect; another instance may be able to serve it.
    TryAgainLater,
    /// 4000: no `hello` came within 10 seconds. Reconnect with backoff.
    HelloTimeout,
    /// 4001: the client sent nothing for too long, not even the answer to a ping. Reconnect and resume.
    HeartbeatLost,
    /// 4002: the client reads slower than messages come, or not at all. Reconnect and resume.
    SlowConsumer,
    /// 4003: for 10 seconds more frames of the client were refused as `rate_limited` than accepted. Reconnect with backoff.
    RateLimited,
    /// 4004: too many connections from this address. Reconnect with backoff.
    AddressFull,
    /// 4500: three frames in a row were refused as `bad_frame` or `unknown_type`. Do not reconnect.
    BadFrame,
    /// 4501: too many connections with this session, and all of them are alive. Do not reconnect.
    TooManyConnections,
    /// 4503: the session of the account has ended: it was signed out, or the account was closed. Do not reconnect; sign in.
    SessionEnded,
    /// 4504: the token with which the client came is no longer valid. Do not reconnect with it; get another one.
    TokenExpired,
}

impl CloseReason {
    /// Every reason, in the order of the codes.
    pub const ALL: [Self; 16] = [
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
        Self::AddressFull,
        Self::BadFrame,
        Self::TooManyConnections,
        Self::SessionEnded,
        Self::TokenExpired,
    ];

    /// The code in the close frame and the reason text beside it.
    pub const fn parts(self) -> (u16, &'static str) {
        match self {
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
            Self::AddressFull => (4004, "address_full"),
            Self::BadFrame => (4500, "bad_frame"),
            Self::TooManyConnections => (4501, "too_many_connections"),
            Self::SessionEnded => (4503, "session_ended"),
            Self::TokenExpired => (4504, "token_expired"),
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
/// Yes for 4000–4499, no for 4500–4999. Of the standard codes, no for those that report a defect of the client: 1002, 1003,
/// 1007 and 1009.
pub const fn is_reconnectable(code: u16) -> bool {
    !matches!(code, 1002 | 1003 | 1007 | 1009 | 4500..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_determines_whether_to_reconnect() {
        let final_codes: Vec<u16> =
            CloseReason::ALL.map(CloseReason::code).into_iter().filter(|code| !is_reconnectable(*code)).collect();
        assert_eq!(final_codes, [1002, 1003, 1007, 1009, 4500, 4501, 4503, 4504]);
    }
}
