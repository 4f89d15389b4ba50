//! What people do with groups.

mod admission;
mod rules;

use hubbub_protocol::UserId;

use crate::{
    change::{CallError, Decision, Facts, Place, Refused, Subject},
    fresh::{new_bits, new_room},
    group::Group,
    group_id::GroupId,
    invite::{self, Invite},
    rank::Role,
    registry::Registry,
    room::Visibility,
    sight::Sight,
    wording::Wording,
};

/// The longest life of a link, in seconds.
pub const MAX_INVITE_SECONDS: u64 = 30 * 24 * 3600;

/// Makes and changes groups, and says who is in them.
#[derive(Clone, Debug)]
pub struct Groups {
    registry: Registry,
}

/// What changes of a group. None: it stays.
#[derive(Clone, Debug, Default)]
pub struct GroupEdit {
    /// How it is called.
    pub name: Option<String>,
    /// What it is about.
    pub about: Option<String>,
    /// Who may come in.
    pub visibility: Option<Visibility>,
}

/// What a new link may do.
#[derive(Clone, Copy, Debug)]
pub struct InviteTerms {
    /// How long it lives, in seconds.
    pub seconds: u64,
    /// How many may come by it. None: as many as there are.
    pub uses: Option<u64>,
}

/// All of these fail if the person may not see the group ([`Refused::Unknown`]), if its rank does not allow it, or if the
/// database cannot be asked.
impl Groups {
    /// With this database and log.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Makes a group with its default channel. Whoever makes it is its owner.
    ///
    /// # Errors
    ///
    /// A field is not valid.
    pub async fn make(
        &self,
        actor: &UserId,
        name: &str,
        about: &str,
        visibility: Visibility,
    ) -> Result<GroupId, CallError> {
        let mut wording = Wording::default();
        let (name, about) = (wording.name("name", name), wording.text("about", about));
        wording.finish()?;
        let (id, general) = (GroupId::of(new_bits()), new_room());
        let group = Group { id: id.clone(), name, about, visibility, archived_at: None, general, rev: 0 };
        let actor = actor.clone();
        // nobody knows the group yet: the person alone is locked
        let people = vec![actor.clone()];
        let _made =
            self.registry.change(Place::Between, people, move |facts| rules::make(facts, &actor, group)).await?;
        Ok(id)
    }

    /// Changes what a group is called, what it is about, or who may come in.
    ///
    /// # Errors
    ///
    /// A field is not valid.
    pub async fn edit(&self, actor: &UserId, group: &GroupId, edit: GroupEdit) -> Result<(), CallError> {
        let mut wording = Wording::default();
        let edit = GroupEdit {
            name: edit.name.map(|name| wording.name("name", &name)),
            about: edit.about.map(|about| wording.text("about", &about)),
            visibility: edit.visibility,
        };
        wording.finish()?;
        let actor = actor.clone();
        self.alone(group, &actor.clone(), move |facts| rules::edit(facts, &actor, edit)).await
    }

    /// Archives a group with all its channels: nothing in it changes any more, but members leave.
    ///
    /// # Errors
    ///
    /// It is archived already.
    pub async fn archive(&self, actor: &UserId, group: &GroupId) -> Result<(), CallError> {
        let actor = actor.clone();
        self.alone(group, &actor.clone(), move |facts| rules::archive(facts, &actor)).await
    }

    /// Comes into an open group.
    ///
    /// # Errors
    ///
    /// The person is banned, or in too many rooms.
    pub async fn join(&self, actor: &UserId, group: &GroupId) -> Result<(), CallError> {
        let actor = actor.clone();
        self.alone(group, &actor.clone(), move |facts| admission::join(facts, &actor)).await
    }

    /// Leaves a group.
    ///
    /// # Errors
    ///
    /// The last owner has to make another member owner first, unless it is alone: then the group is archived.
    pub async fn leave(&self, actor: &UserId, group: &GroupId) -> Result<(), CallError> {
        let actor = actor.clone();
        self.alone(group, &actor.clone(), move |facts| admission::leave(facts, &actor)).await
    }

    /// Adds people.
    ///
    /// # Errors
    ///
    /// One of them cannot be added: then nobody is.
    pub async fn add(&self, actor: &UserId, group: &GroupId, users: Vec<UserId>) -> Result<(), CallError> {
        let (actor, mut people) = (actor.clone(), users.clone());
        people.push(actor.clone());
        self.among(group, people, move |facts| admission::add(facts, &actor, &users)).await
    }

    /// Adds a person, or gives a member another rank. An owner hands over by making another one owner, and then steps down.
    ///
    /// # Errors
    ///
    /// The last owner stays owner.
    pub async fn put(
        &self,
        actor: &UserId,
        group: &GroupId,
        user: &UserId,
        role: Option<Role>,
    ) -> Result<(), CallError> {
        let (actor, user) = (actor.clone(), user.clone());
        let people = vec![actor.clone(), user.clone()];
        self.among(group, people, move |facts| admission::put(facts, &actor, &user, role)).await
    }

