//! The clients that publish.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use hubbub_client::Event;
use hubbub_protocol::{MessageId, Publish, RoomId};
use hubbub_testbed::{
    Observer, TestClient,
    ledger::{Fate, Mark},
};
use rand::{RngExt, rngs::StdRng};
use tokio::time::{Instant, interval_at};

use super::{Ledger, Phase};

/// What a client that publishes learns of its messages.
pub(super) struct Sender {
    pub(super) ledger: Arc<Ledger>,
    pub(super) was_live: bool,
}

impl Observer for Sender {
    fn on_event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Live => self.ledger.count_live(&mut self.was_live),
            Event::Acked { id, seq, .. } => self.settle(&id, Fate::Acked(seq, self.ledger.now())),
            Event::Failed { id, .. } => self.settle(&id, Fate::Failed),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Sender {
    fn settle(&self, id: &MessageId, fate: Fate) {
        if let Ok(mark) = id.as_str().parse::<Mark>() {
            self.ledger.sent.lock().settle(mark, fate);
        }
    }
}

/// Publishes at a pace.
pub(super) struct Publishes {
    pub(super) number: usize,
    pub(super) client: TestClient<Sender>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) rooms: Vec<usize>,
    pub(super) pace: Duration,
}

impl Publishes {
    /// # Errors
    ///
    /// The server forbade the client to come back.
    pub(super) async fn run(self, mut rng: StdRng) -> Result<()> {
        let mut phases = self.ledger.phase.subscribe();
        let mut ticks = interval_at(Instant::now() + self.pace.mul_f64(rng.random()), self.pace);
        loop {
            let phase = *phases.borrow_and_update();
            ensure!(!self.client.is_over(), "sender {}: the server forbade to come back", self.number);
            if phase == Phase::Over {
                return Ok(());
            }
            tokio::select! {
                _ = ticks.tick(), if phase == Phase::Publishing => self.publish(&mut rng).await,
                Ok(()) = phases.changed() => ticks.reset(),
            }
        }
    }

    async fn publish(&self, rng: &mut StdRng) {
        let Some(room) = self.rooms.get(rng.random_range(0..self.rooms.len())) else { return };
        let mark = self.ledger.sent.lock().send(self.number, *room).to_string();
        let body = format!("{mark} {}", "x".repeat(self.ledger.body_bytes.load(Ordering::Relaxed)));
        let name = self.ledger.rooms.get(*room).map(RoomId::as_str).unwrap_or_default();
        // A message that is no message stays unsettled, and is seen in the verdict.
        if let Ok(publish) = Publish::parse(&mark, name, &body) {
            self.client.act(|client| client.send(publish)).await;
        }
    }
}
