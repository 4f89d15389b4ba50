//! Many clients, each in a task, each with a record of what it saw.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, UNIX_EPOCH},
};

use hubbub_client::{Client, Config, Event, FailReason, Violations};
use hubbub_protocol::{Ack, Count, Message, MessageId, Refusal, RelayState, RoomId, Seq};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use hubbub_testbed::PATIENCE;

/// What a client saw, in order.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) messages: Vec<Message>,
    pub(crate) acked: BTreeMap<MessageId, (Seq, Option<Ack>)>,
    pub(crate) failed: Vec<(MessageId, FailReason)>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) instances: Vec<String>,
    pub(crate) closes: Vec<u16>,
    pub(crate) drains: Vec<Duration>,
    pub(crate) resets: Vec<Seq>,
    pub(crate) states: Vec<RelayState>,
    pub(crate) rooms: HashSet<RoomId>,
    pub(crate) count: Count,
    pub(crate) lives: usize,
    pub(crate) live: bool,
    pub(crate) unacked: usize,
    pub(crate) cursor: Seq,
    pub(crate) violations: Violations,
    /// Connections that could not be made.
    pub(crate) unreachable: usize,
    /// Longest time from the server's accepting a message to its arrival here. All clocks are this machine's.
    pub(crate) worst_delay: Duration,
}

impl Record {
    /// The ids of the messages of a room, in the order in which they came.
    pub(crate) fn ids(&self, room: &RoomId) -> Vec<&MessageId> {
        let messages = self.messages.iter().map(|message| &message.record);
        messages.filter(|record| record.room == *room).map(|record| &record.id).collect()
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected { instance, .. } => self.instances.push(instance),
            Event::Live => {
                self.lives += 1;
                self.live = true;
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
                self.live = false;
                self.closes.push(code);
            }
            Event::Unreachable { .. } => self.unreachable += 1,
            Event::Repeated(_) | Event::Typing { .. } => {}
        }
    }
}

type Command = Box<dyn FnOnce(&mut Client) + Send>;

/// A client in a task. Dropping it ends the task and cuts the connection.
pub(crate) struct Member {
    name: String,
    commands: mpsc::Sender<Command>,
    record: watch::Receiver<Record>,
    published: Mutex<BTreeMap<MessageId, RoomId>>,
    _task: AbortOnDropHandle<()>,
}

impl Member {
    /// A client in these rooms that goes from one address to the next.
    pub(crate) fn spawn(name: &str, addresses: Vec<String>, rooms: &[&RoomId]) -> Self {
        let rooms = rooms.iter().map(|room| (*room).clone()).collect();
        Self::with(Config::new(addresses, name.parse().unwrap(), rooms))
    }

    pub(crate) fn with(config: Config) -> Self {
        let name = config.name.to_string();
        let (commands, mut inbox) = mpsc::channel::<Command>(1024);
        let (record, receiver) =
            watch::channel(Record { cursor: config.resume.unwrap_or_default(), ..Record::default() });
        let task = TaskTracker::new().spawn(async move {
            let mut client = Client::new(config);
            loop {
                let event = tokio::select! {
                    event = client.next_event() => match event {
                        Some(event) => Some(event),
                        None => break,
                    },
                    command = inbox.recv() => match command {
                        Some(command) => {
                            command(&mut client);
                            None
                        }
                        None => break,
                    },
                };
                record.send_modify(|record| {
                    if let Some(event) = event {
                        record.note(event);
                    }
                    record.unacked = client.unacked();
                    record.cursor = client.cursor().unwrap_or_default();
                    record.violations = client.violations();
                });
            }
        });
        Self { name, commands, record: receiver, published: Mutex::default(), _task: AbortOnDropHandle::new(task) }
    }

