//! One of the herd.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hubbub_client::{Backoff, Client, Config, Event, Violations};
use hubbub_protocol::{MessageId, RoomId, Seq};
use hubbub_testbed::within;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// Impatient: what is measured is the server.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(1) };

/// What a client saw.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The messages, in the order in which they came.
    pub(super) heard: Vec<(Seq, MessageId)>,
    /// Since when it is live.
    pub(super) live_since: Option<Instant>,
    resets: usize,
}

/// A client in a task, in one room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) room: RoomId,
    record: Arc<Mutex<Record>>,
    enough: CancellationToken,
    task: AbortOnDropHandle<Violations>,
}

impl Member {
    /// Goes from one address to the next.
    pub(super) fn spawn(addresses: Vec<String>, room: RoomId) -> Self {
        let config =
            Config { backoff: BACKOFF, ..Config::new(addresses, "Member".parse().unwrap(), vec![room.clone()]) };
        let record = Arc::<Mutex<Record>>::default();
        let enough = CancellationToken::new();
        let task = TaskTracker::new().spawn(live(Client::new(config), Arc::clone(&record), enough.clone()));
        Self { room, record, enough, task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock()
    }

    /// Ends it. Returns what it should have seen otherwise: `said` is everything that was said in its room, in order.
    pub(super) async fn broken(&mut self, said: &[(Seq, MessageId)]) -> Option<String> {
        self.enough.cancel();
        // Only at the end: what the client drops makes no event.
        let violations = within(&mut self.task).await.unwrap();
        let Record { heard, resets, .. } = &*self.record();
        if heard == said && *resets == 0 && violations == Violations::default() {
            return None;
        }
        let ids = |messages: &[(Seq, MessageId)]| messages.iter().map(|(_, id)| id.clone()).collect::<BTreeSet<_>>();
        let (missed, again) = (ids(said).difference(&ids(heard)).count(), heard.len() - ids(heard).len());
        let room = &self.room;
        let elsewhere = heard.iter().filter(|message| said.binary_search(message).is_err()).count();
        Some(format!(
            "a client of {room} missed {missed}, had {again} again and {elsewhere} in other places: {violations:?}, {resets} resets"
        ))
    }
}

async fn live(mut client: Client, record: Arc<Mutex<Record>>, enough: CancellationToken) -> Violations {
    while let Some(Some(event)) = enough.run_until_cancelled(client.next_event()).await {
        let mut record = record.lock();
        match event {
            Event::Message(message) => record.heard.push((message.seq, message.record.id)),
            Event::Live => record.live_since = Some(Instant::now()),
            Event::Disconnected { .. } => record.live_since = None,
            Event::Reset { .. } => record.resets += 1,
            _ => (),
        }
    }
    client.violations()
}
