//! A random test of who may hear what. A database changes memberships and the rules of rooms. What it tells comes to the
//! log late, twice and in any order; the log loses its tail; directories answer late or not at all; clients are slow,
//! resume, and end.
//!
//! The model knows the memberships and where they were told. Nobody hears a message above an `out` without a later `in`.
//! Nobody who resumes hears a room that it has left. In the end everybody has the seats and rights of the database, and has
//! heard everything since it came in.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_log::ring::{Rights, Rules};
use hubbub_protocol::{RoomId, Seq, UserId};
use serde_json::json;
use tokio::{
    runtime::Builder,
    time::{Duration, Instant},
};

use super::{
    super::{Command, Question},
    bench::{BASE, Bench, Client, user},
};
use crate::{
    ports::{Seats, Unavailable},
    test_rng::{TestRng, run_cases},
};

const CASES: u64 = 3_000;
const STEPS: usize = 150;
const PEOPLE: usize = 3;
const ROOMS: usize = 3;
const MAX_CLIENTS: usize = 4;

/// A change of a membership, as it stands in the outbox.
#[derive(Clone, Debug)]
struct Change {
    person: usize,
    room: usize,
    rev: u64,
    seat: Option<Rights>,
    /// The places at which any instance may have seen it. The first is the lowest.
    places: Vec<Seq>,
    is_pending: bool,
}

#[derive(Clone, Copy, Debug)]
struct RuleChange {
    room: usize,
    rev: u64,
    rules: Rules,
    place: Seq,
    is_pending: bool,
}

#[derive(Clone, Debug, Default)]
struct Person {
    rev: u64,
    /// The rooms in which the person is, and whether it leads there.
    rooms: BTreeMap<usize, bool>,
}

struct Tracked {
    client: Client,
    person: usize,
    start: Seq,
    /// The `rev` that was read when the hello was answered.
    first: Option<u64>,
    checked: usize,
    last: Seq,
    heard: BTreeSet<Seq>,
}

struct World {
    rng: TestRng,
    bench: Bench,
    /// The clock of the database.
    clock: u64,
    people: Vec<Person>,
    /// The rooms in which each person was in the beginning. Each change turns one of them.
    initial: Vec<BTreeSet<usize>>,
    rules: Vec<Rules>,
    changes: Vec<Change>,
    rule_changes: Vec<RuleChange>,
    messages: BTreeMap<Seq, usize>,
    base: Seq,
    clients: Vec<Tracked>,
    /// Questions that the directory has read an answer for.
    read: Vec<(Question, Option<Seats>)>,
    now: Instant,
}

fn someone(number: usize) -> UserId {
    user(u128::try_from(number).unwrap())
}

fn room(number: usize) -> RoomId {
    RoomId::private(u128::try_from(number).unwrap())
}

impl World {
    fn new(case: u64) -> Self {
        let (open, mut rng) = (Rules { archived: false, admins_only: false }, TestRng(case));
        let mut people = vec![Person::default(); PEOPLE];
        for person in &mut people {
            person.rooms = (0..ROOMS).filter(|_| rng.once_in(2)).map(|room| (room, false)).collect();
        }
        Self {
            rng,
            bench: Bench::new(usize::MAX),
            clock: 10,
            initial: people.iter().map(|person| person.rooms.keys().copied().collect()).collect(),
            people,
            rules: vec![open; ROOMS],
            changes: Vec::new(),
            rule_changes: Vec::new(),
            messages: BTreeMap::new(),
            base: BASE,
            clients: Vec::new(),
            read: Vec::new(),
            now: Instant::now(),
        }
    }

    async fn step(&mut self) {
        let client = self.rng.below(self.clients.len());
        match self.rng.below(36) {
            0..5 => self.publish(),
            5..8 => self.change(),
            8 => self.change_rules(),
            9..12 => self.tell(),
            12 => self.lose(),
            13 | 14 => self.connect(),
            15..18 => self.read(),
            18..21 => self.answer(),
            21..26 => self.bench.turn().await,
            26..30 => self.poll(client),
            30 => self.drain(client),
            31..34 => self.begin(),
            34 => self.sweep(),
            _ if self.rng.once_in(3) => self.end(client),
            _ => self.tell(),
        }
        self.check();
    }

    fn publish(&mut self) {
        let number = self.rng.below(ROOMS);
        let seq = self.bench.publish(&room(number));
        self.messages.insert(seq, number);
    }

    fn rights(&self, room: usize, leads: bool) -> Rights {
        self.rules[room].applied_to(Rights { may_post: true, leads })
    }

    /// Somebody comes into a room, or leaves it.
    fn change(&mut self) {
        let (person, room, leads) = (self.rng.below(PEOPLE), self.rng.below(ROOMS), self.rng.once_in(3));
        self.clock += 1;
        let (rev, rights) = (self.clock, self.rights(room, leads));
        let person_state = &mut self.people[person];
        person_state.rev = rev;
        let seat = if person_state.rooms.remove(&room).is_none() {
            person_state.rooms.insert(room, leads);
            Some(rights)
        } else {
            None
        };
        self.changes.push(Change { person, room, rev, seat, places: Vec::new(), is_pending: true });
    }

