//! The model: what each action should do, without a database and without the rules of the product.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_messenger::{
    contact::Stance,
    group_id::GroupId,
    memberships::Seat,
    rank::Role::{self, Admin, Member, Owner},
    room::{Posting, Visibility},
};
use hubbub_protocol::{RoomId, UserId};

use super::user;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Unknown,
    Forbidden,
    Conflict,
    Invalid,
}

use Outcome::{Conflict, Done, Forbidden, Invalid, Unknown};

struct Group {
    id: GroupId,
    visibility: Visibility,
    is_archived: bool,
    ranks: BTreeMap<u128, Role>,
    banned: BTreeSet<u128>,
    uses_left: Vec<u64>,
    /// The first one is the default channel.
    channels: Vec<Channel>,
}

struct Channel {
    room: RoomId,
    visibility: Visibility,
    posting: Posting,
    is_archived: bool,
    seats: BTreeMap<u128, Role>,
    /// Who came in after it was made.
    added: BTreeSet<u128>,
}

#[derive(Default)]
pub(super) struct Model {
    groups: Vec<Group>,
    directs: BTreeMap<(u128, u128), RoomId>,
    stances: BTreeMap<(u128, u128), Stance>,
}

/// Goes on if nothing stands against it.
macro_rules! go_on {
    ($outcome:expr) => {
        match $outcome {
            Done => {}
            refused => return refused,
        }
    };
}

fn unless(is_wrong: bool, refused: Outcome) -> Outcome {
    if is_wrong { refused } else { Done }
}

impl Group {
    fn seen_from_inside(&self, actor: u128) -> Outcome {
        match (self.ranks.contains_key(&actor), self.visibility) {
            (true, _) => Done,
            (false, Visibility::Open) => Forbidden,
            (false, Visibility::Private) => Unknown,
        }
    }

    fn leads(&self, actor: u128) -> bool {
        self.ranks.get(&actor).is_some_and(|role| *role != Member)
    }

    fn led_by(&self, actor: u128) -> Outcome {
        go_on!(self.seen_from_inside(actor));
        go_on!(unless(!self.leads(actor), Forbidden));
        unless(self.is_archived, Conflict)
    }

    fn owners(&self) -> usize {
        self.ranks.values().filter(|role| **role == Owner).count()
    }

    fn enter(&mut self, person: u128, role: Role) {
        let _new = self.ranks.insert(person, role);
        let _new = self.channels[0].seats.insert(person, Member);
        let _new = self.channels[0].added.insert(person);
    }

    fn expel(&mut self, person: u128) {
        let _former = self.ranks.remove(&person);
        for channel in &mut self.channels {
            channel.unseat(person);
        }
    }

    fn close(&mut self) {
        self.is_archived = true;
        for channel in &mut self.channels {
            channel.is_archived = true;
        }
    }

    /// The rank in a channel.
    fn role(&self, channel: usize, person: u128) -> Option<Role> {
        let seat = *self.channels.get(channel)?.seats.get(&person)?;
        Some(if self.leads(person) { self.ranks[&person] } else { seat })
    }

    fn sees(&self, channel: usize, actor: u128) -> Outcome {
        let Some(found) = self.channels.get(channel) else { return Unknown };
        let could = self.ranks.contains_key(&actor) && found.visibility == Visibility::Open;
        unless(!could && !found.seats.contains_key(&actor), Unknown)
    }

    fn channel_led_by(&self, channel: usize, actor: u128) -> Outcome {
        go_on!(self.sees(channel, actor));
        go_on!(unless(self.role(channel, actor).is_none_or(|role| role == Member), Forbidden));
        unless(self.channels[channel].is_archived, Conflict)
    }
}

impl Channel {
    fn unseat(&mut self, person: u128) {
        let _former = self.seats.remove(&person);
        let _former = self.added.remove(&person);
    }
}

