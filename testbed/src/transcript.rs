//! Everything that a client saw, and assertions about it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
    time::{Duration, UNIX_EPOCH},
};

use hubbub_client::{Client, Config, Event, FailReason, Violations};
use hubbub_protocol::{Ack, Count, Message, MessageId, Refusal, RelayState, RoomId, Seq, User};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    client::{Observer, TestClient},
    wait::PATIENCE,
};

/// Clients that connect at the same time.
const CONNECTING: usize = 100;

/// What a client saw, in order.
#[derive(Debug, Default)]
pub struct Transcript {
    /// New messages.
    pub messages: Vec<Message>,
    /// Its own messages that are in the log: their seq, and the server's `ack`; none if the message came back first.
    pub acked: BTreeMap<MessageId, (Seq, Option<Ack>)>,
    /// Its own messages that are not sent any more.
    pub failed: Vec<(MessageId, FailReason)>,
    /// Frames `error`.
    pub refused: Vec<Refusal>,
    /// Frames `typing`.
    pub typing: Vec<(RoomId, Vec<User>)>,
    /// The instance of each connection.
    pub instances: Vec<String>,
    /// The close code of each connection that ended; 1006 if there was none.
    pub closes: Vec<u16>,
    /// The pauses that `drain` asked for.
    pub drains: Vec<Duration>,
    /// The seq of each `reset`.
    pub resets: Vec<Seq>,
    /// Frames `status`, and the status in each `welcome`.
    pub states: Vec<RelayState>,
    /// The rooms it has joined and not left.
    pub rooms: HashSet<RoomId>,
    /// The last count.
    pub count: Count,
    /// How often it became live.
    pub lives: usize,
    /// Since when it is live.
    pub live_since: Option<Instant>,
    /// Since when it has lost its connection and is not live again.
    pub away_since: Option<Instant>,
    /// Longest time from losing a connection to being live again.
    pub longest_absence: Duration,
    /// Messages of its own that are not acked.
    pub unacked: usize,
    /// The last seq up to which it has received everything.
    pub cursor: Seq,
    /// Promises of the server that were broken.
    pub violations: Violations,
    /// Connections that could not be made.
    pub unreachable: usize,
    /// Longest time from the server's accepting a message to its arrival here. All clocks are this machine's.
    pub worst_delay: Duration,
    /// What [`TestClient::publish`] has published.
    pub published: Mutex<BTreeMap<MessageId, RoomId>>,
}

impl Transcript {
    /// Whether the replay of the present connection is over.
    pub fn is_live(&self) -> bool {
        self.live_since.is_some()
    }

    /// The ids of the messages of a room, in the order in which they came.
    pub fn ids(&self, room: &RoomId) -> Vec<&MessageId> {
        let messages = self.messages.iter().map(|message| &message.record);
        messages.filter(|record| record.room == *room).map(|record| &record.id).collect()
    }
}

impl Observer for Transcript {
    fn on_event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Connected { instance, .. } => self.instances.push(instance),
            Event::Live => {
                self.lives += 1;
                self.live_since = Some(Instant::now());
                let absence = self.away_since.take().map(|since| since.elapsed());
                self.longest_absence = self.longest_absence.max(absence.unwrap_or_default());
            }
            Event::Message(message) => {
                let accepted = UNIX_EPOCH + Duration::from_millis(message.record.at);
                self.worst_delay = self.worst_delay.max(accepted.elapsed().unwrap_or_default());
                self.messages.push(message);
            }
            Event::Acked { id, seq, ack, .. } => {
                self.acked.insert(id, (seq, ack));
            }
            Event::Failed { id, reason } => self.failed.push((id, reason)),
            Event::Refused(refusal) => self.refused.push(refusal),
            Event::Count(count) => self.count = count,
            Event::Typing { room, from } => self.typing.push((room, from)),
            Event::Joined(room) => {
                self.rooms.insert(room);
            }
            Event::Left(room) => {
                self.rooms.remove(&room);
            }
            Event::Status(state) => self.states.push(state),
            Event::Reset { seq, .. } => self.resets.push(seq),
            Event::Drain { reconnect_after } => self.drains.push(reconnect_after),
            Event::Disconnected { code, .. } => {
                self.live_since = None;
                self.away_since.get_or_insert_with(Instant::now);
                self.closes.push(code);
            }
            Event::Unreachable { .. } => self.unreachable += 1,
            Event::Repeated(_) => {}
        }
        ControlFlow::Continue(())
    }

    fn on_state(&mut self, client: &Client) {
        self.unacked = client.unacked();
        self.cursor = client.cursor().unwrap_or_default();
        self.violations = client.violations();
    }
}

impl TestClient<Transcript> {
    /// A client in these rooms that goes from one address to the next.
    pub fn spawn(name: &str, addresses: Vec<String>, rooms: &[&RoomId]) -> Self {
        let rooms = rooms.iter().map(|room| (*room).clone()).collect();
        Self::with(Config::new(addresses, name.parse().unwrap(), rooms))
    }

    /// A client with this configuration.
    pub fn with(config: Config) -> Self {
        let cursor = config.resume.unwrap_or_default();
        Self::observed(config, Transcript { cursor, ..Transcript::default() })
    }

