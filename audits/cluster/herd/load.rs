//! The clients that publish, and what they published.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use hubbub_client::{Client, Config, Event};
use hubbub_protocol::{MessageId, RoomId, Seq};
use hubbub_testbed::within;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The messages of each room, in order.
pub(super) type Published = BTreeMap<RoomId, Vec<(Seq, MessageId)>>;

/// A message that is acked.
type Acked = (RoomId, (Seq, MessageId));

/// Publishing clients, one at each address.
pub(super) struct Load {
    rooms: Vec<RoomId>,
    enough: CancellationToken,
    publishers: Vec<JoinHandle<Vec<Acked>>>,
}

impl Load {
    /// Begins to publish so many messages a second, in one room after the other.
    pub(super) async fn start(addresses: &[&str], rooms: &[RoomId], rate: u32) -> Self {
        let enough = CancellationToken::new();
        let pace = Duration::from_secs(1) * u32::try_from(addresses.len()).unwrap() / rate;
        let mut publishers = Vec::new();
        for address in addresses {
            let config = Config::new(vec![(*address).to_owned()], "Publisher".parse().unwrap(), rooms.to_vec());
            let mut client = Client::new(config);
            within(async { while client.next_event().await != Some(Event::Live) {} }).await;
            publishers.push(TaskTracker::new().spawn(publish_all(client, rooms.to_vec(), pace, enough.clone())));
        }
        Self { rooms: rooms.to_vec(), enough, publishers }
    }

    /// Ends when everything is acked.
    pub(super) async fn stop(self) -> Published {
        self.enough.cancel();
        let mut published: Published = self.rooms.into_iter().map(|room| (room, Vec::new())).collect();
        for publisher in self.publishers {
            for (room, message) in within(publisher).await.unwrap() {
                published.entry(room).or_default().push(message);
            }
        }
        for messages in published.values_mut() {
            messages.sort_unstable();
        }
        published
    }
}

async fn publish_all(mut client: Client, rooms: Vec<RoomId>, pace: Duration, enough: CancellationToken) -> Vec<Acked> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut turns = rooms.iter().cycle();
    let (mut unacked, mut published) = (HashMap::<MessageId, RoomId>::new(), Vec::new());
    while !(enough.is_cancelled() && unacked.is_empty()) {
        tokio::select! {
            () = enough.cancelled(), if unacked.is_empty() => (),
            _ = ticks.tick(), if !enough.is_cancelled() => {
                let room = turns.next().unwrap();
                unacked.insert(client.publish(room, "a message of some words").unwrap(), room.clone());
            }
            event = client.next_event() => match event.unwrap() {
                Event::Acked { id, seq, .. } => published.extend(unacked.remove(&id).map(|room| (room, (seq, id)))),
                Event::Failed { id, reason } => panic!("{id} was refused: {reason:?}"),
                _ => (),
            },
        }
    }
    published
}
