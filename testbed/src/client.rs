//! A client of the protocol in a task of its own.

use std::{fmt, ops::ControlFlow, time::Duration};

use hubbub_client::{Client, Config, Event};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::wait::within;

/// What keeps account of what a client sees. All of its methods are called in the client's task.
pub trait Observer: Send + Sync + 'static {
    /// Something happened. [`ControlFlow::Break`] ends the task and cuts the connection.
    fn on_event(&mut self, event: Event) -> ControlFlow<()>;

    /// Called after each event, and after each [`TestClient::act`] before it returns.
    fn on_state(&mut self, _client: &Client) {}

    /// The server has forbidden to come back.
    fn on_end(&mut self) {}
}

type Answer = Box<dyn FnOnce() + Send>;
type Act = Box<dyn FnOnce(&mut Client) -> Answer + Send>;

enum Command {
    Act(Act),
    StayAway { close_limit: Option<Duration>, time: Duration },
    Close,
}

/// A client in a task, with an account of what it saw. Dropping it ends the task and cuts the connection.
pub struct TestClient<T> {
    name: String,
    commands: mpsc::Sender<Command>,
    account: watch::Receiver<T>,
    task: AbortOnDropHandle<()>,
}

impl<T> fmt::Debug for TestClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Observer> TestClient<T> {
    /// A client that connects at once, comes back after every disconnect, and is observed.
    pub fn observed(config: Config, observer: T) -> Self {
        let name = config.name.to_string();
        let (commands, inbox) = mpsc::channel(1024);
        let (sender, account) = watch::channel(observer);
        let task = AbortOnDropHandle::new(TaskTracker::new().spawn(run(Client::new(config), inbox, sender)));
        Self { name, commands, account, task }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the observer holds now. The client waits as long as this is held.
    pub fn account(&self) -> watch::Ref<'_, T> {
        self.account.borrow()
    }

    /// A receiver of its own for the observer's state, for waiting.
    pub(crate) fn changes(&self) -> watch::Receiver<T> {
        self.account.clone()
    }

    /// Does something with the client, in its task. Returns what came of it.
    ///
    /// # Panics
    ///
    /// The client is over.
    pub async fn act<R: Send + 'static>(&self, act: impl FnOnce(&mut Client) -> R + Send + 'static) -> R {
        let (sender, outcome) = oneshot::channel();
        let act: Act = Box::new(move |client| {
            let outcome = act(client);
            Box::new(move || {
                let _the_test_may_not_wait = sender.send(outcome);
            })
        });
        self.command(Command::Act(act)).await;
        outcome.await.unwrap_or_else(|_| panic!("{} is over", self.name))
    }

    /// Disconnects and stays away for this long: with a close handshake that may take as long as `close_limit`, or without one.
    /// Returns at once; what is asked for meanwhile waits.
    pub async fn stay_away(&self, time: Duration, close_limit: Option<Duration>) {
        self.command(Command::StayAway { close_limit, time }).await;
    }

    /// Ends the client with a close handshake, and waits until that is over.
    pub async fn close(self) {
        // It may have been ended meanwhile.
        let _over = self.commands.send(Command::Close).await;
        self.ended().await;
    }

    /// Waits until the client is over: closed for good by the server, or ended by its observer.
    pub async fn ended(self) {
        within(self.task).await.unwrap();
    }

    /// Whether the client is over.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    async fn command(&self, command: Command) {
        self.commands.send(command).await.unwrap_or_else(|_| panic!("{} is over", self.name));
    }
}

async fn run<T: Observer>(mut client: Client, mut commands: mpsc::Receiver<Command>, account: watch::Sender<T>) {
    loop {
        tokio::select! {
            event = client.next_event() => {
                let Some(event) = event else { return account.send_modify(T::on_end) };
                let mut flow = ControlFlow::Continue(());
                account.send_modify(|observer| {
                    flow = observer.on_event(event);
                    observer.on_state(&client);
                });
                if flow.is_break() {
                    return;
                }
            }
            command = commands.recv() => match command {
                Some(Command::Act(act)) => {
                    let answer = act(&mut client);
                    account.send_modify(|observer| observer.on_state(&client));
                    answer();
                }
                Some(Command::StayAway { close_limit, time }) => {
                    leave(&mut client, close_limit).await;
                    sleep(time).await; // the absence itself, nothing that one could wait for
                }
                Some(Command::Close) => return client.close().await,
                None => return,
            },
        }
    }
}

async fn leave(client: &mut Client, close_limit: Option<Duration>) {
    let Some(limit) = close_limit else { return client.cut() };
    if let Some(connection) = client.detach() {
        let _how_it_ended = connection.close(limit).await;
    }
}
