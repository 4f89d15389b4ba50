//! Random actions of six people in three groups, against a simple model in memory: answers, seats, and what the events
//! make of the seats in the core.

mod expected;
mod replica;

use hubbub_messenger::{
    change::{CallError, Refused},
    channels::{ChannelEdit, NewChannel},
    contact::Stance,
    groups::{GroupEdit, InviteTerms},
    memberships::{Memberships, Seat},
    outbox::Event,
    rank::Role,
    room::{Posting, Visibility},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use self::{
    expected::{Model, Outcome},
    replica::Replica,
};
use super::{people::*, *};

const PEOPLE: u128 = 6;
const GROUPS: usize = 3;

/// What somebody does, where, and to whom.
#[derive(Clone, Copy, Debug)]
struct Step {
    action: u8,
    actor: u128,
    group: usize,
    channel: usize,
    target: u128,
    variant: u8,
}

impl Step {
    fn role(self) -> Option<Role> {
        [None, Some(Role::Member), Some(Role::Admin), Some(Role::Owner)][usize::from(self.variant)]
    }

    fn visibility(self) -> Visibility {
        if self.variant.is_multiple_of(2) { Visibility::Open } else { Visibility::Private }
    }

    fn posting(self) -> Posting {
        if self.variant < 2 { Posting::Members } else { Posting::Admins }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..24, 1..=PEOPLE, 0..GROUPS, 0_usize..4, 1..=PEOPLE, 0_u8..4);
    let step = step.prop_map(|(action, actor, group, channel, target, variant)| Step {
        action,
        actor,
        group,
        channel,
        target,
        variant,
    });
    prop::collection::vec(step, 1..120)
}

fn outcome(result: Result<(), CallError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(CallError::Refused(Refused::Unknown)) => Outcome::Unknown,
        Err(CallError::Refused(Refused::Forbidden(_))) => Outcome::Forbidden,
        Err(CallError::Refused(Refused::Conflict { .. })) => Outcome::Conflict,
        Err(CallError::Refused(Refused::Invalid(_))) => Outcome::Invalid,
        Err(CallError::Store(error)) => panic!("{error}"),
    }
}

/// The services, the model, and the core as it hears of them.
struct Run {
    world: World,
    model: Model,
    replica: Replica,
    told: Vec<Event>,
    tokens: Vec<(usize, String)>,
}

impl Run {
    async fn start(home: &Home) -> Self {
        let world = World::with(home, PEOPLE).await;
        let mut run =
            Self { world, model: Model::default(), replica: Replica::default(), told: Vec::new(), tokens: Vec::new() };
        for (owner, visibility) in [(1, Visibility::Open), (2, Visibility::Private), (3, Visibility::Private)] {
            let group = run.world.groups.make(&user(owner), "Crew", "", visibility).await.unwrap();
            let general = run.world.rooms(owner).await.pop().unwrap();
            run.model.found(group, general, owner, visibility);
        }
        run.check().await;
        run
    }

