//! The tasks that send count, status and typing to the clients of this instance.

use std::time::{Duration, Instant};

use hubbub_lifecycle::metric;
use hubbub_log::Announcement;
use hubbub_protocol::{RoomId, User};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{MissedTickBehavior, interval, sleep},
};

use super::Node;
use crate::notice::Notice;

/// The shortest pause between two `count` frames.
const COUNT_PAUSE: Duration = Duration::from_millis(250);
/// For each such number of connections, the pause between two `count` frames grows by [`COUNT_PAUSE`].
const COUNT_AUDIENCE: u32 = 5000;
/// How often collected `typing` events are checked.
const TYPING_TICK: Duration = Duration::from_millis(250);

impl Node {
    /// Reports the number of local connections to the census.
    pub(super) async fn report_connections(self) {
        let mut connections = self.instance.fanout.count();
        loop {
            let local = *connections.borrow_and_update();
            self.instance.census.set(metric::count(local));
            if connections.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends the count at most four times a second, and less often with more connections.
    pub(super) async fn announce_count(self) {
        let mut count = self.instance.census.count();
        while count.changed().await.is_ok() {
            let newest = *count.borrow_and_update();
            self.instance.fanout.notify(Notice::Count(newest)).await;
            let local = u32::try_from(*self.instance.fanout.count().borrow()).unwrap_or(u32::MAX);
            sleep(COUNT_PAUSE * (1 + local / COUNT_AUDIENCE)).await;
        }
    }

    pub(super) async fn announce_status(self) {
        let mut state = self.instance.relay.state();
        while state.changed().await.is_ok() {
            let newest = *state.borrow_and_update();
            self.instance.fanout.notify(Notice::Status(newest)).await;
        }
    }

    pub(super) async fn pass_on_typing(self) {
        let mut announcements = self.instance.relay.announcements();
        let mut tick = interval(TYPING_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = announcements.recv() => match received {
                    Ok(Announcement::Typing { room, from }) => self.receive_typing(&room, from),
                    // typing may be lost: clients show it for some seconds only
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => self.flush_typing(),
            }
        }
    }

    fn receive_typing(&self, room: &RoomId, from: Vec<User>) {
        for user in from {
            let due = self.instance.typing.lock().remote.add(Instant::now(), room.clone(), user);
            if let Some((room, from)) = due {
                self.send_typing(room, from);
            }
        }
    }

    fn flush_typing(&self) {
        let now = Instant::now();
        let (local, remote) = {
            let mut typing = self.instance.typing.lock();
            (typing.local.due(now), typing.remote.due(now))
        };
        for (room, from) in local {
            self.instance.relay.announce(Announcement::Typing { room, from });
        }
        for (room, from) in remote {
            self.send_typing(room, from);
        }
    }

    fn send_typing(&self, room: RoomId, from: Vec<User>) {
        self.instance.fanout.send_ephemeral(&room.clone(), &Notice::Typing { room, from });
    }
}
