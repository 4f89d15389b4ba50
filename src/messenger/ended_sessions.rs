//! The sessions that have ended lately: their access tokens still look valid, and are refused.

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use hubbub_protocol::{SessionId, UnixMillis};
use parking_lot::RwLock;

use crate::{
    access_token::{LEEWAY, TOKEN_LIFE},
    account_store::EndedLately,
};

/// How long an access token may look valid after its session has ended.
const KEPT: Duration = TOKEN_LIFE.saturating_add(LEEWAY.saturating_mul(2));
/// Longer than a transaction takes from the time that it notes until others see it.
const SLOWEST_COMMIT: Duration = Duration::from_secs(30);

/// The list of one instance.
#[derive(Debug, Default)]
pub(crate) struct EndedSessions {
    ended: RwLock<HashMap<SessionId, UnixMillis>>,
    /// Set when the list was read for the first time.
    is_known: OnceLock<()>,
}

impl EndedSessions {
    /// Whether a session is known to have ended. None: the list was not read yet.
    pub(crate) fn has(&self, session: &SessionId) -> Option<bool> {
        self.is_known.get().map(|()| self.ended.read().contains_key(session))
    }

    /// Notes that a session has ended. True: that is news.
    pub(crate) fn add(&self, session: SessionId, at: UnixMillis) -> bool {
        self.ended.write().insert(session, at).is_none()
    }

    /// Takes what was read, and forgets what is too old to matter. Returns what is news.
    pub(crate) fn take(&self, read: EndedLately) -> Vec<SessionId> {
        let oldest = read.now.saturating_sub(millis(KEPT));
        let mut ended = self.ended.write();
        let recent = read.sessions.into_iter().filter(|(_, at)| *at >= oldest);
        let news = recent.filter_map(|(session, at)| ended.insert(session.clone(), at).is_none().then_some(session));
        let news = news.collect();
        ended.retain(|_, at| *at >= oldest);
        drop(ended);
        let _known_already = self.is_known.set(());
        news
    }
}

/// From when on the list has to be read again, after this was read.
pub(crate) fn next_since(read: &EndedLately) -> UnixMillis {
    let newest = read.sessions.values().max().copied().unwrap_or_default();
    newest.max(read.now.saturating_sub(millis(KEPT))).saturating_sub(millis(SLOWEST_COMMIT))
}

fn millis(duration: Duration) -> UnixMillis {
    duration.as_millis().try_into().unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(now: UnixMillis, sessions: &[(&str, UnixMillis)]) -> EndedLately {
        let sessions = sessions.iter().map(|(id, at)| (id.parse().unwrap(), *at)).collect();
        EndedLately { now, sessions }
    }

    #[test]
    fn an_end_is_news_once_and_is_kept_as_long_as_a_token_may_live() {
        let ended = EndedSessions::default();
        let one: SessionId = "one".parse().unwrap();
        assert_eq!(ended.has(&one), None);
        assert_eq!(ended.take(read(2_000_000, &[("one", 2_000_000)])), std::slice::from_ref(&one));
        assert_eq!(ended.has(&one), Some(true));
        assert!(ended.take(read(2_000_500, &[("one", 2_000_000)])).is_empty());
        let late = 2_000_000 + millis(KEPT);
        assert!(ended.take(read(late, &[])).is_empty());
        assert_eq!(ended.has(&one), Some(true));
        let _news = ended.take(read(late + 1, &[]));
        assert_eq!(ended.has(&one), Some(false));
        assert!(ended.take(read(late + 1, &[("one", 2_000_000)])).is_empty());
    }
}