    /// The outcome of the services, and that of the model.
    #[expect(clippy::too_many_lines, reason = "it has an arm for each action")]
    async fn take(&mut self, step: Step) -> (Outcome, Outcome) {
        let Step { action, actor, group, channel, target, variant } = step;
        let (me, them, services) = (user(actor), user(target), &self.world);
        let (id, room) = self.model.names(group, channel);
        let (groups, channels, contacts) = (&services.groups, &services.channels, &services.contacts);
        let next = u128::from(variant) + 1;
        let both = vec![them.clone(), user(next)];
        let model = &mut self.model;
        match action {
            0 => (outcome(groups.join(&me, &id).await), model.join(actor, group)),
            1 => (outcome(groups.leave(&me, &id).await), model.leave(actor, group)),
            2 | 3 => (outcome(groups.add(&me, &id, both).await), model.add(actor, group, &[target, next])),
            4 | 5 => {
                let role = step.role();
                (outcome(groups.put(&me, &id, &them, role).await), model.put(actor, group, target, role))
            }
            6 => (outcome(groups.remove(&me, &id, &them).await), model.remove(actor, group, target)),
            7 => (outcome(groups.ban(&me, &id, &them).await), model.ban(actor, group, target)),
            8 => (outcome(groups.pardon(&me, &id, &them).await), model.pardon(actor, group, target)),
            9 => {
                let uses = u64::from(variant) + 1;
                let made = groups.invite(&me, &id, InviteTerms { seconds: 60, uses: Some(uses) }).await;
                if let Ok((_, token)) = &made {
                    self.tokens.push((group, token.clone()));
                }
                (outcome(made.map(drop)), model.invite(actor, group, uses))
            }
            10 => match self.tokens.get(usize::from(variant)) {
                Some((group, token)) => {
                    let invite = self.tokens[..usize::from(variant)].iter().filter(|(other, _)| other == group).count();
                    (outcome(groups.accept(&me, token).await.map(drop)), model.accept(actor, *group, invite))
                }
                None => (outcome(groups.accept(&me, "token").await.map(drop)), Outcome::Unknown),
            },
            11 | 12 => {
                let name = format!("channel {}", model.channels(group));
                let (visibility, posting) = (step.visibility(), step.posting());
                let new = NewChannel { name, topic: String::new(), visibility, posting };
                let made = channels.make(&me, &id, new).await;
                let room = made.as_ref().ok().cloned();
                (outcome(made.map(drop)), model.make(actor, group, room, visibility, posting))
            }
            13 => (outcome(channels.join(&me, &room).await), model.join_channel(actor, group, channel)),
            14 => (outcome(channels.leave(&me, &room).await), model.leave_channel(actor, group, channel)),
            15 => {
                let expected = model.add_to_channel(actor, group, channel, &[target, next]);
                (outcome(channels.add(&me, &room, both).await), expected)
            }
            16 => {
                let role = step.role().filter(|role| *role != Role::Owner);
                let expected = model.put_into_channel(actor, group, channel, target, role);
                (outcome(channels.put(&me, &room, &them, role).await), expected)
            }
            17 => {
                let expected = model.remove_from_channel(actor, group, channel, target);
                (outcome(channels.remove(&me, &room, &them).await), expected)
            }
            18 => {
                let edit = ChannelEdit { posting: Some(step.posting()), ..ChannelEdit::default() };
                let expected = model.edit_channel(actor, group, channel, step.posting());
                (outcome(channels.edit(&me, &room, edit).await), expected)
            }
            19 if variant == 0 => {
                (outcome(channels.archive(&me, &room).await), model.archive_channel(actor, group, channel))
            }
            20 => {
                let opened = services.directs.open(&me, &them).await;
                let room = opened.as_ref().ok().map(|(room, _)| room.clone());
                (outcome(opened.map(drop)), model.open(actor, target, room))
            }
            21 => (outcome(contacts.ask(&me, &them).await), model.turn(actor, target, Some(Stance::Asked))),
            22 if variant < 2 => {
                (outcome(contacts.block(&me, &them).await), model.turn(actor, target, Some(Stance::Blocked)))
            }
            22 => (outcome(contacts.remove(&me, &them).await), model.turn(actor, target, None)),
            23 if variant == 3 && channel == 3 => {
                (outcome(groups.archive(&me, &id).await), model.archive(actor, group))
            }
            _ => {
                let edit = GroupEdit { visibility: Some(step.visibility()), ..GroupEdit::default() };
                (outcome(groups.edit(&me, &id, edit).await), model.edit(actor, group, step.visibility()))
            }
        }
    }

    /// Store, model and core have the same seats.
    async fn check(&mut self) {
        let told = self.world.told.take();
        for event in &told {
            self.replica.hear(event);
        }
        assert_eq!(self.replica.outdated, 0);
        self.told.extend(told);
        let outbox = self.world.database.number("SELECT count(*) FROM outbox").await;
        assert_eq!(usize::try_from(outbox).unwrap(), self.replica.heard);
        let people: Vec<_> = (1..=PEOPLE).map(user).collect();
        let seats = self.world.database.of(&people).await.unwrap();
        for (number, seats) in (1..=PEOPLE).zip(seats) {
            let mut found: Vec<Seat> = seats.rooms;
            found.sort_by(|one, other| one.room.cmp(&other.room));
            assert_eq!(found, self.model.seats(number), "person {number}");
            let posts: Vec<_> = found.into_iter().map(|seat| (seat.room, seat.may_post)).collect();
            assert_eq!(self.replica.seats(&user(number)), posts, "as the core has heard of person {number}");
        }
        for (room, members) in self.model.audiences() {
            assert_eq!(self.replica.members(&room), members, "as the members of {room} have heard");
        }
    }
    /// Events that come late, twice and in another order make the same seats.
    fn check_in_disorder(&self) {
        let mut shuffled: Vec<_> = self.told.iter().collect();
        // ids are random
        shuffled.sort_by(|one, other| one.id.cmp(&other.id));
        let reversed: Vec<_> = self.told.iter().rev().collect();
        for order in [shuffled, reversed] {
            let mut replica = Replica::default();
            for event in order.iter().chain(&order) {
                replica.seat(event);
            }
            for number in 1..=PEOPLE {
                let expected: Vec<_> =
                    self.model.seats(number).into_iter().map(|seat| (seat.room, seat.may_post)).collect();
                assert_eq!(replica.seats(&user(number)), expected, "in disorder, of person {number}");
            }
        }
    }
}

#[test]
fn services_and_events_agree_with_a_simple_model() {
    let config = Config { cases: 20, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&steps(), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = Home::sqlite();
            let mut run = Run::start(&home).await;
            for step in steps {
                let (found, expected) = run.take(step).await;
                assert_eq!(found, expected, "{step:?}");
                run.check().await;
            }
            run.check_in_disorder();
            run.world.database.close().await;
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
