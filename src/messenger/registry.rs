//! What all services share: the database that they change, and the log that tells of it.

use std::sync::Arc;

use hubbub_protocol::UserId;

use crate::{
    change::{CallError, Changes, Decision, Facts, MAX_PEOPLE, Place, Refused, Scope, Subject},
    outbox::Teller,
};

/// The database and the log, as services use them. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Registry {
    changes: Arc<dyn Changes>,
    teller: Arc<dyn Teller>,
}

impl Registry {
    /// Changes go there, events here.
    pub fn new(changes: Arc<dyn Changes>, teller: Arc<dyn Teller>) -> Self {
        Self { changes, teller }
    }

    /// Makes a change, and tells of it after the commit.
    pub(crate) async fn change(
        &self,
        place: Place,
        people: Vec<UserId>,
        rule: impl FnOnce(&Facts) -> Result<Decision, Refused> + Send + 'static,
    ) -> Result<Subject, CallError> {
        // the one who acts, and the others
        if people.len() > MAX_PEOPLE + 1 {
            let detail = format!("at most {MAX_PEOPLE} people in one call");
            return Err(Refused::field("users", "too_many", detail).into());
        }
        let decision = self.changes.change(Scope { place, people }, Box::new(rule)).await?;
        if !decision.events.is_empty() {
            self.teller.tell(decision.events);
        }
        Ok(decision.subject)
    }
}
