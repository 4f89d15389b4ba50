//! What was sent, what of it was acked, what arrived where, and which promises were broken. Pure: time is an
//! argument, counted from the beginning of the trial.

mod sent;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hubbub_protocol::Seq;

pub use self::sent::{Fate, Kept, Mark, Owed, Sent};

/// Breaches that are kept with their circumstances; the others are only counted.
const KEPT: usize = 20;
/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// Acked, and never delivered to some receiver in its room.
    Lost,
    /// Delivered twice.
    Duplicated,
    /// Delivered after a later one of the same sender, or with a place below one that came before.
    Reordered,
    /// Delivered with another `seq` than to another receiver, or than the acked one.
    Displaced,
    /// Of a room that the receiver is not in.
    Misdelivered,
    /// The server sent `reset`: it cannot replay.
    Reset,
    /// The server forbade the client to come back.
    Ended,
}

/// One breach, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What happened.
    pub breach: Breach,
    /// Number of the receiver, or of the sender if only the ack is at odds.
    pub receiver: usize,
    /// The message, if it is about one.
    pub mark: Option<Mark>,
    /// Its place: the one delivered, or the one acked if it was lost.
    pub seq: Seq,
    /// When it was delivered, or acked if it was lost.
    pub at: Duration,
    /// The instance that served the receiver then, and other details.
    pub circumstances: String,
}

/// A delivery, as the client showed it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Which message.
    pub mark: Mark,
    /// Its room.
    pub room: usize,
    /// Its place.
    pub seq: Seq,
    /// The place it had before Redis lost it.
    pub was: Option<Seq>,
    /// When.
    pub at: Duration,
    /// The instance that served the receiver.
    pub instance: &'a str,
}

/// What one receiver got.
#[derive(Debug)]
pub struct Reading {
    receiver: usize,
    rooms: BTreeSet<usize>,
    had: Vec<Vec<bool>>,
    highest: Vec<Option<usize>>,
    fed: BTreeMap<usize, Duration>,
    delivered: u64,
    returned: u64,
    unnamed: u64,
    away: bool,
    longest_gap: Duration,
    counts: BTreeMap<Breach, u64>,
    cases: Vec<Case>,
}

impl Reading {
    /// Nothing yet, from so many senders.
    pub fn of(receiver: usize, rooms: BTreeSet<usize>, senders: usize) -> Self {
        Self {
            receiver,
            rooms,
            had: vec![Vec::new(); senders],
            highest: vec![None; senders],
            fed: BTreeMap::new(),
            delivered: 0,
            returned: 0,
            unnamed: 0,
            away: false,
            longest_gap: Duration::ZERO,
            counts: BTreeMap::new(),
            cases: Vec::new(),
        }
    }

    /// A message came.
    pub fn deliver(&mut self, delivery: Delivery<'_>) {
        let Delivery { mark, room, at, .. } = delivery;
        self.delivered += 1;
        if !self.rooms.contains(&room) {
            self.delivery_breaks(Breach::Misdelivered, delivery);
        }
        if let Some(before) = self.fed.insert(room, at) {
            self.longest_gap = self.longest_gap.max(at.saturating_sub(before));
        }
        let had = &mut self.had[mark.sender];
        if had.len() <= mark.n {
            had.resize(mark.n + 1, false);
        }
        if std::mem::replace(&mut had[mark.n], true) {
            self.delivery_breaks(Breach::Duplicated, delivery);
        } else if self.highest[mark.sender].is_some_and(|highest| highest > mark.n) {
            self.delivery_breaks(Breach::Reordered, delivery);
        }
        let highest = &mut self.highest[mark.sender];
        *highest = (*highest).max(Some(mark.n));
    }

    /// A message came with another place than `elsewhere`, where another receiver saw it.
    pub fn displaced(&mut self, delivery: Delivery<'_>, elsewhere: Seq) {
        let Delivery { mark, seq, at, instance, .. } = delivery;
        let circumstances = format!("on {instance}, {elsewhere} for somebody else");
        self.note(Case {
            breach: Breach::Displaced,
            receiver: self.receiver,
            mark: Some(mark),
            seq,
            at,
            circumstances,
        });
    }

    /// The receiver leaves, and stays away by its own will.
    pub fn leave(&mut self) {
        self.away = true;
    }

    /// It wants to be served again. What it was away for is no gap.
    pub fn come_back(&mut self, at: Duration) {
        self.away = false;
        for fed in self.fed.values_mut() {
            *fed = at;
        }
    }

    /// The server sent a `reset`.
    pub fn reset(&mut self, seq: Seq, at: Duration, circumstances: String) {
        self.note(Case { breach: Breach::Reset, receiver: self.receiver, mark: None, seq, at, circumstances });
    }

