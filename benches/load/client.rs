//! One client: it receives, and may publish, be slow, or leave and come back.
//!
//! It is no `TestClient`: it takes frames without parsing or copying them, since what is measured is the server, and it has to
//! use the protocols of other servers as well.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use hubbub_client::Backoff;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    dialect::{Entry, Peer, Received},
    ledger::{Ledger, Reader},
    options::Load,
    schedule::{Schedule, Stamp, nanos, now},
    tally::Tally,
};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// What a slow reader waits after each message.
const SLOW_PAUSE: Duration = Duration::from_millis(100);
/// The kernel's receive buffer of a slow reader, so that it is slow soon.
const SLOW_BUFFER_BYTES: u32 = 4096;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What they do.
    pub(crate) load: Load,
    /// When the first may connect.
    pub(crate) opening: Instant,
    /// Handshakes that may be under way.
    pub(crate) handshakes: Semaphore,
    /// Set when the messages begin.
    pub(crate) schedule: OnceLock<Schedule>,
    /// Messages of each sender that were accepted.
    pub(crate) accepted: Vec<AtomicU32>,
    /// The number of waves so far.
    pub(crate) waves: watch::Sender<u32>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    number: u32,
    address: String,
    stage: Arc<Stage>,
    tally: Arc<Mutex<Tally>>,
    /// How many of its messages are due; none comes if it does not publish.
    due: watch::Receiver<u32>,
    waves: watch::Receiver<u32>,
    account: usize,
    sent: u32,
}

impl Client {
    /// A client that is not connected yet. The senders are the first numbers; `due` is when they publish.
    pub(crate) fn new(
        number: u32,
        address: String,
        stage: Arc<Stage>,
        tally: Arc<Mutex<Tally>>,
        due: watch::Receiver<u32>,
    ) -> Self {
        let waves = stage.waves.subscribe();
        Self { number, address, stage, tally, due, waves, account: usize::MAX, sent: 0 }
    }

    /// Comes, and stays until it is dropped. One that cannot come at first does not try again.
    pub(crate) async fn run<P: Peer>(mut self) {
        if let Some(ramp) = self.stage.load.ramp {
            sleep_until(self.stage.opening + Duration::from_secs_f64(f64::from(self.number) / ramp)).await;
        }
        let opened = self.open::<P>(None).await;
        let Some(mut peer) = self.register(opened) else { return };
        loop {
            if let Err(error) = self.attend(&mut peer).await {
                let mut tally = self.tally.lock();
                tally.counts.cut += 1;
                tally.trouble(&error);
            }
            let cursor = peer.cursor();
            drop(peer);
            let Some(again) = self.come_back(cursor).await else { return };
            peer = again;
        }
    }

    /// Begins its account, if it is connected.
    fn register<P>(&mut self, opened: Result<P>) -> Option<P> {
        let mut tally = self.tally.lock();
        if let Err(error) = &opened {
            tally.trouble(error);
            tally.counts.turned_away += 1;
        } else {
            let Load { rooms, senders, .. } = self.stage.load;
            self.account = tally.ledgers.len();
            tally.ledgers.push(Ledger::new(self.room(), rooms, senders, self.reader()));
            tally.counts.connected += 1;
        }
        drop(tally);
        opened.ok()
    }

    fn room(&self) -> u32 {
        self.number % self.stage.load.rooms
    }

    fn reader(&self) -> Reader {
        self.stage.load.reader(self.number)
    }

    async fn open<P: Peer>(&self, cursor: Option<u64>) -> Result<P> {
        let receive_buffer_bytes = (self.reader() == Reader::Slow).then_some(SLOW_BUFFER_BYTES);
        let entry = Entry { address: self.address.clone(), room: self.room(), cursor, receive_buffer_bytes };
        let _turn = self.stage.handshakes.acquire().await?;
        let began = Instant::now();
        let peer = timeout(CONNECT_LIMIT, P::open(&entry)).await??;
        self.tally.lock().handshake.record(nanos(began.elapsed()));
        Ok(peer)
    }

    /// Tries until it is connected again, or the swarm ends.
    async fn come_back<P: Peer>(&self, cursor: Option<u64>) -> Option<P> {
        let mut failed = 0;
        while !self.stage.handshakes.is_closed() {
            match self.open(cursor).await {
                Ok(peer) => {
                    self.tally.lock().counts.resumed += 1;
                    return Some(peer);
                }
                Err(error) => self.tally.lock().trouble(&error),
            }
            sleep(Backoff::default().wait(failed)).await;
            failed += 1;
        }
        None
    }

    /// Returns when it is its turn to go.
    async fn attend<P: Peer>(&mut self, peer: &mut P) -> Result<()> {
        let load = &self.stage.load;
        let (publishes, goes) = (self.number < load.senders, load.reconnect > 0);
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.due.changed(), if publishes => self.publish_due(peer).await?,
                received = peer.next() => {
                    if self.note(received?) == Reader::Slow {
                        sleep(SLOW_PAUSE).await;
                    }
                }
                Ok(()) = self.waves.changed(), if goes => {
                    let wave = *self.waves.borrow_and_update();
                    if self.stage.load.goes(self.number, wave) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Publishes what is due.
    async fn publish_due<P: Peer>(&mut self, peer: &mut P) -> Result<()> {
        let Some(schedule) = self.stage.schedule.get() else { return Ok(()) };
        let due = *self.due.borrow_and_update();
        while self.sent < due {
            let stamp = schedule.stamp_of(self.number, self.sent);
            self.sent += 1;
            self.tally.lock().counts.sent += 1;
            let received = peer.publish(self.number % self.stage.load.rooms, stamp, self.stage.load.size).await?;
            self.tally.lock().lag.record(now().saturating_sub(stamp.due));
            self.note(received);
        }
        Ok(())
    }

    /// Counts what came. Returns whether to wait before the next.
    fn note(&self, received: Received) -> Reader {
        let at = now();
        let mut tally = self.tally.lock();
        match received {
            Received::Message(stamp) => {
                tally.delivered(self.account, stamp);
                return self.time(&mut tally, stamp, at);
            }
            Received::Replayed(stamp) => {
                tally.delivered(self.account, stamp);
                tally.counts.replayed += 1;
                return self.reader();
            }
            Received::Accepted => {
                tally.counts.accepted += 1;
                let mine = usize::try_from(self.number).ok().and_then(|number| self.stage.accepted.get(number));
                mine.map(|accepted| accepted.fetch_add(1, Ordering::Relaxed));
            }
            Received::Refused => tally.counts.refused += 1,
            Received::Reset => tally.counts.reset += 1,
            Received::Other => {}
        }
        Reader::Prompt
    }

    /// Only readers without a pause measure how long a message took.
    fn time(&self, tally: &mut Tally, stamp: Stamp, at: u64) -> Reader {
        let reader = self.reader();
        if let Some(schedule) = self.stage.schedule.get().filter(|_| reader == Reader::Prompt) {
            tally.timed(schedule, stamp.due, at);
        }
        reader
    }
}
