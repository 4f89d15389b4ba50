//! What an instance does for accounts without being asked: it follows which sessions end, and reads keys again.

use std::time::{Duration, Instant};

use hubbub_lifecycle::Throttle;
use hubbub_protocol::SessionId;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::{AccountError, Accounts, Stores};
use crate::{
    access_token::{Keys, SigningKey},
    account_store::StoredSecret,
    ended_sessions::next_since,
    secret_token::SecretToken,
};

/// How often an instance asks which sessions have ended.
const PERIOD: Duration = Duration::from_millis(500);
/// How often it reads the keys again, in periods.
const KEYS: u64 = 20;
/// How often it notes which sessions are in use, in periods.
const TOUCH: u64 = 2 * 60 * 30;
/// How long an unknown key is not asked for again.
const KEYS_PAUSE: Duration = Duration::from_secs(1);

/// The sockets of this instance, by session.
pub trait Sockets: std::fmt::Debug + Send + Sync + 'static {
    /// Closes those of sessions that have ended.
    fn close(&self, sessions: &[SessionId]);

    /// The sessions that have some.
    fn open(&self) -> Vec<SessionId>;
}

impl Accounts {
    /// Follows the database without end: closes the sockets of sessions that end on any instance.
    pub async fn follow(self, sockets: std::sync::Arc<dyn Sockets>) -> ! {
        static AWAY: Throttle = Throttle::new();
        let (mut since, mut turn) = (0, 0_u64);
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let _now = ticks.tick().await;
            let read = self.inner.store.ended_since(since).await;
            match read {
                Ok(read) => {
                    since = since.max(next_since(&read));
                    let _news = self.inner.ended.take(read);
                }
                Err(error) => {
                    if let Some(held_back) = AWAY.pass() {
                        warn!(%error, held_back, "which sessions have ended cannot be read now");
                    }
                }
            }
            // not only the news: a call of this instance may have noted the end already
            let open = sockets.open();
            let ended: Vec<_> = open.iter().filter(|session| self.has_ended(session)).cloned().collect();
            sockets.close(&ended);
            turn += 1;
            if turn.is_multiple_of(KEYS) {
                self.read_keys_at_leisure().await;
            }
            if turn % TOUCH == 1 {
                self.keep_up(open).await;
            }
        }
    }

    async fn keep_up(&self, open: Vec<SessionId>) {
        let touched = self.inner.store.touch(open).await;
        let swept = self.inner.store.sweep().await;
        if let Err(error) = touched.and(swept) {
            debug!(%error, "sessions in use cannot be noted now");
        }
    }

    async fn read_keys_at_leisure(&self) {
        if let Err(error) = self.replace_keys().await {
            debug!(%error, "the keys of access tokens cannot be read again now");
        }
    }

    /// Reads the keys again, unless that was done just now. True: they were read.
    pub(super) async fn read_keys_again(&self) -> Result<bool, AccountError> {
        {
            let mut read_at = self.inner.keys_read_at.lock();
            if read_at.elapsed() < KEYS_PAUSE {
                return Ok(false);
            }
            *read_at = Instant::now();
        }
        self.replace_keys().await?;
        Ok(true)
    }

    async fn replace_keys(&self) -> Result<(), AccountError> {
        let keys = read_keys(&*self.inner.store, &self.inner.options.signing_keys).await?;
        *self.inner.keys.write() = keys.into();
        Ok(())
    }
}

/// Reads the keys, and makes those that are missing. Keys of a file win over those of the database.
pub(super) async fn read_keys(store: &dyn Stores, of_file: &[SigningKey]) -> Result<Keys, AccountError> {
    let mut secrets = store.secrets().await?;
    let is_missing = |secrets: &[StoredSecret], purpose: &str| !secrets.iter().any(|secret| secret.purpose == purpose);
    let needs_signing = of_file.is_empty() && is_missing(&secrets, SIGNING);
    if needs_signing {
        let secret = StoredSecret { purpose: SIGNING.to_owned(), value: SigningKey::generate()? };
        store.add_secret(secret, false).await?;
    }
    let needs_shared = is_missing(&secrets, SHARED);
    if needs_shared {
        let secret = StoredSecret { purpose: SHARED.to_owned(), value: SecretToken::random().reveal() };
        store.add_secret(secret, false).await?;
    }
    if needs_signing || needs_shared {
        // another instance may have been faster
        secrets = store.secrets().await?;
    }
    let of = |purpose: &'static str| secrets.iter().filter(move |secret| secret.purpose == purpose);
    let shared = of(SHARED).next().map(|secret| secret.value.as_bytes()).unwrap_or_default();
    let stored = of(SIGNING).map(|secret| SigningKey::stored(&secret.value)).collect::<Result<Vec<_>, _>>()?;
    Ok(Keys::new(if of_file.is_empty() { &stored } else { of_file }, shared)?)
}

/// A key that signs access tokens.
const SIGNING: &str = "signing";
/// A secret from which others are derived.
const SHARED: &str = "shared";