    fn change_rules(&mut self) {
        let room = self.rng.below(ROOMS);
        self.clock += 1;
        let rules = Rules { archived: self.rng.once_in(3), admins_only: self.rng.once_in(2) };
        self.rules[room] = rules;
        self.rule_changes.push(RuleChange { room, rev: self.clock, rules, place: 0, is_pending: true });
    }

    /// Something of the outbox comes into the log. Sometimes it will come again.
    fn tell(&mut self) {
        let is_last = !self.rng.once_in(4);
        let pending: Vec<_> = (0..self.changes.len()).filter(|n| self.changes[*n].is_pending).collect();
        let rules: Vec<_> = (0..self.rule_changes.len()).filter(|n| self.rule_changes[*n].is_pending).collect();
        if pending.is_empty() && rules.is_empty() {
            return;
        }
        let chosen = self.rng.below(pending.len() + rules.len());
        if let Some(&n) = pending.get(chosen) {
            self.tell_change(n, is_last);
        } else {
            self.tell_rules(rules[chosen - pending.len()], is_last);
        }
    }

    fn tell_change(&mut self, n: usize, is_last: bool) {
        let Change { person, room: number, rev, seat, .. } = self.changes[n].clone();
        let place = self.bench.tell(&someone(person), &room(number), rev, seat);
        self.changes[n].places.push(place);
        self.changes[n].is_pending = !is_last;
    }

    fn tell_rules(&mut self, n: usize, is_last: bool) {
        let RuleChange { room: number, rev, rules: Rules { archived, admins_only }, .. } = self.rule_changes[n];
        let posting = if admins_only { "admins" } else { "members" };
        let fields = json!({"rev": rev, "posting": posting, "archived": archived});
        self.rule_changes[n].place = self.bench.append("room", &room(number), &fields);
        self.rule_changes[n].is_pending = !is_last;
    }

    /// The log loses its tail, and with it things that only other instances have walked.
    fn lose(&mut self) {
        let back = u64::try_from(self.rng.below(6)).unwrap();
        let cut = self.bench.last.saturating_sub(back).max(self.base);
        for change in &mut self.changes {
            let was_lost = change.places.last().is_some_and(|place| *place > cut);
            if change.places.is_empty() && self.rng.once_in(2) {
                change.places.push(self.bench.last);
            }
            change.is_pending |= was_lost;
        }
        for change in &mut self.rule_changes {
            change.is_pending |= change.place > cut;
        }
        drop(self.messages.split_off(&(cut + 1)));
        self.base = self.bench.lose(cut);
    }

    fn connect(&mut self) {
        if self.clients.len() >= MAX_CLIENTS {
            return;
        }
        let (person, back) = (self.rng.below(PEOPLE), u64::try_from(self.rng.below(8)).unwrap());
        let start = self.bench.last.saturating_sub(back).max(self.base);
        let room = self.rng.below(2000);
        let client = self.bench.connect(&someone(person), start, room);
        let (checked, last, heard) = (0, start, BTreeSet::new());
        self.clients.push(Tracked { client, person, start, first: None, checked, last, heard });
    }

    /// The directory reads what is, for one question.
    fn read(&mut self) {
        let Ok(question) = self.bench.questions.try_recv() else { return };
        let is_available = !self.rng.once_in(6);
        let person = (0..PEOPLE).find(|number| someone(*number) == question.sitter.user).unwrap();
        let Person { rev, rooms } = self.people[person].clone();
        let rooms = rooms.iter().map(|(number, leads)| (room(*number), self.rights(*number, *leads))).collect();
        self.read.push((question, is_available.then_some(Seats { rev, rooms })));
    }

    /// Its answer comes to the worker, some time later.
    fn answer(&mut self) {
        if self.read.is_empty() {
            return;
        }
        let chosen = self.rng.below(self.read.len());
        let (question, seats) = self.read.swap_remove(chosen);
        let answer = seats.map(Some).ok_or(Unavailable);
        self.bench.commands.push(Command::Seat(question.connection, question.read, answer));
    }

    fn begin(&mut self) {
        for tracked in &mut self.clients {
            if tracked.client.begin() && tracked.first.is_none() {
                tracked.first = Some(tracked.client.connection.baseline());
            }
        }
        // those that were refused go
        for n in (0..self.clients.len()).rev() {
            if self.clients[n].first.is_none() && self.clients[n].client.refused().is_some() {
                self.end(n);
            }
        }
    }

    fn poll(&mut self, client: usize) {
        if let Some(tracked) = self.clients.get(client) {
            self.bench.poll(&tracked.client);
        }
    }

