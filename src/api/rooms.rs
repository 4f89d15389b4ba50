//! The calls for people, contacts, groups, channels and direct rooms.
//!
//! Each answers the question who may by the services of `messenger`, or by a statement that has the caller in it.

mod channels;
mod groups;
mod invites;
mod people;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    middleware::from_fn_with_state,
    routing::{delete, get, patch, post, put},
};
use hubbub_edge::node::Node;
use hubbub_messenger::{
    channels::Channels, contacts::Contacts, directs::Directs, groups::Groups, person::Reach, registry::Registry,
    sight::Sight,
};
use hubbub_protocol::Seq;
use serde_json::json;

use crate::{
    accounts::AccountApi,
    answer::{Answer, found},
    caller::{Me, admit},
};

/// The end of the log, as this instance knows it.
pub trait Top: fmt::Debug + Send + Sync + 'static {
    /// The `seq` of the last event.
    fn seq(&self) -> Seq;
}

impl Top for Node {
    fn seq(&self) -> Seq {
        Self::seq(self)
    }
}

/// What the calls need.
#[derive(Clone, Debug)]
pub struct Rooms {
    contacts: Contacts,
    directs: Directs,
    groups: Groups,
    channels: Channels,
    sight: Arc<dyn Sight>,
    top: Arc<dyn Top>,
    options: RoomOptions,
}

/// Settings of the calls.
#[derive(Clone, Debug, Default)]
pub struct RoomOptions {
    /// Whom an account can find.
    pub reach: Reach,
    /// The address of this server, without a slash at its end, for links of invitations. Empty: links are paths.
    pub public_url: String,
}

impl Rooms {
    /// The calls change what is through this registry, and read it there.
    pub fn new(registry: &Registry, sight: Arc<dyn Sight>, top: Arc<dyn Top>, options: RoomOptions) -> Self {
        Self {
            contacts: Contacts::new(registry.clone()),
            directs: Directs::new(registry.clone()),
            groups: Groups::new(registry.clone()),
            channels: Channels::new(registry.clone()),
            sight,
            top,
            options,
        }
    }

    /// The routes, for callers that the accounts know.
    pub fn routes(self, accounts: AccountApi) -> Router {
        self.open_routes().layer(from_fn_with_state(accounts, admit))
    }

    /// The routes. The [`Caller`](crate::caller::Caller) of a call has to be in its extensions.
    pub fn open_routes(self) -> Router {
        Router::new()
            .route("/v1/me/rooms", get(sidebar))
            .route("/v1/users", get(people::find))
            .route("/v1/users/{user}", get(people::person))
            .route("/v1/contacts", get(people::contacts))
            .route("/v1/contacts/{user}", put(people::put_contact).delete(people::remove_contact))
            .route("/v1/groups", get(groups::list).post(groups::make))
            .route("/v1/groups/{group}", get(groups::one).patch(groups::edit).delete(groups::archive))
            .route("/v1/groups/{group}/join", post(groups::join))
            .route("/v1/groups/{group}/leave", post(groups::leave))
            .route("/v1/groups/{group}/members", get(groups::members).post(groups::add))
            .route("/v1/groups/{group}/members/{user}", put(groups::put).delete(groups::remove))
            .route("/v1/groups/{group}/bans", get(groups::bans))
            .route("/v1/groups/{group}/bans/{user}", delete(groups::pardon))
            .route("/v1/groups/{group}/invites", get(invites::list).post(invites::make))
            .route("/v1/groups/{group}/invites/{id}", delete(invites::revoke))
            .route("/v1/groups/{group}/channels", post(channels::make))
            .route("/v1/invites/{token}", get(invites::show))
            .route("/v1/invites/{token}/accept", post(invites::accept))
            .route("/v1/rooms", get(channels::public))
            .route("/v1/rooms/direct", post(channels::direct))
            .route("/v1/rooms/{room}", get(channels::one).patch(channels::edit).delete(channels::archive))
            .route("/v1/rooms/{room}/join", post(channels::join))
            .route("/v1/rooms/{room}/leave", post(channels::leave))
            .route("/v1/rooms/{room}/members", get(channels::members).post(channels::add))
            .route("/v1/rooms/{room}/members/{user}", put(channels::put).delete(channels::remove))
            .route("/v1/rooms/{room}/me", patch(channels::set))
            .with_state(self)
    }
}

/// `GET /v1/me/rooms`. Without receipts and unread counts yet.
async fn sidebar(State(rooms): State<Rooms>, Me(me): Me) -> Answer {
    // an event up to here is of a change that the database has
    let seq = rooms.top.seq();
    let sidebar = rooms.sight.sidebar(&me).await?;
    found(&json!({"rooms": sidebar.rooms, "groups": sidebar.groups, "seq": seq}))
}