impl Model {
    pub(super) fn found(&mut self, id: GroupId, general: RoomId, owner: u128, visibility: Visibility) {
        let general = Channel {
            room: general,
            visibility: Visibility::Open,
            posting: Posting::Members,
            is_archived: false,
            seats: [(owner, Member)].into(),
            added: BTreeSet::new(),
        };
        self.groups.push(Group {
            id,
            visibility,
            is_archived: false,
            ranks: [(owner, Owner)].into(),
            banned: BTreeSet::new(),
            uses_left: Vec::new(),
            channels: vec![general],
        });
    }

    /// The ids of a group and of a channel of it. A channel that is not there has an id that nothing has.
    pub(super) fn names(&self, group: usize, channel: usize) -> (GroupId, RoomId) {
        let group = &self.groups[group];
        let room = group.channels.get(channel).map_or(RoomId::private(7), |channel| channel.room.clone());
        (group.id.clone(), room)
    }

    pub(super) fn channels(&self, group: usize) -> usize {
        self.groups[group].channels.len()
    }

    fn blocks(&self, by: u128, of: u128) -> bool {
        self.stances.get(&(by, of)) == Some(&Stance::Blocked)
    }

    pub(super) fn join(&mut self, actor: u128, group: usize) -> Outcome {
        let group = &mut self.groups[group];
        if group.ranks.contains_key(&actor) {
            return Done;
        }
        go_on!(unless(group.visibility == Visibility::Private, Unknown));
        go_on!(unless(group.is_archived, Conflict));
        go_on!(unless(group.banned.contains(&actor), Forbidden));
        group.enter(actor, Member);
        Done
    }