    fn drain(&mut self, client: usize) {
        let room = self.rng.below(600);
        if let Some(tracked) = self.clients.get(client) {
            tracked.client.socket.set_room(room);
        }
    }

    fn sweep(&mut self) {
        self.now += Duration::from_secs(1);
        self.bench.worker.sweep(self.now);
    }

    fn end(&mut self, client: usize) {
        if client < self.clients.len() {
            let Tracked { client, .. } = self.clients.swap_remove(client);
            self.bench.commands.push(Command::Detach(client.connection.id()));
        }
    }

    /// Checks what has come to clients since the last call.
    fn check(&mut self) {
        let Self { clients, changes, messages, initial, .. } = self;
        for Tracked { client, person, first, checked, last, heard, .. } in clients {
            for frame in client.frames().into_iter().skip(*checked) {
                *checked += 1;
                let seq = frame["seq"].as_u64().unwrap_or(*last);
                let is_entry = matches!(frame["type"].as_str().unwrap(), "message" | "membership" | "room");
                assert!(seq > *last || (!is_entry && seq >= *last), "{frame} after {last}");
                *last = seq;
                if frame["type"] != "message" {
                    continue;
                }
                let number = (0..ROOMS).find(|number| frame["room"] == room(*number).as_str()).unwrap();
                assert!(messages.get(&seq).is_none_or(|said| *said == number));
                assert!(heard.insert(seq), "{frame} came twice");
                let of_seat = || changes.iter().filter(|change| (change.person, change.room) == (*person, number));
                let outs = of_seat().filter(|change| change.seat.is_none());
                let out =
                    outs.filter(|out| out.places.first().is_some_and(|place| *place < seq)).map(|out| out.rev).max();
                let last_in = of_seat().filter(|change| change.seat.is_some()).map(|change| change.rev).max();
                assert!(out.is_none() || last_in > out, "{seq} of {number} after the out {out:?}: {changes:?}");
                let rev = first.expect("a hello that was answered");
                let turns = of_seat().filter(|change| change.rev <= rev).count();
                let was_in = initial[*person].contains(&number) == (turns % 2 == 0);
                assert!(was_in || last_in > Some(rev), "{seq} of {number}, which was left at {rev}");
            }
        }
    }

    /// Everything is told, every question is answered, and every client takes everything.
    async fn settle(&mut self) {
        for n in 0..self.changes.len() {
            if self.changes[n].is_pending {
                self.tell_change(n, true);
            }
        }
        for n in 0..self.rule_changes.len() {
            if self.rule_changes[n].is_pending {
                self.tell_rules(n, true);
            }
        }
        for round in 0.. {
            self.sweep();
            self.read();
            self.answer();
            self.bench.turn().await;
            self.begin();
            for client in 0..self.clients.len() {
                self.clients[client].client.socket.set_room(usize::MAX);
                self.poll(client);
            }
            let is_behind = |tracked: &Tracked| !tracked.client.connection.is_live();
            if self.bench.commands.is_empty() && self.read.is_empty() && !self.clients.iter().any(is_behind) {
                break;
            }
            assert!(round < 10_000, "some connection never becomes live");
        }
        for client in 0..self.clients.len() {
            self.poll(client);
        }
        self.check();
    }

    /// Everybody has the seats of the database, and has heard everything since it came in.
    fn check_end(&self) {
        for Tracked { client, person, start, first, heard, .. } in &self.clients {
            assert_eq!(client.user, someone(*person));
            let rooms = &self.people[*person].rooms;
            for number in 0..ROOMS {
                let rights = rooms.get(&number).map(|leads| self.rights(number, *leads));
                assert_eq!(client.connection.rights(&room(number)), rights, "room {number} of {person}");
                let id = room(number);
                let members = self.bench.worker.roster.members(&id);
                let in_roster = members.filter(|member| member.id() == client.connection.id()).count();
                assert_eq!(in_roster, usize::from(rights.is_some()));
                if rights.is_none() {
                    continue;
                }
                let changes = self.changes.iter().filter(|change| (change.person, change.room) == (*person, number));
                let last = changes.max_by_key(|change| change.rev);
                let rev = first.unwrap();
                let since = last.filter(|last| last.rev > rev).map_or(0, |last| *last.places.last().unwrap());
                for (seq, _) in self.messages.range(since.max(*start) + 1..).filter(|(_, said)| **said == number) {
                    assert!(heard.contains(seq), "{seq} of {number} is missing; in since {since}, from {start}");
                }
            }
        }
    }
}

#[test]
fn everybody_hears_its_rooms_and_nobody_any_other_whatever_comes_late_twice_or_never() {
    let start = || Builder::new_current_thread().build().unwrap();
    run_cases(CASES, start, |runtime, case| {
        runtime.block_on(async {
            let mut world = World::new(case);
            world.connect();
            for _ in 0..STEPS {
                world.step().await;
            }
            world.settle().await;
            world.check_end();
        });
    });
}
