//! The messages that were sent, and what became of them on the side of their senders.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use hubbub_protocol::Seq;

/// Names a message: the `n`-th of a sender, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Number of the sender.
    pub sender: usize,
    /// Number of the message among those of this sender.
    pub n: usize,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sender, self.n)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sender, n) = text.split_once('-').ok_or(())?;
        Ok(Self { sender: sender.parse().map_err(|_| ())?, n: n.parse().map_err(|_| ())? })
    }
}

/// What became of a message on the sender's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet.
    Unsettled,
    /// It got this place, at this time.
    Acked(Seq, Duration),
    /// The client gave it up.
    Failed,
}

/// One message.
#[derive(Clone, Debug)]
struct Message {
    room: usize,
    fate: Fate,
    /// Where its first receiver saw it.
    place: Option<Seq>,
}

/// What a history must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Every acked message with its room, and the place at which a receiver saw it first, or else the acked one.
    pub acked: BTreeMap<Mark, (usize, Seq)>,
    /// The highest of all places.
    pub highest: Seq,
}

/// What the senders sent.
#[derive(Debug)]
pub struct Sent {
    messages: Vec<Vec<Message>>,
    settled: usize,
    acked: usize,
}

impl Sent {
    /// Nothing yet, from so many senders.
    pub fn by(senders: usize) -> Self {
        Self { messages: vec![Vec::new(); senders], settled: 0, acked: 0 }
    }

    /// Takes in the next message of a sender, for a room; its name.
    pub fn send(&mut self, sender: usize, room: usize) -> Mark {
        let messages = &mut self.messages[sender];
        messages.push(Message { room, fate: Fate::Unsettled, place: None });
        Mark { sender, n: messages.len() - 1 }
    }

    /// A message is settled. The first fate counts.
    pub fn settle(&mut self, mark: Mark, fate: Fate) {
        let known = &mut self.messages[mark.sender][mark.n].fate;
        if *known == Fate::Unsettled {
            *known = fate;
            self.settled += 1;
            self.acked += usize::from(matches!(fate, Fate::Acked(..)));
        }
    }

    /// A receiver saw a message that had no other place before. Returns the place at which another receiver saw it, if it
    /// differs.
    pub fn saw(&mut self, mark: Mark, seq: Seq) -> Option<Seq> {
        let place = self.messages[mark.sender][mark.n].place.get_or_insert(seq);
        (*place != seq).then_some(*place)
    }

    /// Acked messages whose acked place is not the one that their receivers saw.
    pub(super) fn acked_elsewhere(&self) -> impl Iterator<Item = (Mark, Seq, Duration, Seq)> {
        let rooms = self.messages.iter().flatten().map(|message| message.room).collect::<BTreeSet<_>>();
        let acked: Vec<_> = self.acked_in(&rooms).collect();
        acked.into_iter().filter_map(|(mark, seq, at)| {
            let place = self.messages[mark.sender][mark.n].place?;
            (place != seq).then_some((mark, seq, at, place))
        })
    }

    /// What a history must have.
    pub fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        for (sender, messages) in self.messages.iter().enumerate() {
            for (n, Message { room, fate, place }) in messages.iter().enumerate() {
                if let Fate::Acked(seq, _) = fate {
                    kept.highest = kept.highest.max(*seq);
                    kept.acked.insert(Mark { sender, n }, (*room, place.unwrap_or(*seq)));
                }
            }
        }
        kept
    }

    /// How many of each sender there are: what is sent from now on has a number at least as high.
    pub fn next(&self) -> Vec<usize> {
        self.messages.iter().map(Vec::len).collect()
    }

    /// How many were acked.
    pub fn acked(&self) -> usize {
        self.acked
    }

    /// How many were given up.
    pub fn failed(&self) -> usize {
        self.settled - self.acked
    }

    /// How many have no fate yet.
    pub fn unsettled(&self) -> usize {
        self.messages.iter().map(Vec::len).sum::<usize>() - self.settled
    }

    pub(super) fn acked_in<'a>(&'a self, rooms: &'a BTreeSet<usize>) -> impl Iterator<Item = (Mark, Seq, Duration)> {
        self.messages.iter().enumerate().flat_map(move |(sender, messages)| {
            messages.iter().enumerate().filter_map(move |(n, Message { room, fate, .. })| match fate {
                Fate::Acked(seq, at) if rooms.contains(room) => Some((Mark { sender, n }, *seq, *at)),
                _ => None,
            })
        })
    }
}
