//! What a database has against what it should have. Pure.

use std::collections::{BTreeMap, HashMap};

use hubbub_protocol::Seq;
use hubbub_testbed::ledger::{Kept, Mark};

/// Messages of each kind of trouble that are named.
const NAMED: usize = 5;

/// A row of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Number of its room.
    pub(crate) room: usize,
    /// Where it stands.
    pub(crate) place: Seq,
    /// Whether it says what was sent.
    pub(crate) is_intact: bool,
}

/// All rows of the rooms of a trial.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Usually one for each message.
    pub(crate) named: HashMap<Mark, Vec<Row>>,
    /// Rows of messages that no sender has named.
    pub(crate) strange: usize,
    /// Parts of the log that the database says are lost.
    pub(crate) gaps: Vec<(Seq, Seq)>,
}

/// What came of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Messages that were looked for.
    pub(crate) messages: usize,
    /// Those of them that are not there, and in no gap.
    pub(crate) missing: usize,
    /// Those that are not there because a backup has lost them, as the database says.
    pub(crate) in_gaps: usize,
    /// What is wrong: of each kind, how many, and the first of them.
    pub(crate) troubles: Vec<String>,
}

impl Rows {
    /// Compares them one by one with what was acked and what receivers saw.
    pub(crate) fn compare(&self, kept: &Kept) -> Comparison {
        let mut found = BTreeMap::<&str, Vec<String>>::new();
        let (mut missing, mut in_gaps) = (0, 0);
        for (mark, owed) in &kept.messages {
            let rows = self.named.get(mark).map_or(&[][..], Vec::as_slice);
            let is_lost = |place: &Seq| self.gaps.iter().any(|(first, last)| (first..=last).contains(&place));
            let what = match rows {
                [] if owed.places.iter().any(is_lost) => {
                    in_gaps += 1;
                    continue;
                }
                [] => {
                    missing += 1;
                    "missing in the database"
                }
                [row] if row.room != owed.room => "in another room in the database",
                [row] if !owed.places.contains(&row.place) => "at another place in the database",
                [row] if !row.is_intact => "another text in the database",
                [_] => continue,
                _ => "more than once in the database",
            };
            let case = format!("{mark} at {:?} in room {}, rows {rows:?}", owed.places, owed.room);
            found.entry(what).or_default().push(case);
        }
        for (mark, rows) in &self.named {
            if kept.sent.get(mark.sender).is_none_or(|sent| mark.n >= *sent) {
                found.entry("in the database and were never sent").or_default().push(format!("{mark} {rows:?}"));
            }
        }
        found
            .extend(Some(("out of order in the database", self.out_of_order())).filter(|(_, cases)| !cases.is_empty()));
        let all = kept.messages.len();
        let line = |(what, cases): (&str, Vec<String>)| {
            let first: Vec<_> = cases.iter().take(NAMED).cloned().collect();
            format!("{} of {all} messages are {what}: {}", cases.len(), first.join("; "))
        };
        let mut troubles: Vec<_> = found.into_iter().map(line).collect();
        troubles.extend((self.strange > 0).then(|| format!("{} rows name no message of a sender", self.strange)));
        Comparison { messages: all, missing, in_gaps, troubles }
    }

    /// Messages of a room that stand behind a later one of the same sender.
    fn out_of_order(&self) -> Vec<String> {
        let mut places = BTreeMap::<(usize, usize), Vec<(Seq, usize)>>::new();
        for (mark, rows) in &self.named {
            for row in rows {
                places.entry((row.room, mark.sender)).or_default().push((row.place, mark.n));
            }
        }
        let mut cases = Vec::new();
        for ((room, sender), mut messages) in places {
            messages.sort_unstable();
            for pair in messages.windows(2) {
                if pair[0].1 > pair[1].1 {
                    let [(before, first), (after, second)] = [pair[0], pair[1]];
                    cases.push(format!("room {room}: {sender}-{first} at {before}, {sender}-{second} at {after}"));
                }
            }
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hubbub_testbed::ledger::Owed;

    use super::*;

    type Plant = fn(&mut Kept, &mut Rows);

    const fn mark(n: usize) -> Mark {
        Mark { sender: 0, n }
    }

    const fn row(room: usize, place: Seq) -> Row {
        Row { room, place, is_intact: true }
    }

    /// Four messages in rooms 0 and 1, and the rows that they should be.
    fn faultless() -> (Kept, Rows) {
        let messages = [(0, 10), (0, 11), (1, 12), (1, 13)];
        let owed = |(room, place)| Owed { room, places: BTreeSet::from([place]) };
        let kept = Kept {
            messages: (0..).map(mark).zip(messages.map(owed)).collect(),
            sent: vec![messages.len()],
            highest: 13,
        };
        let named = (0..).map(mark).zip(messages.map(|(room, place)| vec![row(room, place)])).collect();
        (kept, Rows { named, ..Rows::default() })
    }

    /// What is found after a fault was planted.
    fn planted(plant: impl FnOnce(&mut Kept, &mut Rows)) -> Comparison {
        let (mut kept, mut rows) = faultless();
        plant(&mut kept, &mut rows);
        rows.compare(&kept)
    }

    #[test]
    fn every_planted_fault_is_found_and_nothing_else() {
        assert_eq!(planted(|_, _| ()), Comparison { messages: 4, ..Comparison::default() });
        let plants: [(&str, Plant); 8] = [
            ("1 of 4 messages are missing", |_, rows| drop(rows.named.remove(&mark(3)))),
            ("1 of 4 messages are more than once", |_, rows| rows.named.get_mut(&mark(1)).unwrap().push(row(0, 15))),
            ("1 of 4 messages are at another place", |_, rows| rows.named.get_mut(&mark(2)).unwrap()[0].place = 9),
            ("1 of 4 messages are in another room", |_, rows| rows.named.get_mut(&mark(2)).unwrap()[0].room = 0),
            ("1 of 4 messages are another text", |_, rows| rows.named.get_mut(&mark(2)).unwrap()[0].is_intact = false),
            ("1 of 4 messages are in the database and were never", |_, rows| {
                drop(rows.named.insert(mark(4), vec![row(1, 14)]));
            }),
            ("1 rows name no message", |_, rows| rows.strange = 1),
            ("1 of 4 messages are out of order", |kept, rows| {
                kept.messages.get_mut(&mark(0)).unwrap().places.insert(14);
                rows.named.get_mut(&mark(0)).unwrap()[0].place = 14;
            }),
        ];
        for (trouble, plant) in plants {
            let found = planted(plant);
            assert!(matches!(&found.troubles[..], [only] if only.starts_with(trouble)), "{trouble}: {found:?}");
        }
        assert_eq!(planted(|_, rows| drop(rows.named.remove(&mark(3)))).missing, 1);
    }

    #[test]
    fn what_a_gap_names_is_not_missing_and_only_that() {
        let found = planted(|_, rows| {
            rows.named.clear();
            rows.gaps = vec![(11, 12)];
        });
        assert_eq!((found.missing, found.in_gaps, found.troubles.len()), (2, 2, 1));
    }

    #[test]
    fn what_was_neither_acked_nor_seen_may_be_there() {
        let found = planted(|kept, rows| {
            kept.sent = vec![5];
            drop(rows.named.insert(mark(4), vec![row(1, 14)]));
        });
        assert_eq!(found.troubles, Vec::<String>::new());
    }
}