    /// The client is over.
    pub fn ended(&mut self, at: Duration, circumstances: String) {
        self.note(Case { breach: Breach::Ended, receiver: self.receiver, mark: None, seq: 0, at, circumstances });
    }

    /// What the client found on its own, beside what it delivered.
    pub fn found(&mut self, breach: Breach, count: u64) {
        *self.counts.entry(breach).or_default() += count;
    }

    /// A message came again, and the client dropped it. `elsewhere` is another place that it had without `was`.
    ///
    /// It may come again where Redis had lost it, and then names the place it had, unless the instance that accepted it never knew.
    pub fn repeat(&mut self, delivery: Delivery<'_>, elsewhere: Option<Seq>) {
        match (delivery.was, elsewhere) {
            (None, None) => self.delivery_breaks(Breach::Duplicated, delivery),
            (None, Some(elsewhere)) => {
                self.returned += 1;
                self.unnamed += 1;
                self.displaced(delivery, elsewhere);
            }
            (Some(_), _) => self.returned += 1,
        }
    }

    /// Messages delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Longest time between two deliveries of one room while the receiver wanted to be served.
    pub fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    /// Whether a message has come that was sent when the counts of [`Sent::next`] stood so, or the receiver is away.
    pub fn has_news(&self, since: &[usize]) -> bool {
        self.away
            || self.highest.iter().zip(since).any(|(highest, next)| highest.is_some_and(|highest| highest >= *next))
    }

    /// How many acked messages of its rooms have not come.
    pub fn missing(&self, sent: &Sent) -> usize {
        self.lost(sent).count()
    }

    fn lost<'a>(&'a self, sent: &'a Sent) -> impl Iterator<Item = (Mark, Seq, Duration)> {
        let had = |mark: Mark| self.had[mark.sender].get(mark.n).is_some_and(|had| *had);
        sent.acked_in(&self.rooms).filter(move |(mark, ..)| !had(*mark))
    }

    fn delivery_breaks(&mut self, breach: Breach, delivery: Delivery<'_>) {
        let Delivery { mark, seq, was, at, instance, .. } = delivery;
        let highest = self.highest[mark.sender].unwrap_or_default();
        let was = was.map_or_else(String::new, |was| format!(", was {was}"));
        let circumstances = format!("on {instance}{was}, had up to {}-{highest} of this sender", mark.sender);
        self.note(Case { breach, receiver: self.receiver, mark: Some(mark), seq, at, circumstances });
    }

    fn note(&mut self, case: Case) {
        *self.counts.entry(case.breach).or_default() += 1;
        if self.cases.len() < KEPT {
            self.cases.push(case);
        }
    }
}

/// The result over all receivers.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Messages acked.
    pub acked: usize,
    /// Messages given up by their senders.
    pub failed: usize,
    /// Messages without a fate.
    pub unsettled: usize,
    /// Deliveries, over all receivers.
    pub deliveries: u64,
    /// Messages that came again after Redis had lost them, and were dropped, over all receivers.
    pub returned: u64,
    /// Those of them that did not name the place they had.
    pub unnamed: u64,
    /// How often each promise was broken, over all receivers.
    pub counts: BTreeMap<Breach, u64>,
    /// The first cases of each receiver.
    pub cases: Vec<Case>,
    /// Longest time between two deliveries of one room to one receiver.
    pub longest_gap: Duration,
}

impl Verdict {
    /// Judges what was sent and what arrived.
    pub fn on<'a>(sent: &Sent, readings: impl IntoIterator<Item = &'a Reading>) -> Self {
        let (acked, failed, unsettled) = (sent.acked(), sent.failed(), sent.unsettled());
        let mut verdict = Self { acked, failed, unsettled, ..Self::default() };
        verdict.compare_acks(sent);
        for reading in readings {
            verdict.deliveries += reading.delivered;
            verdict.returned += reading.returned;
            verdict.unnamed += reading.unnamed;
            verdict.longest_gap = verdict.longest_gap.max(reading.longest_gap);
            verdict.cases.extend(reading.cases.iter().cloned());
            for (breach, count) in &reading.counts {
                *verdict.counts.entry(*breach).or_default() += count;
            }
            for (nth, (mark, seq, at)) in reading.lost(sent).enumerate() {
                *verdict.counts.entry(Breach::Lost).or_default() += 1;
                if nth < KEPT {
                    let (breach, receiver) = (Breach::Lost, reading.receiver);
                    let circumstances = format!("had {}", reading.neighbours(mark));
                    verdict.cases.push(Case { breach, receiver, mark: Some(mark), seq, at, circumstances });
                }
            }
        }
        verdict
    }

    fn compare_acks(&mut self, sent: &Sent) {
        for (nth, (mark, seq, at, place)) in sent.acked_elsewhere().enumerate() {
            *self.counts.entry(Breach::Displaced).or_default() += 1;
            if nth < KEPT {
                let circumstances = format!("acked so, delivered at {place}");
                let (breach, receiver) = (Breach::Displaced, mark.sender);
                self.cases.push(Case { breach, receiver, mark: Some(mark), seq, at, circumstances });
            }
        }
    }

    /// Forgets how often and where this was broken.
    pub fn forgive(&mut self, breach: Option<Breach>) {
        self.counts.retain(|broken, _| Some(*broken) != breach);
        self.cases.retain(|case| Some(case.breach) != breach);
    }

    /// How often a promise was broken.
    pub fn count(&self, breach: Breach) -> u64 {
        self.counts.get(&breach).copied().unwrap_or_default()
    }

    /// Whether every promise was kept, and there was something to keep. No message may be given up: every outage is far
    /// shorter than what a client waits.
    pub fn is_clean(&self) -> bool {
        self.acked > 0 && self.failed == 0 && self.unsettled == 0 && self.counts.values().all(|count| *count == 0)
    }
}

