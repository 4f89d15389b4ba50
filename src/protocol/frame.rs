//! Encoded WebSocket frames from server to client (RFC 6455, section 5.2): unmasked, not fragmented.
//!
//! A frame is the same bytes for every client, so it is encoded once and shared.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::{CloseReason, Seq};

const FIN_TEXT: u8 = 0x81;
const FIN_BINARY: u8 = 0x82;
const FIN_CLOSE: u8 = 0x88;
const FIN_PING: u8 = 0x89;

/// A whole frame as it is written to the socket. A clone shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// A text frame with this payload.
    pub fn text(payload: &str) -> Self {
        Self(encode(FIN_TEXT, &[payload.as_bytes()]))
    }

    /// A binary frame with this payload.
    pub fn binary(payload: &[u8]) -> Self {
        Self(encode(FIN_BINARY, &[payload]))
    }

    /// A text frame with this value as JSON.
    ///
    /// The types of this crate always serialise. A value that does not gives an empty object.
    pub fn json(value: &impl Serialize) -> Self {
        Self(encode(FIN_TEXT, &[&serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec())]))
    }

    /// A `message` frame made from the JSON of its record, which is not parsed.
    ///
    /// `record` is what [`Record`](super::Record) serialises to. `was` is the `seq` that the message had before Redis lost it,
    /// and 0 if Redis never did.
    pub fn message(seq: Seq, record: &str, was: Seq) -> Self {
        Self::event("message", seq, record, was).0
    }

    /// The same for an event of any kind, and where the fields of the record stand in the [bytes](Self::bytes): the
    /// record without its braces.
    pub fn event(kind: &str, seq: Seq, record: &str, was: Seq) -> (Self, Range<usize>) {
        let fields = record.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        let head = format!(r#"{{"type":"{kind}","seq":{seq},"#);
        let tail = if was == 0 { "}".to_owned() } else { format!(r#","was":{was}}}"#) };
        let frame = encode(FIN_TEXT, &[head.as_bytes(), fields.as_bytes(), tail.as_bytes()]);
        let end = frame.len() - tail.len();
        (Self(frame), end - fields.len()..end)
    }

    /// A close frame.
    pub fn close(reason: CloseReason) -> Self {
        let (code, name) = reason.parts();
        Self(encode(FIN_CLOSE, &[&code.to_be_bytes(), name.as_bytes()]))
    }

    /// The answer to the client's close frame: the same code, if it had one.
    pub fn close_reply(code: Option<u16>) -> Self {
        let code = code.map(u16::to_be_bytes);
        Self(encode(FIN_CLOSE, &[code.as_ref().map_or(&[], |bytes| bytes.as_slice())]))
    }

    /// A ping without payload. WebSocket clients answer it without help from the application.
    pub const fn ping() -> Self {
        Self(Bytes::from_static(&[FIN_PING, 0]))
    }

    /// The bytes for the socket, with the header.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Length on the wire in bytes, with the header.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: even an empty payload has a header.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The payload without the header.
    pub fn payload(&self) -> &[u8] {
        let header = match self.0.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        self.0.get(header..).unwrap_or_default()
    }
}

fn encode(opcode: u8, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = BytesMut::with_capacity(length + 10);
    out.put_u8(opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(u64::try_from(length).unwrap_or(u64::MAX));
        }
    }
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_grows_with_the_payload() {
        for (payload, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = Frame::text(&"x".repeat(payload));
            assert_eq!(frame.len(), payload + header);
            assert_eq!(frame.payload().len(), payload);
        }
    }

    #[test]
    fn a_message_is_spliced_around_its_record() {
        let frame = Frame::message(7, r#"{"room":"a","id":"m"}"#, 0);
        assert_eq!(frame.payload(), br#"{"type":"message","seq":7,"room":"a","id":"m"}"#);
        let returned = Frame::message(9, r#"{"room":"a","id":"m"}"#, 7);
        assert_eq!(returned.payload(), br#"{"type":"message","seq":9,"room":"a","id":"m","was":7}"#);
    }

    #[test]
    fn a_close_frame_carries_code_and_name() {
        assert_eq!(Frame::close(CloseReason::Drain).bytes().as_ref(), b"\x88\x07\x03\xf4drain");
    }
}
