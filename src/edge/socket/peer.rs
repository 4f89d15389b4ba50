//! The client's end of the connection, for tests: the library's decoder reads the frames that this server writes.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig},
};

/// The messages that a client receives from these bytes. They must be whole frames, and nothing may follow a close
/// frame.
pub(super) fn decode(bytes: &[u8]) -> Vec<Message> {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let mut client = WebSocket::from_raw_socket(Cursor::new(bytes.to_vec()), Role::Client, Some(config));
    let mut received = Vec::new();
    loop {
        match client.read() {
            Ok(Message::Close(close)) => {
                received.push(Message::Close(close));
                break;
            }
            Ok(message) => received.push(message),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break,
            Err(error) => panic!("the client cannot decode a frame: {error}, after {received:?}"),
        }
    }
    assert_eq!(lengths(bytes).iter().sum::<usize>(), bytes.len(), "the last frame is torn");
    assert_eq!(lengths(bytes).len(), received.len(), "something follows the close frame");
    received
}

/// The lengths of the frames, from their headers only.
fn lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, short, rest @ ..] = bytes {
        let (header, payload) = match (*short, rest) {
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, rest) => {
                let length = rest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                (10, usize::try_from(length).unwrap())
            }
            (short, _) => (2, usize::from(short)),
        };
        lengths.push(header + payload);
        bytes = bytes.get(header + payload..).unwrap_or_default();
    }
    lengths
}

mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

    use super::*;
    use hubbub_protocol::{CloseReason, Frame};

    /// Lengths around those at which the header changes its size, and some others.
    fn length() -> impl Strategy<Value = usize> {
        prop_oneof![0..200_usize, 120..132_usize, 65_500..65_600_usize, Just(1 << 20)]
    }

    fn one(frame: &Frame) -> Message {
        let mut received = decode(frame.bytes());
        assert_eq!(received.len(), 1);
        received.remove(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn text_and_bytes_of_any_length_are_read_back_exactly(length in length(), letter in prop::char::range('a', 'z')) {
            let text = letter.to_string().repeat(length);
            let frame = Frame::text(&text);
            prop_assert_eq!(frame.payload(), text.as_bytes());
            prop_assert_eq!(one(&frame), Message::text(text.clone()));
            prop_assert_eq!(one(&Frame::binary(text.as_bytes())), Message::binary(text.into_bytes()));
        }

        #[test]
        fn a_spliced_message_of_any_length_is_read_back_exactly(length in length(), seq in 1..1_u64 << 53, was in 0..3_u64) {
            let fields = format!(r#""body":"{}""#, "x".repeat(length));
            let tail = if was == 0 { String::new() } else { format!(r#","was":{was}"#) };
            let expected = format!(r#"{{"type":"message","seq":{seq},{fields}{tail}}}"#);
            prop_assert_eq!(one(&Frame::message(seq, &format!("{{{fields}}}"), was)), Message::text(expected));
        }
    }

    #[test]
    fn every_frame_without_text_is_read_back() {
        for reason in CloseReason::ALL {
            let (code, name) = reason.parts();
            let close = CloseFrame { code: CloseCode::from(code), reason: name.into() };
            assert_eq!(one(&Frame::close(reason)), Message::Close(Some(close)));
            let close = CloseFrame { code: CloseCode::from(code), reason: "".into() };
            assert_eq!(one(&Frame::close_reply(Some(code))), Message::Close(Some(close)));
        }
        assert_eq!(one(&Frame::close_reply(None)), Message::Close(None));
        assert_eq!(one(&Frame::ping()), Message::Ping("".into()));
    }
}
