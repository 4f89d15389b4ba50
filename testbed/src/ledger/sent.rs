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
    /// Where others saw it, without learning of the first place.
    elsewhere: BTreeSet<Seq>,
    /// The lowest place that a delivery has named.
    lowest: Option<Seq>,
}

impl Message {
    fn acked(&self) -> Option<Seq> {
        if let Fate::Acked(seq, _) = self.fate { Some(seq) } else { None }
    }

    /// What a history must have of it. None: it was neither acked nor seen.
    fn owed(&self) -> Option<Owed> {
        let lowest = self.acked().into_iter().chain(self.lowest).min()?;
        let unnamed = self.place.filter(|_| !self.elsewhere.is_empty());
        let places = self.elsewhere.iter().copied().chain(unnamed).chain([lowest]).collect();
        Some(Owed { room: self.room, places })
    }
}

/// What a history must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Every message that was acked, or that a receiver saw.
    pub messages: BTreeMap<Mark, Owed>,
    /// How many messages each sender has sent.
    pub sent: Vec<usize>,
    /// The highest place that was acked.
    pub highest: Seq,
}

/// What a history must have of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Its room.
    pub room: usize,
    /// The lowest place that anybody knows. There are several where an instance gave it another one without knowing of the first.
    pub places: BTreeSet<Seq>,
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
        messages.push(Message { room, fate: Fate::Unsettled, place: None, elsewhere: BTreeSet::new(), lowest: None });
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
        let message = &mut self.messages[mark.sender][mark.n];
        let place = *message.place.get_or_insert(seq);
        if place == seq {
            return None;
        }
        message.elsewhere.insert(seq);
        Some(place)
    }

    /// A delivery names the first place of a message.
    pub fn learned(&mut self, mark: Mark, place: Seq) {
        let lowest = &mut self.messages[mark.sender][mark.n].lowest;
        *lowest = Some(lowest.map_or(place, |known| known.min(place)));
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
        let mut kept = Kept { sent: self.next(), ..Kept::default() };
        for (sender, messages) in self.messages.iter().enumerate() {
            for (n, message) in messages.iter().enumerate() {
                kept.highest = kept.highest.max(message.acked().unwrap_or_default());
                kept.messages.extend(message.owed().map(|owed| (Mark { sender, n }, owed)));
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
