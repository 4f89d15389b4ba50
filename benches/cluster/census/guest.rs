//! A client that listens to the counter.

use std::sync::Arc;

use hubbub_client::{Closed, Connection, Upgrade};
use hubbub_protocol::{ClientFrame, Count, GuestSecret, Hello, RoomId, ServerFrame};
use hubbub_testbed::within;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// What may be told now, and what was told otherwise.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) wrong: Vec<String>,
}

impl Bounds {
    /// So many go. While others came at the same time, it is not known who is counted already.
    pub(super) fn allow_fewer(&mut self, going: u64) {
        self.low = self.low.saturating_sub(going);
    }

    /// Notes it if this must not be told.
    pub(super) fn check(&mut self, who: &str, connections: u64) {
        let Self { low, high, .. } = *self;
        if !(low..=high).contains(&connections) {
            self.wrong.push(format!("{who} told {connections} when the truth was between {low} and {high}"));
        }
    }
}

/// A client in a task. Dropping it cuts the connection.
#[derive(Debug)]
pub(super) struct Guest {
    count: watch::Receiver<Count>,
    leave: oneshot::Sender<()>,
    task: AbortOnDropHandle<()>,
}

impl Guest {
    /// Connects, and is counted when this returns.
    pub(super) async fn enter(address: &str, bounds: Arc<Mutex<Bounds>>) -> Self {
        let mut connection = within(Connection::open(address, &Upgrade::default())).await.unwrap();
        let (name, session) = ("Guest".parse().unwrap(), Some(GuestSecret::random()));
        let hello = Hello { name, session, rooms: vec![RoomId::lobby()], resume: None };
        connection.send(&ClientFrame::Hello(hello)).await.unwrap();
        let ServerFrame::Welcome(welcome) = within(connection.next()).await.unwrap() else { panic!("no welcome") };
        let who = format!("a client of {}", welcome.instance);
        bounds.lock().check(&who, welcome.count.connections);
        let (told, count) = watch::channel(welcome.count);
        let (leave, leaving) = oneshot::channel();
        let task = AbortOnDropHandle::new(TaskTracker::new().spawn(listen(connection, who, bounds, told, leaving)));
        Self { count, leave, task }
    }

    /// What it was told last.
    pub(super) fn count(&self) -> Count {
        *self.count.borrow()
    }

    /// Says goodbye.
    pub(super) async fn leave(self) {
        // it may have been closed by its instance meanwhile
        let _gone = self.leave.send(());
        within(self.task).await.unwrap();
    }

    /// Waits until the server has ended the connection.
    pub(super) async fn ended(self) {
        within(self.task).await.unwrap();
    }

    /// Whether the server has ended the connection.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

async fn listen(
    mut connection: Connection,
    who: String,
    bounds: Arc<Mutex<Bounds>>,
    told: watch::Sender<Count>,
    mut leaving: oneshot::Receiver<()>,
) {
    loop {
        let heard = tokio::select! {
            heard = connection.next() => heard,
            Ok(()) = &mut leaving => {
                connection.close(hubbub_testbed::PATIENCE).await;
                return;
            }
        };
        match heard {
            Ok(ServerFrame::Count(count)) => {
                bounds.lock().check(&who, count.connections);
                told.send_replace(count);
            }
            Ok(_) => (),
            // a frame that cannot be read, for example a negative count
            Err(Closed { code: 1002, reason }) => return bounds.lock().wrong.push(format!("{who}: {reason}")),
            Err(_) => return,
        }
    }
}