impl Reading {
    /// The delivered messages of the same sender nearest to this one.
    fn neighbours(&self, mark: Mark) -> String {
        let had = &self.had[mark.sender];
        let name = |n: Option<usize>| n.map_or_else(|| "none".to_owned(), |n| format!("{}-{n}", mark.sender));
        let before = had.iter().take(mark.n).rposition(|had| *had);
        let after = had.iter().skip(mark.n + 1).position(|had| *had).map(|n| n + mark.n + 1);
        format!("{} before it and {} after it", name(before), name(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three messages of one sender in room 0, acked with the places 10, 11, 12.
    fn sent() -> Sent {
        let mut sent = Sent::by(1);
        for seq in 10..13 {
            let mark = sent.send(0, 0);
            sent.settle(mark, Fate::Acked(seq, Duration::ZERO));
        }
        sent
    }

    /// One receiver in room 0 that got these messages, a second apart.
    fn got(messages: &[usize]) -> Reading {
        let mut reading = Reading::of(7, BTreeSet::from([0]), 1);
        for (second, n) in (0..).zip(messages) {
            deliver(&mut reading, *n, 0, second);
        }
        reading
    }

    fn deliver(reading: &mut Reading, n: usize, room: usize, second: u64) {
        let (mark, at) = (Mark { sender: 0, n }, Duration::from_secs(second));
        reading.deliver(Delivery { mark, room, seq: 10, was: None, at, instance: "a" });
    }

    /// The first message again, after [`deliver`] has brought it.
    fn repeat(was: Option<Seq>, elsewhere: Option<Seq>) -> Verdict {
        let mut reading = got(&[0, 1, 2]);
        let (mark, at) = (Mark { sender: 0, n: 0 }, Duration::from_secs(3));
        reading.repeat(Delivery { mark, room: 0, seq: 20, was, at, instance: "a" }, elsewhere);
        Verdict::on(&sent(), &[reading])
    }

    fn verdict(messages: &[usize]) -> Verdict {
        Verdict::on(&sent(), &[got(messages)])
    }

    #[test]
    fn everything_once_and_in_order_is_clean() {
        let verdict = verdict(&[0, 1, 2]);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.acked, verdict.deliveries), (3, 3));
    }

    #[test]
    fn what_comes_again_is_a_second_copy_unless_it_has_moved() {
        let returned = repeat(Some(10), None);
        assert!(returned.is_clean() && returned.returned == 1, "{returned:?}");
        let unnamed = repeat(None, Some(10));
        assert_eq!((unnamed.returned, unnamed.unnamed), (1, 1));
        assert_eq!((unnamed.count(Breach::Displaced), unnamed.count(Breach::Duplicated)), (1, 0));
        let copy = repeat(None, None);
        assert_eq!((copy.returned, copy.count(Breach::Displaced), copy.count(Breach::Duplicated)), (0, 0, 1));
    }

    #[test]
    fn what_was_acked_and_did_not_come_is_lost() {
        let verdict = verdict(&[0, 2]);
        assert_eq!(verdict.counts, BTreeMap::from([(Breach::Lost, 1)]));
        let case = &verdict.cases[0];
        assert_eq!((case.receiver, case.mark, case.seq), (7, Some(Mark { sender: 0, n: 1 }), 11));
        assert_eq!(case.circumstances, "had 0-0 before it and 0-2 after it");
        assert!(!verdict.is_clean());
    }

    #[test]
    fn what_was_never_acked_is_not_lost_but_has_to_be_settled() {
        let mut sent = sent();
        let given_up = sent.send(0, 0);
        let pending = sent.send(0, 0);
        sent.settle(given_up, Fate::Failed);
        let verdict = Verdict::on(&sent, &[got(&[0, 1, 2])]);
        assert_eq!((verdict.count(Breach::Lost), verdict.failed, verdict.unsettled), (0, 1, 1));
        assert!(!verdict.is_clean());
        sent.settle(pending, Fate::Acked(13, Duration::ZERO));
        assert_eq!(Verdict::on(&sent, &[got(&[0, 1, 2])]).count(Breach::Lost), 1);
    }

    #[test]
    fn what_was_given_up_is_not_clean() {
        let mut sent = sent();
        let given_up = sent.send(0, 0);
        sent.settle(given_up, Fate::Failed);
        assert!(!Verdict::on(&sent, &[got(&[0, 1, 2])]).is_clean());
    }

    #[test]
    fn what_comes_again_is_a_duplicate_and_not_a_reorder() {
        assert_eq!(verdict(&[0, 1, 2, 1]).counts, BTreeMap::from([(Breach::Duplicated, 1)]));
    }

    #[test]
    fn what_comes_after_a_later_one_is_reordered() {
        assert_eq!(verdict(&[0, 2, 1]).counts, BTreeMap::from([(Breach::Reordered, 1)]));
    }

    #[test]
    fn other_rooms_are_not_owed_and_must_not_come() {
        let mut reading = Reading::of(0, BTreeSet::from([1]), 1);
        assert_eq!(reading.missing(&sent()), 0);
        deliver(&mut reading, 0, 0, 0);
        assert_eq!(Verdict::on(&sent(), &[reading]).counts, BTreeMap::from([(Breach::Misdelivered, 1)]));
    }

    #[test]
    fn resets_and_what_the_client_found_count() {
        let mut reading = got(&[0, 1, 2]);
        reading.reset(9, Duration::ZERO, String::new());
        reading.found(Breach::Duplicated, 2);
        let verdict = Verdict::on(&sent(), &[reading]);
        assert_eq!(verdict.counts, BTreeMap::from([(Breach::Duplicated, 2), (Breach::Reset, 1)]));
    }

    #[test]
    fn nothing_sent_proves_nothing() {
        assert!(!Verdict::on(&Sent::by(1), &[got(&[])]).is_clean());
    }

    #[test]
    fn gaps_are_of_one_room_and_news_is_what_was_sent_later() {
        let mut reading = got(&[0, 1]);
        deliver(&mut reading, 2, 1, 30);
        assert_eq!(reading.longest_gap(), Duration::from_secs(1));
        assert!(reading.has_news(&[2]) && !reading.has_news(&[3]));
        reading.leave();
        assert!(reading.has_news(&[3]), "a receiver that is away needs none");
        reading.come_back(Duration::from_mins(1));
        deliver(&mut reading, 3, 1, 62);
        assert_eq!(reading.longest_gap(), Duration::from_secs(2));
    }

    #[test]
    fn everyone_sees_a_message_at_the_place_that_was_acked() {
        let (mut sent, mark) = (sent(), Mark { sender: 0, n: 1 });
        assert_eq!((sent.saw(mark, 11), sent.saw(mark, 11)), (None, None));
        assert!(Verdict::on(&sent, &[got(&[0, 1, 2])]).is_clean());
        assert_eq!(sent.saw(mark, 12), Some(11));
        sent.saw(Mark { sender: 0, n: 2 }, 13);
        let verdict = Verdict::on(&sent, &[got(&[0, 1, 2])]);
        assert_eq!(verdict.counts, BTreeMap::from([(Breach::Displaced, 1)]));
        assert_eq!(verdict.cases[0].circumstances, "acked so, delivered at 13");
        let mut forgiven = verdict;
        forgiven.forgive(Some(Breach::Displaced));
        assert!(forgiven.is_clean() && forgiven.cases.is_empty());
    }

    #[test]
    fn a_history_owes_the_lowest_place_that_anybody_knows() {
        let mut sent = sent();
        let mark = |n| Mark { sender: 0, n };
        sent.learned(mark(0), 5);
        sent.learned(mark(0), 7);
        sent.saw(mark(1), 11);
        sent.learned(mark(1), 11);
        assert_eq!(sent.saw(mark(1), 20), Some(11));
        let seen = sent.send(0, 3);
        sent.learned(seen, 30);
        sent.send(0, 0);
        let Kept { messages, sent, highest } = sent.kept();
        let places: Vec<_> = messages.values().map(|owed| owed.places.iter().copied().collect::<Vec<_>>()).collect();
        assert_eq!(places, [vec![5], vec![11, 20], vec![12], vec![30]], "an unnamed one may have either place");
        assert_eq!((messages[&seen].room, sent, highest), (3, vec![5], 12));
    }

    #[test]
    fn a_mark_is_read_back() {
        let mark = Mark { sender: 3, n: 14 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert_eq!("x".parse::<Mark>(), Err(()));
    }
}