    /// Does something with the client, in its task. Returns what came of it.
    pub(crate) async fn act<T: Send + 'static>(&self, act: impl FnOnce(&mut Client) -> T + Send + 'static) -> T {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        let command = Box::new(move |client: &mut Client| {
            let _the_test_may_not_wait = sender.send(act(client));
        });
        self.commands.send(command).await.unwrap_or_else(|_| panic!("{} is over", self.name));
        outcome.await.unwrap()
    }

    /// Publishes; returns the id.
    pub(crate) async fn publish(&self, room: &RoomId, body: &str) -> MessageId {
        let (to, body) = (room.clone(), body.to_owned());
        let id = self.act(move |client| client.publish(&to, &body).unwrap()).await;
        self.published.lock().insert(id.clone(), room.clone());
        id
    }

    /// What it has seen so far.
    pub(crate) fn record(&self) -> watch::Ref<'_, Record> {
        self.record.borrow()
    }

    /// Waits until what it has seen satisfies the condition.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl FnMut(&Record) -> bool) -> impl Future<Output = ()> {
        self.until_within(PATIENCE, what, condition)
    }

    /// As [`until`](Self::until), with another deadline.
    #[track_caller]
    pub(crate) fn until_within(
        &self,
        deadline: Duration,
        what: &str,
        condition: impl FnMut(&Record) -> bool,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let mut record = self.record.clone();
        async move {
            let waited = tokio::time::timeout(deadline, record.wait_for(condition)).await;
            if let Ok(Ok(_)) = waited {
                return;
            }
            let record = self.record.borrow();
            let Record { messages, acked, unacked, closes, resets, states, count, live, cursor, .. } = &*record;
            panic!(
                "{}: not {what} within {deadline:?}, waited for at {caller}: messages {}, acked {}, unacked {unacked}, \
                 closes {closes:?}, resets {resets:?}, states {states:?}, {count:?}, live {live}, cursor {cursor}",
                self.name,
                messages.len(),
                acked.len(),
            );
        }
    }

    /// Waits until the replay of a connection is over.
    #[track_caller]
    pub(crate) fn live(&self) -> impl Future<Output = ()> {
        self.until("live", |record| record.live)
    }

    /// Waits until every message it published is acked.
    #[track_caller]
    pub(crate) fn settled(&self) -> impl Future<Output = ()> {
        let settled = self.until("all acked", |record| record.live && record.unacked == 0);
        async move {
            // The record is written after each command: after this one it has all publishes before it.
            self.act(|_| ()).await;
            settled.await;
        }
    }
}

/// Starts clients, at most `step` of them connecting at a time, and waits until all are live.
pub(crate) async fn gather(configs: impl IntoIterator<Item = Config>) -> Vec<Member> {
    let step = 100;
    let mut members: Vec<Member> = Vec::new();
    for (place, config) in configs.into_iter().enumerate() {
        members.push(Member::with(config));
        if place % step == step - 1 {
            for member in &members {
                member.live().await;
            }
        }
    }
    for member in &members {
        member.live().await;
    }
    members
}

/// Publishes at this pace from these members in turn, until `done` completes. Returns how many.
pub(crate) async fn chatter(
    members: &[Member],
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
                members[count % members.len()].publish(&rooms[count % rooms.len()], &format!("{count}")).await;
                count += 1;
            }
        }
    }
}

/// Asserts that everything these members published was acked, and that each of them has every message of its rooms
/// exactly once, in `seq` order. Waits for what is still on its way. Returns how many messages there are.
#[track_caller]
pub(crate) fn assert_complete(members: &[Member]) -> impl Future<Output = usize> {
    let caller = std::panic::Location::caller();
    async move {
        let mut published: BTreeMap<MessageId, RoomId> = BTreeMap::new();
        for member in members {
            member.settled().await;
            let own = member.published.lock().clone();
            let record = member.record();
            assert_eq!(record.failed, [], "{} at {caller}", member.name);
            assert!(record.acked.keys().eq(own.keys()), "{} has other acks than publishes, at {caller}", member.name);
            published.extend(own);
        }
        for member in members {
            let joined = member.act(|client| client.config().rooms.clone()).await;
            let expected: BTreeSet<&MessageId> =
                published.iter().filter(|(_, room)| joined.contains(*room)).map(|(id, _)| id).collect();
            let ids = |record: &Record| record.messages.iter().map(|m| m.record.id.clone()).collect::<BTreeSet<_>>();
            let enough = |record: &Record| record.messages.len() >= expected.len();
            member
                .until("complete", |record| enough(record) && ids(record).iter().collect::<BTreeSet<_>>() == expected)
                .await;
            // What the client drops makes no event. The record is written after a command: the second one finds it written.
            member.act(|_| ()).await;
            member.act(|_| ()).await;
            let record = member.record();
            assert_eq!(record.violations, Violations::default(), "{} at {caller}", member.name);
            assert_eq!(record.resets, Vec::<Seq>::new(), "{} at {caller}", member.name);
            assert_eq!(record.messages.len(), expected.len(), "{} has a message twice, at {caller}", member.name);
            for message in &record.messages {
                assert!(joined.contains(&message.record.room), "{} is not in that room, at {caller}", member.name);
            }
            assert!(record.messages.is_sorted_by_key(|message| message.seq), "{} at {caller}", member.name);
        }
        published.len()
    }
}