    /// Removes a member.
    ///
    /// # Errors
    ///
    /// The person is no member.
    pub async fn remove(&self, actor: &UserId, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        let (actor, user) = (actor.clone(), user.clone());
        let people = vec![actor.clone(), user.clone()];
        self.among(group, people, move |facts| admission::remove(facts, &actor, &user)).await
    }

    /// Removes a person, who cannot come back. It need not be a member.
    ///
    /// # Errors
    ///
    /// There is no such person.
    pub async fn ban(&self, actor: &UserId, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        let (actor, user) = (actor.clone(), user.clone());
        let people = vec![actor.clone(), user.clone()];
        self.among(group, people, move |facts| admission::ban(facts, &actor, &user)).await
    }

    /// Lets a person come back.
    ///
    /// # Errors
    ///
    /// It is not banned.
    pub async fn pardon(&self, actor: &UserId, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        let (actor, user) = (actor.clone(), user.clone());
        let people = vec![actor.clone(), user.clone()];
        self.among(group, people, move |facts| admission::pardon(facts, &actor, &user)).await
    }

    /// Makes a link into the group. Returns it with its token, which is kept nowhere.
    ///
    /// # Errors
    ///
    /// The terms are not valid, or there are too many links.
    pub async fn invite(
        &self,
        actor: &UserId,
        group: &GroupId,
        terms: InviteTerms,
    ) -> Result<(Invite, String), CallError> {
        if !(1..=MAX_INVITE_SECONDS).contains(&terms.seconds) {
            let detail = format!("1 to {MAX_INVITE_SECONDS}");
            return Err(Refused::field("expires_in", "out_of_range", detail).into());
        }
        if terms.uses.is_some_and(|uses| !(1..=1_000_000).contains(&uses)) {
            return Err(Refused::field("uses", "out_of_range", "1 to 1000000").into());
        }
        let (actor, token) = (actor.clone(), invite::token());
        let (people, hash) = (vec![actor.clone()], invite::hash(&token));
        let rule = move |facts: &_| rules::invite(facts, &actor, terms, hash);
        match self.registry.change(Place::Group(group.clone()), people, rule).await? {
            Subject::Invite(invite) => Ok((invite, token)),
            _ => Err(Refused::Unknown.into()),
        }
    }

    /// Revokes a link.
    ///
    /// # Errors
    ///
    /// Never because it is gone already.
    pub async fn revoke(&self, actor: &UserId, group: &GroupId, invite: &str) -> Result<(), CallError> {
        let (actor, invite) = (actor.clone(), invite.to_owned());
        self.alone(group, &actor.clone(), move |facts| rules::revoke(facts, &actor, invite)).await
    }

    /// Comes into a group by a link. Who is a member does not use it up.
    ///
    /// # Errors
    ///
    /// The link has ended or was used up, or the person is banned.
    pub async fn accept(&self, actor: &UserId, token: &str) -> Result<GroupId, CallError> {
        let (actor, place) = (actor.clone(), Place::Invite(invite::hash(token)));
        let people = vec![actor.clone()];
        match self.registry.change(place, people, move |facts| admission::accept(facts, &actor)).await? {
            Subject::Group(group) => Ok(group),
            _ => Err(Refused::Unknown.into()),
        }
    }

    /// Takes a person out of a group whose account goes. If it was the last owner, the oldest admin, else the oldest member
    /// becomes owner; with nobody left the group is archived.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    async fn bequeath(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        let (place, user) = (Place::Estate(group.clone(), user.clone()), user.clone());
        let people = vec![user.clone()];
        let _named = self.registry.change(place, people, move |facts| admission::bequeath(facts, &user)).await?;
        Ok(())
    }

    /// Takes a person out of all its groups, when its account is deleted. May be repeated if it failed on the way.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn settle(&self, sight: &dyn Sight, user: &UserId) -> Result<(), CallError> {
        for view in sight.sidebar(user).await?.groups {
            self.bequeath(&view.group.id, user).await?;
        }
        Ok(())
    }

    async fn alone(
        &self,
        group: &GroupId,
        actor: &UserId,
        rule: impl FnOnce(&Facts) -> Result<Decision, Refused> + Send + 'static,
    ) -> Result<(), CallError> {
        self.among(group, vec![actor.clone()], rule).await
    }

    async fn among(
        &self,
        group: &GroupId,
        people: Vec<UserId>,
        rule: impl FnOnce(&Facts) -> Result<Decision, Refused> + Send + 'static,
    ) -> Result<(), CallError> {
        let _named = self.registry.change(Place::Group(group.clone()), people, rule).await?;
        Ok(())
    }
}