    pub(super) fn leave(&mut self, actor: u128, group: usize) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.seen_from_inside(actor));
        if group.ranks[&actor] == Owner && group.owners() == 1 {
            go_on!(unless(group.ranks.len() > 1, Conflict));
            group.close();
        }
        group.expel(actor);
        Done
    }

    pub(super) fn add(&mut self, actor: u128, group: usize, people: &[u128]) -> Outcome {
        let blocked =
            people.iter().any(|person| !self.groups[group].ranks.contains_key(person) && self.blocks(*person, actor));
        let group = &mut self.groups[group];
        go_on!(group.led_by(actor));
        let banned = people.iter().any(|person| group.banned.contains(person));
        go_on!(unless(blocked || banned, Invalid));
        for person in people {
            if !group.ranks.contains_key(person) {
                group.enter(*person, Member);
            }
        }
        Done
    }

    pub(super) fn put(&mut self, actor: u128, group: usize, target: u128, role: Option<Role>) -> Outcome {
        let blocked = self.blocks(target, actor);
        let group = &mut self.groups[group];
        go_on!(group.seen_from_inside(actor));
        let own = group.ranks[&actor];
        let Some(old) = group.ranks.get(&target).copied() else {
            let role = role.unwrap_or(Member);
            go_on!(group.led_by(actor));
            go_on!(unless(role > own, Forbidden));
            go_on!(unless(blocked || group.banned.contains(&target), Invalid));
            group.enter(target, role);
            return Done;
        };
        let Some(role) = role else { return Done };
        let may = if actor == target { role <= own } else { own != Member && old < own && role <= own };
        go_on!(unless(!may, Forbidden));
        go_on!(unless(group.is_archived, Conflict));
        go_on!(unless(role != old && old == Owner && group.owners() == 1, Conflict));
        let _old = group.ranks.insert(target, role);
        Done
    }

    pub(super) fn remove(&mut self, actor: u128, group: usize, target: u128) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.seen_from_inside(actor));
        let (own, Some(old)) = (group.ranks[&actor], group.ranks.get(&target).copied()) else { return Unknown };
        go_on!(unless(own == Member || old >= own, Forbidden));
        go_on!(unless(group.is_archived, Conflict));
        group.expel(target);
        Done
    }

    pub(super) fn ban(&mut self, actor: u128, group: usize, target: u128) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.seen_from_inside(actor));
        let own = group.ranks[&actor];
        let is_above = group.ranks.get(&target).is_none_or(|old| *old < own);
        go_on!(unless(own == Member || !is_above, Forbidden));
        go_on!(unless(group.is_archived, Conflict));
        let _new = group.banned.insert(target);
        group.expel(target);
        Done
    }

    pub(super) fn pardon(&mut self, actor: u128, group: usize, target: u128) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.led_by(actor));
        unless(!group.banned.remove(&target), Unknown)
    }

    pub(super) fn invite(&mut self, actor: u128, group: usize, uses: u64) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.led_by(actor));
        group.uses_left.push(uses);
        Done
    }

    pub(super) fn accept(&mut self, actor: u128, group: usize, invite: usize) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(unless(group.uses_left[invite] == 0 || group.is_archived, Unknown));
        if group.ranks.contains_key(&actor) {
            return Done;
        }
        go_on!(unless(group.banned.contains(&actor), Forbidden));
        group.uses_left[invite] -= 1;
        group.enter(actor, Member);
        Done
    }

    pub(super) fn edit(&mut self, actor: u128, group: usize, visibility: Visibility) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.led_by(actor));
        group.visibility = visibility;
        Done
    }

    pub(super) fn archive(&mut self, actor: u128, group: usize) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.seen_from_inside(actor));
        go_on!(unless(group.ranks[&actor] != Owner, Forbidden));
        go_on!(unless(group.is_archived, Conflict));
        group.close();
        Done
    }

    pub(super) fn make(
        &mut self,
        actor: u128,
        group: usize,
        room: Option<RoomId>,
        visibility: Visibility,
        posting: Posting,
    ) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.seen_from_inside(actor));
        go_on!(unless(group.is_archived, Conflict));
        let seats = [(actor, Admin)].into();
        let room = room.expect("a room was made");
        group.channels.push(Channel { room, visibility, posting, is_archived: false, seats, added: BTreeSet::new() });
        Done
    }

    pub(super) fn join_channel(&mut self, actor: u128, group: usize, channel: usize) -> Outcome {
        self.groups[group].come(channel, actor)
    }

    pub(super) fn leave_channel(&mut self, actor: u128, group: usize, channel: usize) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.sees(channel, actor));
        if group.role(channel, actor).is_none() {
            return Done;
        }
        go_on!(unless(channel == 0, Conflict));
        group.channels[channel].unseat(actor);
        Done
    }

    pub(super) fn add_to_channel(&mut self, actor: u128, group: usize, channel: usize, people: &[u128]) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.channel_led_by(channel, actor));
        go_on!(unless(people.iter().any(|person| !group.ranks.contains_key(person)), Invalid));
        for person in people {
            group.channels[channel].seat(*person, Member);
        }
        Done
    }

    pub(super) fn put_into_channel(
        &mut self,
        actor: u128,
        group: usize,
        channel: usize,
        target: u128,
        role: Option<Role>,
    ) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.sees(channel, actor));
        let Some(old) = group.role(channel, target) else {
            go_on!(group.channel_led_by(channel, actor));
            go_on!(unless(!group.ranks.contains_key(&target), Invalid));
            group.channels[channel].seat(target, role.unwrap_or(Member));
            return Done;
        };
        let Some(role) = role else { return Done };
        let Some(own) = group.role(channel, actor) else { return Forbidden };
        let may = if actor == target { role <= own } else { own != Member && old < own && role <= own };
        go_on!(unless(!may, Forbidden));
        go_on!(unless(group.channels[channel].is_archived, Conflict));
        let _old = group.channels[channel].seats.insert(target, role);
        Done
    }

    pub(super) fn remove_from_channel(&mut self, actor: u128, group: usize, channel: usize, target: u128) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.sees(channel, actor));
        let Some(old) = group.role(channel, target) else { return Unknown };
        let Some(own) = group.role(channel, actor) else { return Forbidden };
        go_on!(unless(own == Member || old >= own, Forbidden));
        go_on!(unless(group.channels[channel].is_archived || channel == 0, Conflict));
        group.channels[channel].unseat(target);
        Done
    }

    pub(super) fn edit_channel(&mut self, actor: u128, group: usize, channel: usize, posting: Posting) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.channel_led_by(channel, actor));
        group.channels[channel].posting = posting;
        Done
    }

    pub(super) fn archive_channel(&mut self, actor: u128, group: usize, channel: usize) -> Outcome {
        let group = &mut self.groups[group];
        go_on!(group.channel_led_by(channel, actor));
        go_on!(unless(channel == 0, Conflict));
        group.channels[channel].is_archived = true;
        Done
    }

    pub(super) fn open(&mut self, actor: u128, target: u128, room: Option<RoomId>) -> Outcome {
        go_on!(unless(actor == target, Invalid));
        go_on!(unless(self.blocks(actor, target) || self.blocks(target, actor), Forbidden));
        let (room, pair) = (room.expect("a room was opened"), (actor.min(target), actor.max(target)));
        assert_eq!(self.directs.entry(pair).or_insert_with(|| room.clone()), &room);
        Done
    }

    /// Somebody asks, blocks, or takes everything back.
    pub(super) fn turn(&mut self, actor: u128, target: u128, stance: Option<Stance>) -> Outcome {
        go_on!(unless(actor == target, Invalid));
        let (mine, theirs) = ((actor, target), (target, actor));
        let heard = self.stances.get(&theirs).copied();
        let was_blocked = self.stances.get(&mine) == Some(&Stance::Blocked);
        match stance {
            Some(Stance::Asked) if matches!(heard, Some(Stance::Asked | Stance::Accepted)) => {
                self.stances.extend([(mine, Stance::Accepted), (theirs, Stance::Accepted)]);
            }
            Some(stance) => {
                let _old = self.stances.insert(mine, stance);
                if heard == Some(Stance::Accepted) {
                    let _old = self.stances.remove(&theirs);
                }
            }
            None => {
                let _old = self.stances.remove(&mine);
                if !was_blocked && heard != Some(Stance::Blocked) {
                    let _old = self.stances.remove(&theirs);
                }
            }
        }
        Done
    }

    /// All seats of a person, in the order of the rooms.
    pub(super) fn seats(&self, person: u128) -> Vec<Seat> {
        let mut seats = Vec::new();
        for group in &self.groups {
            for (number, channel) in group.channels.iter().enumerate() {
                let Some(role) = group.role(number, person) else { continue };
                let may_post = !channel.is_archived && (channel.posting == Posting::Members || role != Member);
                seats.push(Seat { room: channel.room.clone(), may_post, role });
            }
        }
        for ((one, other), room) in &self.directs {
            if person == *one || person == *other {
                let may_post = !self.blocks(*one, *other) && !self.blocks(*other, *one);
                seats.push(Seat { room: room.clone(), may_post, role: Member });
            }
        }
        seats.sort_by(|one, other| one.room.cmp(&other.room));
        seats
    }

    /// Who has come into each channel after it was made, and is there.
    pub(super) fn audiences(&self) -> Vec<(RoomId, BTreeSet<UserId>)> {
        let channels = self.groups.iter().flat_map(|group| &group.channels);
        channels
            .map(|channel| (channel.room.clone(), channel.added.iter().map(|person| user(*person)).collect()))
            .collect()
    }
}

impl Group {
    fn come(&mut self, channel: usize, actor: u128) -> Outcome {
        go_on!(self.sees(channel, actor));
        if self.role(channel, actor).is_some() {
            return Done;
        }
        go_on!(unless(self.channels[channel].is_archived, Conflict));
        self.channels[channel].seat(actor, Member);
        Done
    }
}

impl Channel {
    /// Somebody comes in who was not there.
    fn seat(&mut self, person: u128, role: Role) {
        let is_new = !self.seats.contains_key(&person);
        if is_new {
            self.seats.extend([(person, role)]);
            self.added.extend([person]);
        }
    }
}
