//! The calls for people, contacts, groups, channels and direct rooms: who may, what is answered, and what a bad request gets.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should fail")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::Request, middleware::Next};
use hubbub_api::{
    caller::Caller,
    rooms::{RoomOptions, Rooms, Top},
};
use hubbub_lifecycle::Shutdown;
use hubbub_messenger::{
    channels::{Channels, NewChannel},
    group_id::GroupId,
    groups::{Groups, InviteTerms},
    outbox::{Event, Teller},
    rank::Role,
    registry::Registry,
    room::{Posting, Visibility},
    sight::Sight,
};
use hubbub_protocol::{RoomId, Seq, UserId};
use hubbub_store::{Database, DatabaseOptions, DatabaseUrl};
use hubbub_testbed::{
    http::{Reply, send},
    scratch,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tokio::net::TcpListener;

/// The log of these tests takes everything and stands still.
#[derive(Debug)]
struct Log;

impl Teller for Log {
    fn tell(&self, _: Vec<Event>) {}
}

impl Top for Log {
    fn seq(&self) -> Seq {
        77
    }
}

fn user(number: u128) -> UserId {
    UserId::of(number)
}

/// A server whose calls say themselves who calls.
struct Server {
    address: String,
    folder: PathBuf,
    groups: Groups,
    channels: Channels,
    database: Database,
}

/// The people of these tests: an owner, an admin, a member, somebody outside; and targets.
const OWNER: u128 = 1;
const ADMIN: u128 = 2;
const MEMBER: u128 = 3;
const OUTSIDER: u128 = 4;
const OTHER_MEMBER: u128 = 5;
const OTHER_OUTSIDER: u128 = 6;
const BANNED: u128 = 7;

impl Server {
    async fn start() -> Self {
        let folder = scratch("rooms-api");
        let file = folder.join("hubbub.db");
        let options = DatabaseOptions { migrate: true, connections: 4, statement_timeout: Duration::from_secs(5) };
        let database = Database::open(&DatabaseUrl::file(file.clone()), options).await.unwrap();
        people(&file).await;
        let registry = Registry::new(Arc::new(database.clone()), Arc::new(Log));
        let options = RoomOptions { public_url: "https://chat.example".into(), ..RoomOptions::default() };
        let rooms = Rooms::new(&registry, Arc::new(database.clone()), Arc::new(Log), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes: Router = rooms.open_routes().layer(axum::middleware::from_fn(identify));
        Shutdown::default().spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, folder, groups: Groups::new(registry.clone()), channels: Channels::new(registry), database }
    }

    async fn call(&self, caller: u128, method: &str, path: &str, body: &Value) -> Reply {
        let mut request = hyper::Request::builder().method(method).uri(path);
        if caller != 0 {
            request = request.header("x-caller", caller.to_string());
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.header("content-type", "application/json").body(text).unwrap();
        let reply = send(&self.address, request).await;
        assert_eq!(reply.header("cache-control"), "no-store", "{method} {path}: {reply:?}");
        if reply.status >= 400 {
            assert_eq!(reply.header("content-type"), "application/problem+json", "{method} {path}: {reply:?}");
            assert_eq!(reply.json()["status"], reply.status);
        }
        reply
    }

    async fn get(&self, caller: u128, path: &str) -> Reply {
        self.call(caller, "GET", path, &Value::Null).await
    }

    /// A closed group with one of each rank, two channels beside the default one, a link and a ban.
    async fn place(&self) -> Place {
        let (owner, admin, member) = (user(OWNER), user(ADMIN), user(MEMBER));
        let group = self.groups.make(&owner, "Crew", "", Visibility::Private).await.unwrap();
        self.groups.add(&owner, &group, [ADMIN, MEMBER, OTHER_MEMBER].map(user).into()).await.unwrap();
        self.groups.put(&owner, &group, &admin, Some(Role::Admin)).await.unwrap();
        self.groups.ban(&owner, &group, &user(BANNED)).await.unwrap();
        let (invite, token) =
            self.groups.invite(&owner, &group, InviteTerms { seconds: 60, uses: None }).await.unwrap();
        let new = |name: &str, visibility| NewChannel {
            name: name.into(),
            topic: String::new(),
            visibility,
            posting: Posting::Members,
        };
        let side = self.channels.make(&admin, &group, new("side", Visibility::Open)).await.unwrap();
        self.channels.add(&admin, &side, vec![user(OTHER_MEMBER)]).await.unwrap();
        let secret = self.channels.make(&member, &group, new("secret", Visibility::Private)).await.unwrap();
        self.channels.add(&member, &secret, vec![user(OTHER_MEMBER)]).await.unwrap();
        let view = self.database.group(&user(OTHER_OUTSIDER), &group).await.unwrap();
        assert!(view.is_none());
        let view = self.database.group(&owner, &group).await.unwrap().unwrap();
        let general = view.inside.unwrap().channels[0].room.id.clone();
        Place { group, general, side, secret, invite: invite.id, token }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_or_not = fs::remove_dir_all(&self.folder);
    }
}

async fn identify(mut request: Request, next: Next) -> axum::response::Response {
    let caller = request.headers().get("x-caller").map(|value| value.to_str().unwrap().parse().unwrap());
    if let Some(number) = caller {
        request.extensions_mut().insert(Caller { user: user(number) });
    }
    next.run(request).await
}

/// Puts people into a database.
async fn people(file: &Path) {
    let rows: Vec<_> =
        (1..=60).map(|number| format!("('{}', 'user{number}', 'Person {number}', 1)", user(number).as_str())).collect();
    let sql = format!("INSERT INTO accounts (id, username, name, created_at) VALUES {}", rows.join(", "));
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let _done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

struct Place {
    group: GroupId,
    general: RoomId,
    side: RoomId,
    secret: RoomId,
    invite: String,
    token: String,
}

impl Place {
    /// A path with the ids of this place.
    fn path(&self, template: &str) -> String {
        let ids = [
            ("{g}", self.group.as_str()),
            ("{general}", self.general.as_str()),
            ("{side}", self.side.as_str()),
            ("{secret}", self.secret.as_str()),
            ("{invite}", &*self.invite),
            ("{token}", &*self.token),
        ];
        let path = ids.iter().fold(template.to_owned(), |path, (name, id)| path.replace(name, id));
        (1..8).fold(path, |path, number| path.replace(&format!("{{{number}}}"), user(number).as_str()))
    }

    /// The same with ids that nothing has.
    fn nowhere() -> Self {
        let room = RoomId::private(7);
        Self {
            group: GroupId::of(7),
            general: room.clone(),
            side: room.clone(),
            secret: room,
            invite: GroupId::of(7).as_str().to_owned(),
            token: "A".repeat(43),
        }
    }
}

/// Method, path, body; and what an owner, an admin, a member and somebody outside get.
type Row = (&'static str, &'static str, Value, [u16; 4]);

fn calls_of_groups() -> Vec<Row> {
    vec![
        ("GET", "/v1/groups/{g}", Value::Null, [200, 200, 200, 404]),
        ("PATCH", "/v1/groups/{g}", json!({"name": "Team"}), [200, 200, 403, 404]),
        ("DELETE", "/v1/groups/{g}", Value::Null, [204, 403, 403, 404]),
        ("POST", "/v1/groups/{g}/join", Value::Null, [200, 200, 200, 404]),
        ("POST", "/v1/groups/{g}/leave", Value::Null, [409, 204, 204, 404]),
        ("GET", "/v1/groups/{g}/members", Value::Null, [200, 200, 200, 404]),
        ("POST", "/v1/groups/{g}/members", json!({"users": [user(6)]}), [204, 204, 403, 404]),
        ("PUT", "/v1/groups/{g}/members/{6}", json!({}), [204, 204, 403, 404]),
        ("PUT", "/v1/groups/{g}/members/{6}", json!({"role": "owner"}), [204, 403, 403, 404]),
        ("PUT", "/v1/groups/{g}/members/{5}", json!({"role": "admin"}), [204, 204, 403, 404]),
        ("PUT", "/v1/groups/{g}/members/{2}", json!({"role": "member"}), [204, 204, 403, 404]),
        ("DELETE", "/v1/groups/{g}/members/{5}", Value::Null, [204, 204, 403, 404]),
        ("DELETE", "/v1/groups/{g}/members/{2}", Value::Null, [204, 403, 403, 404]),
        ("DELETE", "/v1/groups/{g}/members/{6}", Value::Null, [404, 404, 404, 404]),
        ("DELETE", "/v1/groups/{g}/members/{5}?ban=true", Value::Null, [204, 204, 403, 404]),
        ("DELETE", "/v1/groups/{g}/members/{6}?ban=true", Value::Null, [204, 204, 403, 404]),
        ("GET", "/v1/groups/{g}/bans", Value::Null, [200, 200, 403, 404]),
        ("DELETE", "/v1/groups/{g}/bans/{7}", Value::Null, [204, 204, 403, 404]),
        ("POST", "/v1/groups/{g}/invites", json!({}), [201, 201, 403, 404]),
        ("GET", "/v1/groups/{g}/invites", Value::Null, [200, 200, 403, 404]),
        ("DELETE", "/v1/groups/{g}/invites/{invite}", Value::Null, [204, 204, 403, 404]),
        ("POST", "/v1/groups/{g}/channels", json!({"name": "new"}), [201, 201, 201, 404]),
        ("GET", "/v1/invites/{token}", Value::Null, [200, 200, 200, 200]),
        ("POST", "/v1/invites/{token}/accept", Value::Null, [200, 200, 200, 200]),
    ]
}

/// The admin has made `side`, which is open; the member `secret`, which is private. The owner is in neither.
fn calls_of_channels() -> Vec<Row> {
    vec![
        ("GET", "/v1/rooms/{side}", Value::Null, [200, 200, 200, 404]),
        ("PATCH", "/v1/rooms/{side}", json!({"topic": "x"}), [403, 200, 403, 404]),
        ("DELETE", "/v1/rooms/{side}", Value::Null, [403, 204, 403, 404]),
        ("POST", "/v1/rooms/{side}/join", Value::Null, [200, 200, 200, 404]),
        ("POST", "/v1/rooms/{side}/leave", Value::Null, [204, 204, 204, 404]),
        ("GET", "/v1/rooms/{side}/members", Value::Null, [403, 200, 403, 404]),
        ("POST", "/v1/rooms/{side}/members", json!({"users": [user(3)]}), [403, 204, 403, 404]),
        ("PUT", "/v1/rooms/{side}/members/{5}", json!({"role": "admin"}), [403, 204, 403, 404]),
        ("DELETE", "/v1/rooms/{side}/members/{5}", Value::Null, [403, 204, 403, 404]),
        ("PATCH", "/v1/rooms/{side}/me", json!({"pinned": true}), [404, 200, 404, 404]),
        ("GET", "/v1/rooms/{secret}", Value::Null, [404, 404, 200, 404]),
        ("PATCH", "/v1/rooms/{secret}", json!({"posting": "admins"}), [404, 404, 200, 404]),
        ("DELETE", "/v1/rooms/{secret}", Value::Null, [404, 404, 204, 404]),
        ("POST", "/v1/rooms/{secret}/join", Value::Null, [404, 404, 200, 404]),
        ("POST", "/v1/rooms/{secret}/leave", Value::Null, [404, 404, 204, 404]),
        ("GET", "/v1/rooms/{secret}/members", Value::Null, [404, 404, 200, 404]),
        ("POST", "/v1/rooms/{secret}/members", json!({"users": [user(1)]}), [404, 404, 204, 404]),
        ("PUT", "/v1/rooms/{secret}/members/{1}", json!({}), [404, 404, 204, 404]),
        ("DELETE", "/v1/rooms/{secret}/members/{5}", Value::Null, [404, 404, 204, 404]),
        ("PATCH", "/v1/rooms/{secret}/me", json!({"notify": "none"}), [404, 404, 200, 404]),
        ("PATCH", "/v1/rooms/{general}", json!({"topic": "x"}), [200, 200, 403, 404]),
        ("PATCH", "/v1/rooms/{general}", json!({"visibility": "private"}), [409, 409, 403, 404]),
        ("DELETE", "/v1/rooms/{general}", Value::Null, [409, 409, 403, 404]),
        ("POST", "/v1/rooms/{general}/leave", Value::Null, [409, 409, 409, 404]),
        ("DELETE", "/v1/rooms/{general}/members/{5}", Value::Null, [409, 409, 403, 404]),
    ]
}

async fn hold(rows: Vec<Row>) {
    let server = Server::start().await;
    for (method, template, body, expected) in rows {
        for (caller, status) in [OWNER, ADMIN, MEMBER, OUTSIDER].into_iter().zip(expected) {
            let place = server.place().await;
            let reply = server.call(caller, method, &place.path(template), &body).await;
            assert_eq!(reply.status, status, "{method} {template} by {caller}: {reply:?}");
            if status == 404 && !template.contains("members/{6}") {
                let nowhere = server.call(caller, method, &Place::nowhere().path(template), &body).await;
                assert_eq!((nowhere.status, nowhere.body), (404, reply.body), "{method} {template} by {caller}");
            }
        }
        let place = server.place().await;
        let status = server.call(0, method, &place.path(template), &body).await.status;
        assert_eq!(status, if template == "/v1/invites/{token}" { 200 } else { 401 }, "{method} {template}");
    }
}

#[tokio::test]
async fn each_call_of_groups_asks_who_may() {
    hold(calls_of_groups()).await;
}

#[tokio::test]
async fn each_call_of_channels_asks_who_may() {
    hold(calls_of_channels()).await;
}

#[tokio::test]
async fn a_direct_room_is_opened_once_and_not_across_a_block() {
    let server = Server::start().await;
    let open =
        async |caller, peer: u128| server.call(caller, "POST", "/v1/rooms/direct", &json!({"user": user(peer)})).await;
    let first = open(1, 2).await;
    let room = first.json();
    assert_eq!((first.status, &room["kind"], &room["name"]), (201, &json!("direct"), &json!("Person 2")));
    assert_eq!(
        (&room["peer"]["username"], &room["may_post"], &room["role"]),
        (&json!("user2"), &json!(true), &json!("member"))
    );
    let again = open(2, 1).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &room["id"]));
    let id = room["id"].as_str().unwrap();
    assert_eq!(server.get(3, &format!("/v1/rooms/{id}")).await.status, 404);
    for method in ["PATCH", "DELETE"] {
        assert_eq!(server.call(1, method, &format!("/v1/rooms/{id}"), &json!({"topic": "x"})).await.status, 404);
    }
    let members = server.get(1, &format!("/v1/rooms/{id}/members")).await.json();
    assert_eq!(members["items"].as_array().unwrap().len(), 2);

    let block = json!({"state": "blocked"});
    let path = format!("/v1/contacts/{}", user(1).as_str());
    assert_eq!(server.call(2, "PUT", &path, &block).await.json()["state"], "blocked");
    let (blocked, blocker) = (open(1, 2).await, open(2, 1).await);
    assert_eq!((blocked.status, &blocked.body), (403, &blocker.body), "neither is told who has blocked");
    assert_eq!(server.get(1, &format!("/v1/rooms/{id}")).await.json()["may_post"], false);
    assert_eq!(server.call(2, "DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(open(1, 2).await.status, 200);
    assert_eq!((open(1, 1).await.status, open(1, 99).await.status), (422, 404));
}

#[tokio::test]
async fn contacts_are_asked_accepted_and_ended() {
    let server = Server::start().await;
    let path = |number| format!("/v1/contacts/{}", user(number).as_str());
    let state = async |caller, other: u128| {
        let contacts = server.get(caller, "/v1/contacts").await.json();
        let found =
            contacts["items"].as_array().unwrap().iter().find(|item| item["person"]["id"] == json!(user(other)));
        found.map_or(Value::Null, |item| item["state"].clone())
    };
    assert_eq!(server.call(1, "PUT", &path(2), &json!({})).await.json()["state"], "asked");
    assert_eq!((state(1, 2).await, state(2, 1).await), (json!("asked"), json!("asks")));
    assert_eq!(server.call(2, "PUT", &path(1), &json!({})).await.json()["state"], "accepted");
    assert_eq!((state(1, 2).await, state(2, 1).await), (json!("accepted"), json!("accepted")));
    assert_eq!(server.call(1, "DELETE", &path(2), &Value::Null).await.status, 204);
    assert_eq!((state(1, 2).await, state(2, 1).await), (Value::Null, Value::Null));
    assert_eq!(server.call(1, "PUT", &path(99), &json!({})).await.status, 404);
    assert_eq!(server.call(1, "PUT", "/v1/contacts/ann", &json!({})).await.status, 404);
    assert_eq!(server.call(1, "PUT", &path(2), &json!({"state": "loved"})).await.status, 422);
}

#[tokio::test]
async fn the_sidebar_has_all_rooms_and_groups_and_where_the_log_stood() {
    let server = Server::start().await;
    let place = server.place().await;
    let _direct = server.call(MEMBER, "POST", "/v1/rooms/direct", &json!({"user": user(OTHER_OUTSIDER)})).await;
    let sidebar = server.get(MEMBER, "/v1/me/rooms").await.json();
    let mut names: Vec<_> =
        sidebar["rooms"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Person 6", "general", "secret"]);
    assert_eq!((sidebar["groups"][0]["id"].as_str(), &sidebar["seq"]), (Some(place.group.as_str()), &json!(77)));
    assert_eq!((&sidebar["groups"][0]["role"], &sidebar["groups"][0]["members"]), (&json!("member"), &json!(4)));
    let nobody = server.get(OUTSIDER, "/v1/me/rooms").await.json();
    assert_eq!((&nobody["rooms"], &nobody["groups"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn lists_come_in_parts_by_opaque_cursors() {
    let server = Server::start().await;
    let group = server.groups.make(&user(1), "Crew", "", Visibility::Open).await.unwrap();
    server.groups.add(&user(1), &group, (2..=60).map(user).collect()).await.unwrap();
    let path = format!("/v1/groups/{}/members", group.as_str());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let part = server.get(1, &format!("{path}?limit=25{cursor}")).await.json();
        seen.extend(
            part["items"].as_array().unwrap().iter().map(|item| item["person"]["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = part["next"].as_str() else { break };
        assert!(!next.contains(seen.last().unwrap().as_str()));
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.is_sorted_by(|one, other| one < other));
    assert_eq!(server.get(1, &path).await.json()["items"].as_array().unwrap().len(), 50);
    for bad in ["cursor=%00", "cursor=!", "cursor=AAAA", "limit=x", "limit=-1"] {
        assert_eq!(server.get(1, &format!("{path}?{bad}")).await.status, 422, "{bad}");
    }
    // somebody outside sees an open group, and not who is in it, nor how many
    let outside = server.groups.leave(&user(60), &group).await;
    assert!(outside.is_ok());
    let shown = server.get(60, &format!("/v1/groups/{}", group.as_str())).await.json();
    assert_eq!((&shown["name"], &shown["members"], &shown["channels"]), (&json!("Crew"), &Value::Null, &Value::Null));
    assert_eq!(server.get(60, &path).await.status, 403);
    assert_eq!(server.get(60, "/v1/groups").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_link_is_told_once_and_shows_the_name_of_the_group() {
    let server = Server::start().await;
    let place = server.place().await;
    let made = server
        .call(1, "POST", &place.path("/v1/groups/{g}/invites"), &json!({"uses": 1, "expires_in": 60}))
        .await
        .json();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["url"], format!("https://chat.example/#/invite/{token}"));
    assert_eq!((&made["uses_left"], &made["created_by"]), (&json!(1), &json!(user(1))));
    let listed = server.get(1, &place.path("/v1/groups/{g}/invites")).await;
    assert!(!listed.body.contains(token) && listed.json()["items"].as_array().unwrap().len() == 2);
    assert_eq!(server.get(0, &format!("/v1/invites/{token}")).await.json(), json!({"group": {"name": "Crew"}}));
    let accept = format!("/v1/invites/{token}/accept");
    assert_eq!(server.call(BANNED, "POST", &accept, &Value::Null).await.status, 403);
    let view = server.call(OUTSIDER, "POST", &accept, &Value::Null).await.json();
    assert_eq!((&view["role"], &view["members"]), (&json!("member"), &json!(5)));
    assert_eq!(server.call(OTHER_OUTSIDER, "POST", &accept, &Value::Null).await.status, 404, "used up");
    assert_eq!(server.get(0, &format!("/v1/invites/{token}")).await.status, 404);
    for bad in [json!({"uses": 0}), json!({"expires_in": 0}), json!({"expires_in": 1e12}), json!({"uses": -1})] {
        assert_eq!(server.call(1, "POST", &place.path("/v1/groups/{g}/invites"), &bad).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_with_them() {
    let server = Server::start().await;
    let place = server.place().await;
    let long = "x".repeat(65);
    for (method, path, body, field, code) in [
        ("POST", "/v1/groups", json!({"name": " "}), "name", "invalid_name"),
        ("POST", "/v1/groups", json!({"name": "a\u{0}"}), "name", "invalid_name"),
        ("POST", "/v1/groups", json!({"name": long}), "name", "invalid_name"),
        ("POST", "/v1/groups", json!({"name": "Crew", "about": "a\u{0}"}), "about", "invalid_text"),
        ("POST", "/v1/groups", json!({}), "body", "invalid_body"),
        ("POST", "/v1/groups", json!({"name": "Crew", "visibility": "secret"}), "body", "invalid_body"),
        ("POST", "/v1/groups/{g}/members", json!({"users": ["\u{0}"]}), "users", "invalid_id"),
        ("POST", "/v1/groups/{g}/members", json!({"users": [user(99)]}), "users", "unknown_user"),
        ("POST", "/v1/groups/{g}/members", json!({"users": [user(7)]}), "users", "banned"),
        (
            "POST",
            "/v1/groups/{g}/members",
            json!({"users": (1..=502).map(user).collect::<Vec<_>>()}),
            "users",
            "too_many",
        ),
        ("PUT", "/v1/rooms/{general}/members/{5}", json!({"role": "owner"}), "role", "invalid_role"),
        ("PUT", "/v1/rooms/{general}/members/{6}", json!({}), "users", "not_in_group"),
        ("PATCH", "/v1/rooms/{general}/me", json!({"muted_until": u64::MAX}), "muted_until", "out_of_range"),
        ("POST", "/v1/rooms/direct", json!({"user": "ann"}), "user", "invalid_id"),
    ] {
        let reply = server.call(1, method, &place.path(path), &body).await;
        assert_eq!(reply.status, 422, "{method} {path} {body}: {reply:?}");
        let error = &reply.json()["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{method} {path}: {reply:?}");
    }
    let reply = server.call(1, "POST", &place.path("/v1/groups/{g}/channels"), &json!({"name": "side"})).await;
    reply.assert_problem(409, "name_taken");
    for path in
        ["/v1/groups/x", "/v1/rooms/~x", &format!("/v1/rooms/@{}", user(1).as_str()), "/v1/rooms/A", "/v1/users/x"]
    {
        assert_eq!(server.get(1, path).await.status, 404, "{path}");
    }
    let broken = hyper::Request::post("/v1/groups").header("x-caller", "1").header("content-type", "application/json");
    assert_eq!(send(&server.address, broken.body("{".into()).unwrap()).await.status, 400);
    let plain = hyper::Request::post("/v1/groups").header("x-caller", "1").body("{}".into()).unwrap();
    assert_eq!(send(&server.address, plain).await.status, 415);
}

#[tokio::test]
async fn people_and_public_rooms_are_found() {
    let server = Server::start().await;
    let found = server.get(1, "/v1/users?q=user1&limit=5").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 5);
    assert!(found["next"].is_string());
    for (q, status) in [("us", 422), ("%00%00%00", 422), ("", 422), ("%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80", 200)] {
        assert_eq!(server.get(1, &format!("/v1/users?q={q}")).await.status, status, "{q}");
    }
    let person = server.get(1, &format!("/v1/users/{}", user(2).as_str())).await.json();
    assert_eq!(person, json!({"id": user(2), "name": "Person 2", "username": "user2"}));
    assert_eq!(server.get(1, &format!("/v1/users/{}", user(99).as_str())).await.status, 404);
    assert_eq!(server.get(0, "/v1/users?q=user").await.status, 401);

    let lobby = server.get(1, "/v1/rooms/lobby").await.json();
    assert_eq!((&lobby["kind"], &lobby["id"]), (&json!("public"), &json!("lobby")));
    assert_eq!(server.call(1, "PATCH", "/v1/rooms/lobby", &json!({"listed": true})).await.status, 403);
    assert_eq!(server.call(1, "DELETE", "/v1/rooms/lobby", &Value::Null).await.status, 404);
    let listed = server.get(1, "/v1/rooms").await.json();
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][1], &listed["next"]),
        (&json!("lobby"), &Value::Null, &Value::Null)
    );
    assert_eq!(server.get(1, "/v1/rooms?q=x").await.json(), json!({"items": [], "next": null}));
}
