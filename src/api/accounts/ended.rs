//! Sessions that end on other instances, as the log tells of them.

use std::sync::Arc;

use hubbub_log::ring::{Change, Fallen, Ring};
use hubbub_messenger::accounts::Accounts;
use hubbub_protocol::Seq;

/// Entries that are looked at in one go.
const LOOK: usize = 1024;

/// Notes the ends of sessions that the log tells of, without end: from then on their tokens are refused over HTTP too.
/// What the log loses, [`Accounts::follow`] finds in the database.
pub async fn note_ends(ring: Arc<Ring>, accounts: Accounts) {
    let (mut tip, mut seen) = (ring.watch(), ring.last());
    while tip.changed().await.is_ok() {
        seen = look(&ring, seen, &accounts);
    }
}

/// Looks at everything above a place. Returns up to where.
fn look(ring: &Ring, mut seen: Seq, accounts: &Accounts) -> Seq {
    loop {
        let entries = match ring.run(seen, LOOK) {
            Ok(entries) => entries,
            Err(Fallen) => return ring.last(),
        };
        let Some(last) = entries.last() else { return seen };
        seen = last.seq;
        for entry in &entries {
            if let Some(Change::SessionEnded { session, .. }) = entry.change() {
                accounts.note_end(session.clone(), entry.at);
            }
        }
    }
}
