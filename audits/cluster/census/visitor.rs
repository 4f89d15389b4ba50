//! A client that checks every count it receives.

use std::{ops::ControlFlow, sync::Arc};

use hubbub_client::{Config, Event};
use hubbub_protocol::{Count, RoomId};
use hubbub_testbed::{Observer, PATIENCE, TestClient, eventually};
use parking_lot::Mutex;

/// What counts are right now, and those that were wrong.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) wrong: Vec<String>,
}

impl Bounds {
    /// So many clients leave. While others arrive, it is not known which of them are counted already.
    pub(super) fn allow_fewer(&mut self, leaving: u64) {
        self.low = self.low.saturating_sub(leaving);
    }

    /// Notes the count if it is wrong.
    pub(super) fn check(&mut self, who: &str, connections: u64) {
        let Self { low, high, .. } = *self;
        if !(low..=high).contains(&connections) {
            self.wrong.push(format!("{who} said {connections} when the truth was between {low} and {high}"));
        }
    }
}

/// Checks the counts of one connection. Ends its client with that connection.
#[derive(Debug)]
struct Checker {
    bounds: Arc<Mutex<Bounds>>,
    instance: String,
    /// The last count; none before `welcome`.
    count: Option<Count>,
}

impl Observer for Checker {
    fn on_event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Connected { instance, .. } => self.instance = format!("{instance} to a client"),
            Event::Count(count) => {
                self.bounds.lock().check(&self.instance, count.connections);
                self.count = Some(count);
            }
            Event::Disconnected { code, reason } => {
                // A frame that cannot be read, for example a negative count.
                if code == 1002 {
                    self.bounds.lock().wrong.push(format!("{}: {reason}", self.instance));
                }
                return ControlFlow::Break(());
            }
            Event::Unreachable { address, error } => {
                self.bounds.lock().wrong.push(format!("{address} could not be reached: {error}"));
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// A client with one connection. Dropping it cuts the connection.
#[derive(Debug)]
pub(super) struct Visitor(TestClient<Checker>);

impl Visitor {
    /// Connects, and is counted when this returns.
    pub(super) async fn enter(address: &str, bounds: Arc<Mutex<Bounds>>) -> Self {
        let config = Config::new(vec![address.to_owned()], "Visitor".parse().unwrap(), vec![RoomId::lobby()]);
        let visitor = Self(TestClient::observed(config, Checker { bounds, instance: address.to_owned(), count: None }));
        eventually(PATIENCE, || async { (visitor.is_over() || visitor.0.account().count.is_some()).then_some(()) })
            .await;
        visitor
    }

    /// The last count it received.
    pub(super) fn count(&self) -> Count {
        self.0.account().count.unwrap_or_default()
    }

    /// Closes the connection.
    pub(super) async fn leave(self) {
        self.0.close().await;
    }

    /// Waits until the server has ended the connection.
    pub(super) async fn ended(self) {
        self.0.ended().await;
    }

    /// Whether the server has ended the connection.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_over()
    }
}
