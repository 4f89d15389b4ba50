//! The clients that receive, and leave now and then.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use anyhow::Result;
use hubbub_client::{Client, Event};
use hubbub_protocol::{Message, Seq};
use hubbub_testbed::{
    Observer, TestClient,
    ledger::{Breach, Delivery, Mark, Reading},
};
use rand::{RngExt, rngs::StdRng};
use tokio::time::{Instant, sleep_until};

use super::{Ledger, Phase};

/// How long a client that closes waits for the server's close frame.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);
/// How long a receiver that leaves stays away, at most.
const LONGEST_ABSENCE: Duration = Duration::from_millis(1500);
/// What a receiver sees, entered into its reading.
pub(super) struct Receiver {
    pub(super) number: usize,
    pub(super) ledger: Arc<Ledger>,
    instance: String,
    pub(super) was_live: bool,
    /// Messages out of order, as its client counts them.
    reordered: u64,
}

impl Observer for Receiver {
    fn on_event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Live => self.ledger.count_live(&mut self.was_live),
            Event::Connected { instance, .. } => self.instance = instance,
            Event::Message(message) => self.enter(&message, |reading, delivery, elsewhere| {
                reading.deliver(delivery);
                if let Some(elsewhere) = elsewhere {
                    reading.displaced(delivery, elsewhere);
                }
            }),
            Event::Repeated(message) => self.enter(&message, Reading::repeat),
            Event::Reset { seq, reason } => {
                let circumstances = format!("{reason:?} on {}", self.instance);
                self.ledger.reading(self.number, |reading, at| reading.reset(seq, at, circumstances));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn on_state(&mut self, client: &Client) {
        self.reordered = client.violations().reordered;
    }

    fn on_end(&mut self) {
        let forbidden = "the server forbade to come back".to_owned();
        self.ledger.reading(self.number, |reading, at| reading.ended(at, forbidden));
    }
}

impl Receiver {
    pub(super) fn new(number: usize, ledger: Arc<Ledger>) -> Self {
        Self { number, ledger, instance: String::new(), was_live: false, reordered: 0 }
    }

    /// Enters a message, with another `seq` under which a receiver has seen it.
    fn enter(&self, message: &Message, act: impl FnOnce(&mut Reading, Delivery<'_>, Option<Seq>)) {
        let Message { seq, was, record, first } = message;
        let room = self.ledger.room(&record.room);
        let Ok(mark) = record.id.as_str().parse::<Mark>() else { return };
        let elsewhere = {
            let mut sent = self.ledger.sent.lock();
            sent.learned(mark, first.or(*was).unwrap_or(*seq));
            was.is_none().then(|| sent.saw(mark, *seq)).flatten()
        };
        self.ledger.reading(self.number, |reading, at| {
            act(reading, Delivery { mark, room, seq: *seq, was: *was, at, instance: &self.instance }, elsewhere);
        });
    }
}

/// Lets a receiver disconnect and come back at random times.
pub(super) struct Visits {
    pub(super) number: usize,
    pub(super) client: TestClient<Receiver>,
    pub(super) ledger: Arc<Ledger>,
    /// How long it stays connected, on average; for ever if this is 0.
    pub(super) stay: Duration,
}

impl Visits {
    pub(super) async fn run(self, mut rng: StdRng) -> Result<()> {
        let mut phases = self.ledger.phase.subscribe();
        let mut leaves_at = Instant::now() + self.stay(&mut rng);
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Over {
                // What it found out of order makes no event.
                if !self.client.is_over() {
                    self.client.act(|_| ()).await;
                }
                let reordered = self.client.account().reordered;
                self.ledger.reading(self.number, |reading, _| reading.found(Breach::Reordered, reordered));
                return Ok(());
            }
            let may_leave = phase == Phase::Publishing && !self.stay.is_zero() && !self.client.is_over();
            tokio::select! {
                () = sleep_until(leaves_at), if may_leave => {
                    self.leave(&mut rng).await;
                    leaves_at = Instant::now() + self.stay(&mut rng);
                }
                Ok(()) = phases.changed() => leaves_at = Instant::now() + self.stay(&mut rng),
            }
        }
    }

    /// Half of the time without a close frame. While it is away, it has to be kept what it misses.
    async fn leave(&self, rng: &mut StdRng) {
        self.ledger.reading(self.number, |reading, _| reading.leave());
        let close_limit = rng.random::<bool>().then_some(CLOSE_LIMIT);
        self.client.stay_away(LONGEST_ABSENCE.mul_f64(rng.random()), close_limit).await;
        // It is answered when the client is back.
        self.client.act(|_| ()).await;
        self.ledger.reading(self.number, Reading::come_back);
    }

    /// How long it stays: exponentially distributed.
    fn stay(&self, rng: &mut StdRng) -> Duration {
        self.stay.mul_f64(-rng.random_range(f64::MIN_POSITIVE..1.0).ln())
    }
}
