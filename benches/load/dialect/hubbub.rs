//! The protocol of this project.

use anyhow::{Result, bail};
use hubbub_client::{Connection, Upgrade};
use hubbub_protocol::{ClientFrame, Hello, Publish, Resume, ServerFrame};

use super::super::room;
use super::{Entry, Peer, Received, Stamp};

const MESSAGE: &str = r#"{"type":"message","seq":"#;
const ACK: &str = r#"{"type":"ack","#;
const BODY: &str = r#""body":""#;

/// A client of this server.
#[derive(Debug)]
pub(crate) struct Hubbub {
    connection: Connection,
    cursor: u64,
    live: bool,
}

/// The `seq` and the stamp of a message frame, found without parsing it.
pub(crate) fn message(frame: &str) -> Option<(u64, Stamp)> {
    let (seq, rest) = frame.strip_prefix(MESSAGE)?.split_once(',')?;
    let (_, body) = rest.split_once(BODY)?;
    Some((seq.parse().ok()?, Stamp::read(body)?))
}

impl Hubbub {
    fn note(&mut self, frame: ServerFrame) -> Received {
        match frame {
            ServerFrame::Live { seq } => {
                self.live = true;
                self.cursor = self.cursor.max(seq);
            }
            ServerFrame::Heartbeat { seq } | ServerFrame::Joined { seq, .. } | ServerFrame::Left { seq, .. } => {
                self.cursor = self.cursor.max(seq);
            }
            ServerFrame::Reset { seq, .. } => {
                self.cursor = seq;
                return Received::Reset;
            }
            ServerFrame::Error(refusal) if refusal.id.is_some() => return Received::Refused,
            _ => {}
        }
        Received::Other
    }
}

impl Peer for Hubbub {
    async fn open(entry: &Entry) -> Result<Self> {
        let upgrade = Upgrade { receive_buffer_bytes: entry.receive_buffer_bytes, ..Upgrade::default() };
        let mut connection = Connection::open(&entry.address, &upgrade).await?;
        let hello = Hello {
            name: "Load".parse()?,
            session: None,
            rooms: vec![room::name(entry.room).parse()?],
            resume: entry.cursor.map(|seq| Resume { seq }),
        };
        connection.send(&ClientFrame::Hello(hello)).await?;
        let ServerFrame::Welcome(welcome) = connection.next().await? else { bail!("no welcome after hello") };
        let cursor = entry.cursor.filter(|_| welcome.resumed).unwrap_or(welcome.seq);
        Ok(Self { connection, cursor, live: false })
    }

    async fn next(&mut self) -> Result<Received> {
        let text = self.connection.next_text().await?;
        if let Some((seq, stamp)) = message(&text) {
            self.cursor = seq;
            return Ok(if self.live { Received::Message(stamp) } else { Received::Replayed(stamp) });
        }
        if text.starts_with(ACK) {
            return Ok(Received::Accepted);
        }
        Ok(self.note(serde_json::from_str(&text)?))
    }

    async fn publish(&mut self, room: u32, stamp: Stamp, bytes: usize) -> Result<Received> {
        let id = format!("{:x}-{:x}", stamp.sender, stamp.number).parse()?;
        let publish = Publish { id, room: room::name(room).parse()?, body: stamp.body(bytes) };
        self.connection.send(&ClientFrame::Publish(publish)).await?;
        Ok(Received::Other)
    }

    fn cursor(&self) -> Option<u64> {
        Some(self.cursor)
    }
}
