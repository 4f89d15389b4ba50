//! A pass of a worker: it sends new entries of the ring to the live connections.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hubbub_lifecycle::{Throttle, clock::unix_micros};
use hubbub_log::ring::{Audience, Entry};
use tracing::warn;

use super::{
    super::roster::{RoomKey, Slot},
    Worker,
};
use crate::{connection::WriteBatch, socket::Transport};

/// Upper bound for the entries of one pass.
const ENTRIES_PER_READ: usize = 1024;

static SKIPPED: Throttle = Throttle::new();

/// The messages of one room, from consecutive entries of the log.
type RoomBatch<'a> = (RoomKey, Vec<&'a Arc<Entry>>);

impl<T: Transport> Worker<T> {
    /// Fans out all entries above the position that are in the ring now. Later entries wait for the next call: else
    /// commands would starve under load.
    pub(in super::super) async fn advance(&mut self) {
        let upto = self.ring.last();
        while self.position() < upto {
            match self.ring.run(self.position(), ENTRIES_PER_READ) {
                Ok(entries) if entries.is_empty() => self.position.store(upto, Ordering::Release),
                Ok(entries) => self.pass(&entries).await,
                Err(_) => self.skip(),
            }
        }
    }

    async fn pass(&mut self, entries: &[Arc<Entry>]) {
        // an event that nobody gets does not split the batch of the messages around it
        let is_regular = |entry: &Arc<Entry>| {
            entry.was == 0 && entry.change().is_none() && matches!(entry.audience, Audience::Room(_) | Audience::Hidden)
        };
        for run in entries.chunk_by(|a, b| is_regular(a) && is_regular(b)) {
            let Some(last) = run.last() else { continue };
            if is_regular(last) {
                self.fan_out(run).await;
            } else {
                self.deliver_single(last).await;
                // before the position moves: whoever catches up reads with the seats of its position
                self.apply_change(last).await;
            }
            self.position.store(last.seq, Ordering::Release);
        }
        let now = Duration::from_micros(unix_micros());
        let has_local_members = |entry: &&Arc<Entry>| entry.room().is_some_and(|room| self.roster.room(room).is_some());
        for entry in entries.iter().filter(has_local_members) {
            self.latency.record(now.saturating_sub(Duration::from_millis(entry.at)).as_secs_f64());
        }
    }

    /// Sends messages to the connections of their rooms, with one write for each connection. Connections that hear the same
    /// rooms in this run share a batch, however many other rooms they are in.
    async fn fan_out(&mut self, run: &[Arc<Entry>]) {
        let position = self.position();
        let mut rooms: HashMap<RoomKey, Vec<&Arc<Entry>>> = HashMap::new();
        for entry in run {
            if let Some(room) = entry.room().and_then(|id| self.roster.room(id)) {
                rooms.entry(room).or_default().push(entry);
            }
        }
        let rooms: Vec<RoomBatch<'_>> = rooms.into_iter().collect();
        let heard = self.rooms_heard(&rooms);
        let mut hear_several: Vec<(Slot, usize)> = Vec::new();
        let Self { roster, budget, .. } = self;
        for (n, (room, entries)) in rooms.iter().enumerate() {
            let batch = WriteBatch::of(entries.iter().copied());
            for &slot in roster.slots(*room) {
                if usize::try_from(slot).is_ok_and(|slot| heard.get(slot).is_some_and(|rooms| *rooms > 1)) {
                    hear_several.push((slot, n));
                } else if roster.get(slot).is_some_and(|connection| connection.deliver(&batch, position)) {
                    budget.count_message_write().await;
                }
            }
        }
        hear_several.sort_unstable();
        let mut batches: HashMap<Vec<usize>, WriteBatch> = HashMap::new();
        let mut audience = Vec::new();
        for several in hear_several.chunk_by(|a, b| a.0 == b.0) {
            audience.clear();
            audience.extend(several.iter().map(|(_, n)| *n));
            if !batches.contains_key(&audience) {
                let mut entries: Vec<_> =
                    audience.iter().filter_map(|n| Some(&rooms.get(*n)?.1)).flatten().copied().collect();
                entries.sort_unstable_by_key(|entry| entry.seq);
                batches.insert(audience.clone(), WriteBatch::of(entries));
            }
            let connection = several.first().and_then(|(slot, _)| roster.get(*slot));
            if let (Some(connection), Some(batch)) = (connection, batches.get(&audience))
                && connection.deliver(batch, position)
            {
                budget.count_message_write().await;
            }
        }
    }

    /// For each slot, in how many of these rooms it has a seat. Empty if there is only one room.
    fn rooms_heard(&self, rooms: &[RoomBatch<'_>]) -> Vec<u8> {
        if rooms.len() < 2 {
            return Vec::new();
        }
        let mut seats = vec![0_u8; self.roster.capacity()];
        for slot in rooms.iter().flat_map(|(room, _)| self.roster.slots(*room)) {
            if let Some(seats) = usize::try_from(*slot).ok().and_then(|slot| seats.get_mut(slot)) {
                *seats = seats.saturating_add(1);
            }
        }
        seats
    }

    /// Delivers one entry that is not a regular message: a marker, a hole, a re-appended message.
    async fn deliver_single(&mut self, entry: &Arc<Entry>) {
        let position = self.position();
        let batch = WriteBatch::single(entry);
        if matches!(entry.audience, Audience::Nobody | Audience::Everyone) {
            // something of the log may be lost, and a change of somebody's seats with it
            self.doubt_all(entry.seq);
        }
        let Self { roster, budget, .. } = self;
        match &entry.audience {
            Audience::Nobody => roster.iter().for_each(|(_, connection)| connection.cross(entry, position)),
            Audience::Hidden => (),
            Audience::Everyone => {
                for (_, connection) in roster.iter() {
                    if connection.deliver(&batch, position) {
                        budget.count_message_write().await;
                    }
                }
            }
            Audience::Room(room) => {
                for connection in roster.members(room) {
                    if connection.deliver(&batch, position) {
                        budget.count_message_write().await;
                    }
                }
            }
        }
    }

    /// The ring has evicted entries that this worker had not read. Its live connections have missed them: their
    /// conversation tasks notice it and close them. A client whose cursor is still in a ring resumes, others get
    /// `reset`. Connections that catch up read the ring by themselves and go on.
    fn skip(&mut self) {
        let position = self.position();
        let live = self.roster.iter().filter(|(_, connection)| connection.fall_behind(position)).count();
        if live > 0
            && let Some(held_back) = SKIPPED.pass()
        {
            warn!(
                position,
                connections = live,
                held_back,
                "a fan-out worker was slower than the ring: its live connections are closed with 4002 (slow_consumer), and \
                 their clients resume or get a reset. A longer ring (--log-retention, --log-bytes) gives it more time"
            );
        }
        self.doubt_all(position);
        self.position.store(self.ring.last(), Ordering::Release);
    }
}
