//! A fuzz test of everything that decodes untrusted bytes, from the socket to the protocol frame: a million mutations
//! of client frames. The number of a case reproduces it.

use std::{collections::BTreeSet, io};

use hubbub_protocol::{ClientFrame, CloseReason, ErrorCode, Frame, MAX_FRAME_BYTES, ServerFrame};

use super::{Ending, Inbound, codec, peer, read};
use crate::test_rng::{TestRng, run_cases};

const CASES: u64 = 1_000_000;

/// Valid client frames, and almost valid ones.
const TEXTS: [&str; 12] = [
    r#"{"type":"hello","name":"Ann","session":"AAAAAAAAAAAAAAAAAAAAAA","rooms":["a","b"],"resume":{"seq":7}}"#,
    r#"{"type":"hello","name":" é\u00e9 "}"#,
    r#"{"type":"publish","id":"m1","room":"lobby","body":"hi \"there\" 🙂"}"#,
    r#"{"type":"publish","id":"m1","room":"lobby","body":" "}"#,
    r#"{"type":"publish","id":"m.1","room":"lobby","body":"x"}"#,
    r#"{"type":"join","room":"lobby"}"#,
    r#"{"type":"leave","room":"a.b_c-d"}"#,
    r#"{"type":"typing","room":"0"}"#,
    r#"{"type":"ping","n":18446744073709551615}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"hello","name":"","session":"x"}"#,
    "[[[[",
];

/// Pieces that often break parsers.
const TOKENS: [&[u8]; 12] = [
    b"\"",
    b"{",
    b"}",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"-1",
    b"1e999",
    b"\xff",
    b"\xed\xa0\x80",
    b"\"type\":",
    b"\0",
];

/// The error codes that the decoder returns.
const CODES: [ErrorCode; 10] = [
    ErrorCode::BadFrame,
    ErrorCode::UnknownType,
    ErrorCode::InvalidName,
    ErrorCode::InvalidSession,
    ErrorCode::InvalidRoom,
    ErrorCode::InvalidId,
    ErrorCode::InvalidBody,
    ErrorCode::BodyTooLarge,
    ErrorCode::EmptyBody,
    ErrorCode::TooManyRooms,
];

/// Generates damaged client frames.
impl TestRng {
    fn byte(&mut self) -> u8 {
        self.next_u64().to_le_bytes()[0]
    }

    /// One small damage.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(6) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, self.pick(&TOKENS).iter().copied())),
            4 => bytes.extend_from_within(at..),
            _ => drop(bytes.splice(at.., self.pick(&TEXTS).bytes().skip(at))),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        if self.once_in(4000) {
            let rooms: Vec<_> = (0..28 + self.below(8)).map(|n| format!("r{n}")).collect();
            return format!(r#"{{"type":"hello","name":"a","rooms":{rooms:?}}}"#).into_bytes();
        }
        if self.once_in(4000) {
            let body = "x".repeat(8190 + self.below(4));
            return format!(r#"{{"type":"publish","id":"m","room":"a","body":"{body}"}}"#).into_bytes();
        }
        let mut text = self.pick(&TEXTS).as_bytes().to_vec();
        while self.once_in(2) {
            self.damage(&mut text);
        }
        text
    }

    /// A frame of a client.
    fn frame(&mut self, first: u8, payload: &[u8], wire: &mut Vec<u8>) {
        wire.push(first);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(short @ 0..126), _) => wire.push(0x80 | short),
            (_, Ok(medium)) => {
                wire.push(0xfe);
                wire.extend(medium.to_be_bytes());
            }
            _ => panic!("no case is so long"),
        }
        let mask = u32::try_from(self.next_u64() >> 32).unwrap().to_be_bytes();
        wire.extend(mask);
        wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    fn conversation(&mut self) -> Vec<u8> {
        if self.once_in(20) {
            return (0..self.below(64)).map(|_| self.byte()).collect();
        }
        let mut wire = Vec::new();
        for _ in 0..=self.below(3) {
            let text = self.text();
            match self.below(12) {
                0 => {
                    let (first, rest) = text.split_at(self.below(text.len()));
                    self.frame(0x01, first, &mut wire);
                    self.frame(0x80, rest, &mut wire);
                }
                1 => {
                    let code = self.pick(&[1000, 1001, 1005, 1006, 1015, 999, 2999, 3000, 4002, 4999, 65_535]);
                    let mut payload = u16::to_be_bytes(code).to_vec();
                    payload.extend_from_slice(&text[..text.len().min(123)]);
                    payload.truncate(self.pick(&[0, 1, 2, 125]));
                    self.frame(0x88, &payload, &mut wire);
                }
                2 => {
                    let opcode = self.pick(&[0x82, 0x89, 0x8a, 0x00, 0x80, 0x83, 0x8f, 0x09, 0xc1]);
                    let length = text.len().min(self.pick(&[0, 125, 126]));
                    self.frame(opcode, &text[..length], &mut wire);
                }
                _ => self.frame(0x81, &text, &mut wire),
            }
        }
        while self.once_in(3) {
            self.damage(&mut wire);
        }
        wire
    }
}

