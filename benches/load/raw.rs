//! The bare server: the least that a broadcast can cost. One thread, one `write` for each message and client.
//!
//! It prints its address, completes the requested number of handshakes, reads a schedule from its input, and writes.
//! It ends with its input.

use std::{
    io::{BufRead, BufReader, Write, stdin, stdout},
    net::{TcpListener, TcpStream},
};

use anyhow::{Context, Result};
use hubbub_protocol::{Frame, GuestSecret, Message, Record, ServerFrame, User};
use socket2::SockRef;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    dialect::raw::ROOM_HEADER,
    options::Bare,
    room,
    schedule::{Schedule, Stamp},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Serves until the input ends.
pub(crate) fn serve(bare: &Bare) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // the standard library's is so short that a storm waits for lost packets
    SockRef::from(&listener).listen(BACKLOG)?;
    writeln!(stdout(), "{}", listener.local_addr()?)?;
    let mut rooms: Vec<Vec<TcpStream>> = (0..bare.rooms).map(|_| Vec::new()).collect();
    for _ in 0..bare.clients {
        let (stream, room) = accept(&listener)?;
        rooms.get_mut(room).context("there is no such room")?.push(stream);
    }
    let mut lines = stdin().lines();
    let Some(line) = lines.next() else { return Ok(()) };
    let schedule: Schedule = serde_json::from_str(&line?)?;
    let from = User { id: GuestSecret::random().user_id(), name: "Load".parse()? };
    for stamp in schedule.stamps() {
        let frame = frame(stamp, bare, &from)?;
        let room = usize::try_from(stamp.sender % bare.rooms)?;
        for client in rooms.get_mut(room).into_iter().flatten() {
            client.write_all(frame.bytes())?;
        }
    }
    lines.try_for_each(|line| line.map(drop)).context("the input failed")
}

/// The bytes that Hubbub would send for it.
fn frame(stamp: Stamp, bare: &Bare, from: &User) -> Result<Frame> {
    let record = Record {
        room: room::name(stamp.sender % bare.rooms).parse()?,
        id: format!("{:x}-{:x}", stamp.sender, stamp.number).parse()?,
        from: from.clone(),
        body: stamp.body(bare.size),
        at: stamp.due / 1_000_000,
    };
    // as many digits as a `seq` has
    Ok(Frame::json(&ServerFrame::Message(Message { seq: stamp.due / 1_000, record, first: None, was: None })))
}

/// A connection after its handshake, and the room that it asked for.
fn accept(listener: &TcpListener) -> Result<(TcpStream, usize)> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let (mut key, mut room) = (None, None);
    for line in BufReader::with_capacity(1024, &stream).lines() {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                key = Some(derive_accept_key(value.as_bytes()));
            }
            Some((name, value)) if name.eq_ignore_ascii_case(ROOM_HEADER) => room = Some(value.parse()?),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let key = key.context("a request without a key")?;
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
    )?;
    Ok((stream, room.context("a request without a room")?))
}