    /// Publishes; returns the id.
    pub async fn publish(&self, room: &RoomId, body: &str) -> MessageId {
        let (to, body) = (room.clone(), body.to_owned());
        let id = self.act(move |client| client.publish(&to, &body).unwrap()).await;
        self.account().published.lock().insert(id.clone(), room.clone());
        id
    }

    /// What it has seen so far. The client waits as long as this is held.
    pub fn transcript(&self) -> watch::Ref<'_, Transcript> {
        self.account()
    }

    /// Waits until what it has seen satisfies the condition.
    #[track_caller]
    pub fn until(&self, what: &str, condition: impl FnMut(&Transcript) -> bool) -> impl Future<Output = ()> {
        self.until_within(PATIENCE, what, condition)
    }

    /// As [`until`](Self::until), with another deadline.
    #[track_caller]
    pub fn until_within(
        &self,
        deadline: Duration,
        what: &str,
        condition: impl FnMut(&Transcript) -> bool,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let mut changes = self.changes();
        async move {
            let waited = timeout(deadline, changes.wait_for(condition)).await;
            if let Ok(Ok(_)) = waited {
                return;
            }
            let seen = self.account();
            let Transcript { messages, acked, unacked, closes, resets, states, count, live_since, cursor, .. } = &*seen;
            panic!(
                "{}: not {what} within {deadline:?}, waited for at {caller}: messages {}, acked {}, unacked {unacked}, \
                 closes {closes:?}, resets {resets:?}, states {states:?}, {count:?}, live {}, cursor {cursor}",
                self.name(),
                messages.len(),
                acked.len(),
                live_since.is_some(),
            );
        }
    }

    /// Waits until the replay of a connection is over.
    #[track_caller]
    pub fn live(&self) -> impl Future<Output = ()> {
        self.until("live", Transcript::is_live)
    }

    /// Waits until every message it published is acked.
    #[track_caller]
    pub fn settled(&self) -> impl Future<Output = ()> {
        self.until("all acked", |seen| seen.is_live() && seen.unacked == 0)
    }
}

/// Starts clients, at most 100 of them connecting at a time, and waits until all are live.
pub async fn gather(configs: impl IntoIterator<Item = Config>) -> Vec<TestClient<Transcript>> {
    let mut clients: Vec<TestClient<Transcript>> = Vec::new();
    for config in configs {
        clients.push(TestClient::with(config));
        if clients.len().is_multiple_of(CONNECTING) {
            for client in &clients {
                client.live().await;
            }
        }
    }
    for client in &clients {
        client.live().await;
    }
    clients
}

/// Publishes at this pace from these clients in turn, until `done` completes. Returns how many messages.
pub async fn chatter(
    clients: &[TestClient<Transcript>],
    rooms: &[RoomId],
    pace: Duration,
    done: impl Future<Output = ()>,
) -> usize {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(done);
    let mut count = 0;
    loop {
        tokio::select! {
            () = &mut done => return count,
            _ = ticks.tick() => {
                clients[count % clients.len()].publish(&rooms[count % rooms.len()], &format!("{count}")).await;
                count += 1;
            }
        }
    }
}

/// Asserts that everything these clients published was acked, and that each of them has every message of its rooms exactly
/// once, in `seq` order. Waits for what is still on its way. Returns how many messages there are.
#[track_caller]
pub fn assert_complete(clients: &[TestClient<Transcript>]) -> impl Future<Output = usize> {
    let caller = std::panic::Location::caller();
    async move {
        let mut published: BTreeMap<MessageId, RoomId> = BTreeMap::new();
        for client in clients {
            client.settled().await;
            let (seen, name) = (client.account(), client.name());
            assert_eq!(seen.failed, [], "{name} at {caller}");
            let own = seen.published.lock().clone();
            assert!(seen.acked.keys().eq(own.keys()), "{name} has other acks than publishes, at {caller}");
            published.extend(own);
        }
        for client in clients {
            let joined = client.act(|client| client.config().rooms.clone()).await;
            let expected: BTreeSet<&MessageId> =
                published.iter().filter(|(_, room)| joined.contains(*room)).map(|(id, _)| id).collect();
            let ids = |seen: &Transcript| seen.messages.iter().map(|m| m.record.id.clone()).collect::<BTreeSet<_>>();
            let enough = |seen: &Transcript| seen.messages.len() >= expected.len();
            client
                .until("complete", |seen| enough(seen) && ids(seen).iter().collect::<BTreeSet<_>>() == expected)
                .await;
            // What the client drops makes no event: it is in the transcript after a command.
            client.act(|_| ()).await;
            let (seen, name) = (client.account(), client.name());
            assert_eq!(seen.violations, Violations::default(), "{name} at {caller}");
            assert_eq!(seen.resets, Vec::<Seq>::new(), "{name} at {caller}");
            assert_eq!(seen.messages.len(), expected.len(), "{name} has a message twice, at {caller}");
            for message in &seen.messages {
                assert!(joined.contains(&message.record.room), "{name} is not in that room, at {caller}");
            }
            assert!(seen.messages.is_sorted_by_key(|message| message.seq), "{name} at {caller}");
        }
        published.len()
    }
}