/// The bytes of the peer, read in pieces, and the bytes that the codec has written.
struct Wire<'a> {
    arriving: &'a [u8],
    piece: usize,
    written: Vec<u8>,
}

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.arriving.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (piece, rest) = self.arriving.split_at(self.piece.min(self.arriving.len()).min(buffer.len()));
        self.arriving = rest;
        buffer[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(frames);
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the cases have reached. A fuzz test whose inputs are all refused at once would prove nothing.
#[derive(Debug, Default)]
struct Reached {
    frames: u64,
    refusals: [u64; CODES.len()],
    endings: BTreeSet<String>,
}

impl Reached {
    fn case(&mut self, number: u64) {
        let mut rng = TestRng(number);
        let bytes = rng.conversation();
        let mut wire = Wire { arriving: &bytes, piece: 1 + rng.below(200), written: Vec::new() };
        let mut codec = codec(&[], MAX_FRAME_BYTES);
        let ending = loop {
            match read(&mut codec, &mut wire) {
                None => break None,
                Some(Ok(Inbound::Text(text))) => self.text(&text),
                Some(Ok(Inbound::Binary(_) | Inbound::Control)) => (),
                Some(Err(ending)) => break Some(ending),
            }
        };
        self.end(ending, wire.written);
    }

    fn text(&mut self, text: &str) {
        match ClientFrame::decode(text) {
            Ok(frame) => {
                self.frames += 1;
                let again = serde_json::to_string(&frame).unwrap();
                assert_eq!(ClientFrame::decode(&again).unwrap(), frame);
            }
            Err(refusal) => {
                let code = CODES.iter().position(|code| *code == refusal.code);
                self.refusals[code.unwrap_or_else(|| panic!("{refusal:?}"))] += 1;
                assert!((1..400).contains(&refusal.detail.len()), "{refusal:?}");
                assert!(refusal.id.as_ref().is_none_or(|id| id.chars().count() <= 64), "{refusal:?}");
                let encoded = serde_json::to_string(&ServerFrame::Error(refusal.clone())).unwrap();
                assert_eq!(serde_json::from_str::<ServerFrame>(&encoded).unwrap(), ServerFrame::Error(refusal));
            }
        }
    }

    /// The last frames of this server must be ones that a client can decode.
    fn end(&mut self, ending: Option<Ending>, mut written: Vec<u8>) {
        let close = match ending {
            None => None,
            Some(Ending::Ours(reason)) => {
                let documented = [CloseReason::ProtocolError, CloseReason::InvalidUtf8, CloseReason::FrameTooLarge];
                assert!(documented.contains(&reason), "{reason:?}");
                self.endings.insert(reason.name().to_owned());
                Some(Frame::close(reason))
            }
            Some(Ending::Theirs(code)) => {
                self.endings.insert(format!("theirs {}", code.is_some()));
                Some(Frame::close_reply(code))
            }
            Some(Ending::Lost) => panic!("the connection was not lost"),
        };
        written.extend(close.iter().flat_map(Frame::bytes));
        if !written.is_empty() {
            peer::decode(&written);
        }
    }
}

#[test]
fn a_million_mutations_neither_break_the_server_nor_pass_as_something_else() {
    let all = run_cases(CASES, Reached::default, Reached::case);
    let frames: u64 = all.iter().map(|reached| reached.frames).sum();
    assert!(frames > CASES / 3, "only {frames} frames got through");
    for (n, code) in CODES.iter().enumerate() {
        assert!(all.iter().any(|reached| reached.refusals[n] > 0), "no case was refused as {code:?}");
    }
    let endings: BTreeSet<_> = all.iter().flat_map(|reached| reached.endings.iter().map(String::as_str)).collect();
    assert_eq!(
        endings.into_iter().collect::<Vec<_>>(),
        ["frame_too_large", "invalid_utf8", "protocol_error", "theirs false", "theirs true"]
    );
}
