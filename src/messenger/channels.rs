//! What people do with channels, and how each wants to be told of its rooms.

mod rules;

use hubbub_protocol::{RoomId, UserId};

use crate::{
    change::{CallError, Decision, Facts, Place, Refused, Settings},
    fresh::new_room,
    group_id::GroupId,
    rank::Role,
    registry::Registry,
    room::{Posting, Visibility},
    wording::Wording,
};

/// Makes and changes channels, and says who is in them.
#[derive(Clone, Debug)]
pub struct Channels {
    registry: Registry,
}

/// What a new channel is.
#[derive(Clone, Debug)]
pub struct NewChannel {
    /// How it is called. No two open channels of a group are called alike.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// Who may come in.
    pub visibility: Visibility,
    /// Who may post.
    pub posting: Posting,
}

/// What changes of a channel. None: it stays.
#[derive(Clone, Debug, Default)]
pub struct ChannelEdit {
    /// How it is called.
    pub name: Option<String>,
    /// What it is about.
    pub topic: Option<String>,
    /// Who may come in.
    pub visibility: Option<Visibility>,
    /// Who may post.
    pub posting: Option<Posting>,
}

/// All of these fail if the person may not see the room ([`Refused::Unknown`]), if its rank does not allow it, or if the
/// database cannot be asked.
impl Channels {
    /// With this database and log.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Makes a channel. Whoever makes it leads it.
    ///
    /// # Errors
    ///
    /// A field is not valid, or the name is taken.
    pub async fn make(&self, actor: &UserId, group: &GroupId, new: NewChannel) -> Result<RoomId, CallError> {
        let mut wording = Wording::default();
        let (name, topic) = (wording.name("name", &new.name), wording.text("topic", &new.topic));
        wording.finish()?;
        let (new, id, actor) = (NewChannel { name, topic, ..new }, new_room(), actor.clone());
        let (people, room) = (vec![actor.clone()], id.clone());
        let rule = move |facts: &Facts| rules::make(facts, &actor, new, room);
        let _made = self.registry.change(Place::Group(group.clone()), people, rule).await?;
        Ok(id)
    }

    /// Changes what a channel is called, what it is about, who may come in, or who may post.
    ///
    /// # Errors
    ///
    /// A field is not valid, or the name is taken.
    pub async fn edit(&self, actor: &UserId, room: &RoomId, edit: ChannelEdit) -> Result<(), CallError> {
        let mut wording = Wording::default();
        let edit = ChannelEdit {
            name: edit.name.map(|name| wording.name("name", &name)),
            topic: edit.topic.map(|topic| wording.text("topic", &topic)),
            ..edit
        };
        wording.finish()?;
        let (actor, id) = (actor.clone(), room.clone());
        self.among(room, vec![actor.clone()], move |facts| rules::edit(facts, &actor, &id, edit)).await
    }

    /// Archives a channel: nobody posts in it any more.
    ///
    /// # Errors
    ///
    /// It is the default channel, or archived already.
    pub async fn archive(&self, actor: &UserId, room: &RoomId) -> Result<(), CallError> {
        let (actor, id) = (actor.clone(), room.clone());
        self.among(room, vec![actor.clone()], move |facts| rules::archive(facts, &actor, &id)).await
    }

    /// Comes into an open channel.
    ///
    /// # Errors
    ///
    /// The person is in too many rooms.
    pub async fn join(&self, actor: &UserId, room: &RoomId) -> Result<(), CallError> {
        let (actor, id) = (actor.clone(), room.clone());
        self.among(room, vec![actor.clone()], move |facts| rules::join(facts, &actor, &id)).await
    }

    /// Leaves a channel.
    ///
    /// # Errors
    ///
    /// It is the default channel.
    pub async fn leave(&self, actor: &UserId, room: &RoomId) -> Result<(), CallError> {
        let (actor, id) = (actor.clone(), room.clone());
        self.among(room, vec![actor.clone()], move |facts| rules::leave(facts, &actor, &id)).await
    }

    /// Adds members of the group.
    ///
    /// # Errors
    ///
    /// One of them is no member of the group: then nobody is added.
    pub async fn add(&self, actor: &UserId, room: &RoomId, users: Vec<UserId>) -> Result<(), CallError> {
        let (actor, id, mut people) = (actor.clone(), room.clone(), users.clone());
        people.push(actor.clone());
        self.among(room, people, move |facts| rules::add(facts, &actor, &id, &users)).await
    }

    /// Adds a member of the group, or gives a member of the channel another rank.
    ///
    /// # Errors
    ///
    /// A channel has no owner.
    pub async fn put(&self, actor: &UserId, room: &RoomId, user: &UserId, role: Option<Role>) -> Result<(), CallError> {
        if role == Some(Role::Owner) {
            return Err(Refused::field("role", "invalid_role", "a channel has admins and members").into());
        }
        let (actor, id, user) = (actor.clone(), room.clone(), user.clone());
        let people = vec![actor.clone(), user.clone()];
        self.among(room, people, move |facts| rules::put(facts, &actor, &id, &user, role)).await
    }

    /// Removes a member from the channel.
    ///
    /// # Errors
    ///
    /// It is the default channel.
    pub async fn remove(&self, actor: &UserId, room: &RoomId, user: &UserId) -> Result<(), CallError> {
        let (actor, id, user) = (actor.clone(), room.clone(), user.clone());
        let people = vec![actor.clone(), user.clone()];
        self.among(room, people, move |facts| rules::remove(facts, &actor, &id, &user)).await
    }

    /// Says how a person wants to be told of a room that it is in.
    ///
    /// # Errors
    ///
    /// It is not in it.
    pub async fn set(&self, actor: &UserId, room: &RoomId, settings: Settings) -> Result<(), CallError> {
        let (actor, id) = (actor.clone(), room.clone());
        self.among(room, vec![actor.clone()], move |facts| rules::set(facts, &actor, &id, settings)).await
    }

    /// Shows a public room to those who look for one, or hides it.
    ///
    /// # Errors
    ///
    /// The person does not administer the server.
    pub async fn list(
        &self,
        actor: &UserId,
        room: &RoomId,
        listed: Option<bool>,
        topic: Option<&str>,
    ) -> Result<(), CallError> {
        let mut wording = Wording::default();
        let topic = topic.map(|topic| wording.text("topic", topic));
        wording.finish()?;
        let (actor, id) = (actor.clone(), room.clone());
        self.among(room, vec![actor.clone()], move |facts| rules::list(facts, &actor, &id, listed, topic)).await
    }

    async fn among(
        &self,
        room: &RoomId,
        people: Vec<UserId>,
        rule: impl FnOnce(&Facts) -> Result<Decision, Refused> + Send + 'static,
    ) -> Result<(), CallError> {
        let _named = self.registry.change(Place::Room(room.clone()), people, rule).await?;
        Ok(())
    }
}
