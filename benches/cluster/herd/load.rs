//! Those who talk, and what they said.

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
pub(super) type Said = BTreeMap<RoomId, Vec<(Seq, MessageId)>>;

/// A message that is acked.
type Acked = (RoomId, (Seq, MessageId));

/// Talkers, one at each address.
pub(super) struct Load {
    rooms: Vec<RoomId>,
    enough: CancellationToken,
    talkers: Vec<JoinHandle<Vec<Acked>>>,
}

impl Load {
    /// Begins to say so many messages a second, in one room after the other.
    pub(super) async fn start(addresses: &[&str], rooms: &[RoomId], rate: u32) -> Self {
        let enough = CancellationToken::new();
        let pace = Duration::from_secs(1) * u32::try_from(addresses.len()).unwrap() / rate;
        let mut talkers = Vec::new();
        for address in addresses {
            let config = Config::new(vec![(*address).to_owned()], "Talker".parse().unwrap(), rooms.to_vec());
            let mut client = Client::new(config);
            within(async { while client.next_event().await != Some(Event::Live) {} }).await;
            talkers.push(TaskTracker::new().spawn(talk(client, rooms.to_vec(), pace, enough.clone())));
        }
        Self { rooms: rooms.to_vec(), enough, talkers }
    }

    /// Ends when everything is acked.
    pub(super) async fn stop(self) -> Said {
        self.enough.cancel();
        let mut said: Said = self.rooms.into_iter().map(|room| (room, Vec::new())).collect();
        for talker in self.talkers {
            for (room, message) in within(talker).await.unwrap() {
                said.entry(room).or_default().push(message);
            }
        }
        for messages in said.values_mut() {
            messages.sort_unstable();
        }
        said
    }
}

async fn talk(mut client: Client, rooms: Vec<RoomId>, pace: Duration, enough: CancellationToken) -> Vec<Acked> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut turns = rooms.iter().cycle();
    let (mut unacked, mut said) = (HashMap::<MessageId, RoomId>::new(), Vec::new());
    while !(enough.is_cancelled() && unacked.is_empty()) {
        tokio::select! {
            () = enough.cancelled(), if unacked.is_empty() => (),
            _ = ticks.tick(), if !enough.is_cancelled() => {
                let room = turns.next().unwrap();
                unacked.insert(client.publish(room, "a message of some words").unwrap(), room.clone());
            }
            event = client.next_event() => match event.unwrap() {
                Event::Acked { id, seq, .. } => said.extend(unacked.remove(&id).map(|room| (room, (seq, id)))),
                Event::Failed { id, reason } => panic!("{id} was not taken: {reason:?}"),
                _ => (),
            },
        }
    }
    said
}
