//! The keys of the newest entries of a log, by which it recognises a repetition.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use hubbub_protocol::Seq;
use tokio::time::Instant;

use crate::identity::ContentHash;

/// The keys of the entries within the dedupe window.
#[derive(Default)]
pub(crate) struct Seen {
    /// The entry of each key. Several if messages that the log had lost were appended again under one key.
    places: HashMap<Arc<str>, Vec<(Seq, ContentHash)>>,
    expiries: VecDeque<(Instant, Arc<str>, Seq)>,
}

impl Seen {
    /// The entries of a key, in the order of the log.
    pub(crate) fn of(&self, key: &str) -> &[(Seq, ContentHash)] {
        self.places.get(key).map_or(&[], Vec::as_slice)
    }

    /// Remembers an entry. Call it in the order of the log.
    pub(crate) fn insert(&mut self, key: Arc<str>, seq: Seq, hash: ContentHash, until: Instant) {
        self.expiries.push_back((until, Arc::clone(&key), seq));
        self.places.entry(key).or_default().push((seq, hash));
    }

    /// Forgets what is older than the window.
    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        while let Some((_, key, seq)) = self.expiries.pop_front_if(|(until, ..)| *until <= now) {
            if let Entry::Occupied(mut named) = self.places.entry(key) {
                named.get_mut().retain(|(other, _)| *other != seq);
                if named.get().is_empty() {
                    named.remove();
                }
            }
        }
    }
}
