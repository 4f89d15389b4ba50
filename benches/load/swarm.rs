//! All clients, on few threads.

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};
use parking_lot::Mutex;
use tokio::{
    runtime,
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    client::{Client, Stage},
    dialect::Peer,
    ledger::Absent,
    options::Load,
    schedule::Schedule,
    tally::{Counts, Tally},
};

/// All clients. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Swarm {
    stage: Arc<Stage>,
    groups: Vec<Group>,
    due: Vec<watch::Sender<u32>>,
    end: CancellationToken,
    ends: DropGuard,
}

/// The clients of one thread.
#[derive(Debug)]
struct Group {
    tally: Arc<Mutex<Tally>>,
    thread: JoinHandle<Result<()>>,
}

impl Swarm {
    /// Begins to connect them to these servers in turn. The senders have a thread of their own.
    pub(crate) fn gather<P: Peer>(load: &Load, addresses: &[String]) -> Result<Self> {
        let stage = Arc::new(Stage {
            load: load.clone(),
            opening: Instant::now(),
            handshakes: Semaphore::new(usize::try_from(load.handshakes)?),
            schedule: OnceLock::new(),
            accepted: (0..load.senders).map(|_| AtomicU32::new(0)).collect(),
            waves: watch::Sender::new(0),
        });
        let due = (0..load.senders).map(|_| watch::Sender::new(0)).collect();
        let end = CancellationToken::new();
        let mut swarm = Self { stage, groups: Vec::new(), due, ends: end.clone().drop_guard(), end };
        swarm.add::<P>("senders", addresses, 0..load.senders, 1)?;
        for thread in 0..load.threads {
            let first = load.senders + thread;
            swarm.add::<P>(&format!("readers-{thread}"), addresses, first..load.clients, load.threads)?;
        }
        Ok(swarm)
    }

    fn add<P: Peer>(&mut self, name: &str, addresses: &[String], numbers: Range<u32>, step: u32) -> Result<()> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let silent = watch::Sender::new(0);
        let clients = numbers.step_by(usize::try_from(step)?).map(|number| {
            let index = usize::try_from(number)?;
            let address = addresses.iter().cycle().nth(index % addresses.len().max(1));
            let address = address.ok_or_else(|| anyhow!("no server to connect to"))?.clone();
            let due = self.due.get(index).unwrap_or(&silent).subscribe();
            Ok(Client::new(number, address, Arc::clone(&self.stage), Arc::clone(&tally), due))
        });
        let clients = clients.collect::<Result<Vec<_>>>()?;
        let end = self.end.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // the clients end with the runtime
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let tasks = TaskTracker::new();
                for client in clients {
                    tasks.spawn(client.run::<P>());
                }
                end.cancelled().await;
            });
            Ok(())
        })?;
        self.groups.push(Group { tally, thread });
        Ok(())
    }

    /// What they have counted so far.
    pub(crate) fn counts(&self) -> Counts {
        self.groups.iter().map(|group| group.tally.lock().counts).sum()
    }

    /// Why some are not connected, for a person.
    pub(crate) fn troubles(&self) -> String {
        let troubles = self.groups.iter().flat_map(|group| group.tally.lock().troubles.clone());
        troubles.fold(String::new(), |all, (what, often)| all + &format!("; {often} times: {what}"))
    }

    /// Since when they connect.
    pub(crate) fn age(&self) -> Duration {
        self.stage.opening.elapsed()
    }

    /// From here on what comes is timed.
    pub(crate) fn expect(&self, schedule: Schedule) {
        // A swarm has one schedule, and a second would change nothing.
        self.stage.schedule.get_or_init(|| schedule);
    }

    /// Lets the senders publish by the schedule, from a thread that ends with it.
    pub(crate) fn publish(&self, schedule: Schedule) -> Result<()> {
        let due = self.due.clone();
        thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            for stamp in schedule.stamps() {
                let sender = usize::try_from(stamp.sender).ok().and_then(|sender| due.get(sender));
                sender.map(|sender| sender.send_replace(stamp.number + 1));
            }
        })?;
        Ok(())
    }

    /// What a server sends by itself counts as accepted.
    pub(crate) fn accept_all(&self, schedule: &Schedule) {
        for (sender, accepted) in (0..).zip(&self.stage.accepted) {
            accepted.store(schedule.share(sender), Ordering::Relaxed);
        }
    }

    /// Makes the next ones go and come back.
    pub(crate) fn wave(&self) {
        self.stage.waves.send_modify(|waves| *waves += 1);
    }

    /// Ends them. Returns all they counted, and how many messages did not come.
    pub(crate) fn disperse(self) -> Result<(Tally, Absent)> {
        self.stage.handshakes.close();
        drop(self.ends);
        let mut all = Tally::default();
        for group in self.groups {
            group.thread.join().map_err(|_| anyhow!("a thread of clients panicked"))??;
            all.merge(std::mem::take(&mut *group.tally.lock()));
        }
        let accepted: Vec<_> = self.stage.accepted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let absent = all.ledgers.iter().map(|ledger| ledger.absent(&accepted)).sum();
        Ok((all, absent))
    }
}
