//! Brings events of services into the log.

use hubbub_log::{Kind, Relay};
use hubbub_messenger::outbox::{Event, Teller};
use hubbub_recorder::Outlet;

/// Appends them through the relay of this instance. What it cannot take now stands in the outbox: the recorder appends
/// it again.
#[derive(Clone, Debug)]
pub struct LogTeller(pub Relay);

impl Teller for LogTeller {
    fn tell(&self, events: Vec<Event>) {
        for event in events {
            if let Some(kind) = Kind::named(event.kind.name()) {
                self.append(kind, event.record());
            }
        }
    }
}

impl Outlet for LogTeller {
    fn append(&self, kind: Kind, record: String) {
        if let Err(untold) = self.0.append(kind, record) {
            tracing::debug!(%untold, "an event is left to the outbox");
        }
    }
}
