//! Which sockets belong to which session of an account: when the session ends, they are closed.

use std::sync::Arc;

use dashmap::{DashMap, mapref::entry::Entry};
use hubbub_protocol::{CloseReason, SessionId};

use crate::socket::{Ending, Link};

/// The sockets of this instance, by session. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<DashMap<SessionId, Vec<Arc<Link>>>>);

/// A socket belongs to its session until this is dropped.
#[derive(Debug)]
pub(crate) struct Belonging {
    sessions: Sessions,
    session: SessionId,
    link: Arc<Link>,
}

impl Sessions {
    /// A socket belongs to this session.
    pub(crate) fn enter(&self, session: SessionId, link: &Arc<Link>) -> Belonging {
        self.0.entry(session.clone()).or_default().push(Arc::clone(link));
        Belonging { sessions: self.clone(), session, link: Arc::clone(link) }
    }

    /// The sessions that have sockets here.
    pub fn open(&self) -> Vec<SessionId> {
        self.0.iter().map(|entry| entry.key().clone()).collect()
    }

    /// Closes the sockets of a session with 4503. Returns their number.
    pub fn close(&self, session: &SessionId) -> usize {
        let links = self.0.get(session).map(|links| links.clone()).unwrap_or_default();
        for link in &links {
            link.close(Ending::Ours(CloseReason::SessionEnded));
        }
        links.len()
    }
}

impl Drop for Belonging {
    fn drop(&mut self) {
        if let Entry::Occupied(mut links) = self.sessions.0.entry(self.session.clone()) {
            links.get_mut().retain(|link| !Arc::ptr_eq(link, &self.link));
            if links.get().is_empty() {
                let _nobody = links.remove();
            }
        }
    }
}
