//! One measurement: start, connect, settle, load, wait for the rest, end.

use std::{process, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    dialect::{Peer, hubbub::Hubbub, nats::Nats, plain::Plain, raw::Raw, socket_io::SocketIo},
    options::{Load, Options},
    progress,
    schedule::{Schedule, nanos, now},
    subject::Subject,
    swarm::Swarm,
    tally::{Counts, Tally},
    target::Target,
    usage::{Cpu, machine_load, resident_kib},
};

/// All clients must have come by then, beyond what a ramp takes.
const ASSEMBLE_LIMIT: Duration = Duration::from_mins(2);
/// Between the last connection and the look at the memory.
const SETTLE: Duration = Duration::from_secs(2);
/// Between the order to send and the first message.
const RUN_UP: Duration = Duration::from_millis(200);
/// Without a delivery for so long, nothing more comes.
const QUIET: Duration = Duration::from_secs(1);
/// How long to wait for that.
const QUIET_LIMIT: Duration = Duration::from_secs(20);

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// What is measured.
    pub(crate) subject: Subject,
    /// In which round, from 1.
    pub(crate) round: u32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was measured, and when.
    pub(crate) turn: Turn,
    /// Everything the clients counted.
    pub(crate) tally: Tally,
    /// Messages that did not come to a client, over all clients.
    pub(crate) lost: u64,
    /// Those that were still to come when the waiting ended.
    pub(crate) late: u64,
    /// What was counted within the measured time only.
    pub(crate) window: Window,
    /// From the first connection attempt to the last welcome.
    pub(crate) assembled: Duration,
    /// Memory of the servers before and after the clients came, in KiB; absent if their processes are not known.
    pub(crate) resident_kib: Option<(u64, u64)>,
    /// The load of the machine at the end.
    pub(crate) machine_load: String,
}

/// The measured time.
#[derive(Debug)]
pub(crate) struct Window {
    /// How long it was.
    pub(crate) length: Duration,
    /// Message frames that came to clients.
    pub(crate) delivered: u64,
    /// Messages that were acknowledged.
    pub(crate) accepted: u64,
    /// CPU time of the servers, if their processes are known.
    pub(crate) servers: Option<Cpu>,
    /// CPU time of Redis, if it was started here.
    pub(crate) relays: Option<Cpu>,
    /// CPU time of this process.
    pub(crate) generator: Cpu,
}

/// Everything that is read at the beginning and the end of the window.
struct Snapshot {
    at: Instant,
    counts: Counts,
    servers: Cpu,
    relays: Cpu,
    generator: Cpu,
}

/// Measures once.
pub(crate) async fn run(turn: Turn, options: &Options, load: &Load) -> Result<Outcome> {
    let target = Target::start(turn.subject, options, load).await?;
    match turn.subject {
        Subject::Hubbub | Subject::Recorded => measure::<Hubbub>(turn, target, load).await,
        Subject::Raw => measure::<Raw>(turn, target, load).await,
        Subject::SocketIo | Subject::Socketioxide => measure::<SocketIo>(turn, target, load).await,
        Subject::Nats => measure::<Nats>(turn, target, load).await,
        Subject::Ws | Subject::Uwebsockets | Subject::Axum => measure::<Plain>(turn, target, load).await,
    }
}

async fn measure<P: Peer>(turn: Turn, mut target: Target, load: &Load) -> Result<Outcome> {
    let empty = resident_kib(&target.servers)?;
    let swarm = Swarm::gather::<P>(load, &target.addresses)?;
    let assembled = assemble(&swarm, load).await?;
    sleep(SETTLE).await;
    let full = resident_kib(&target.servers)?;

    let schedule = plan(load)?;
    swarm.expect(schedule.clone());
    target.begin(&swarm, &schedule).await?;
    let started = Instant::now() + RUN_UP;
    sleep_until(started).await;
    watch(&swarm, load, started, 0..load.warmup).await;
    let before = Snapshot::take(&target, &swarm)?;
    watch(&swarm, load, started, load.warmup..load.warmup + load.seconds).await;
    let after = Snapshot::take(&target, &swarm)?;
    let machine_load = machine_load();

    let silent = falls_silent(&swarm).await;
    let (tally, absent) = swarm.disperse()?;
    let (lost, late) =
        if silent { (absent.skipped + absent.outstanding, 0) } else { (absent.skipped, absent.outstanding) };
    let window = Window {
        length: after.at - before.at,
        delivered: after.counts.delivered - before.counts.delivered,
        accepted: after.counts.accepted - before.counts.accepted,
        servers: (!target.servers.is_empty()).then(|| after.servers - before.servers),
        relays: (!target.relays.is_empty()).then(|| after.relays - before.relays),
        generator: after.generator - before.generator,
    };
    let resident_kib = (!target.servers.is_empty()).then_some((empty, full));
    Ok(Outcome { turn, tally, lost, late, window, assembled, resident_kib, machine_load })
}

/// Waits until every client has come or was turned away. Returns how long that took.
async fn assemble(swarm: &Swarm, load: &Load) -> Result<Duration> {
    let ramp = load.ramp.map_or(0.0, |ramp| f64::from(load.clients) / ramp);
    let limit = ASSEMBLE_LIMIT + Duration::try_from_secs_f64(ramp)?;
    let mut next_line = Duration::from_secs(1);
    loop {
        sleep(Duration::from_millis(5)).await;
        let counts = swarm.counts();
        if counts.connected + counts.turned_away >= u64::from(load.clients) {
            ensure!(counts.connected > 0, "no client could connect{}", swarm.troubles());
            return Ok(swarm.age());
        }
        let came = format!("{} of {} clients connected", counts.connected, load.clients);
        ensure!(swarm.age() < limit, "{came} within {limit:?}{}", swarm.troubles());
        if swarm.age() > next_line {
            progress::print(&came);
            next_line += Duration::from_secs(1);
        }
    }
}

fn plan(load: &Load) -> Result<Schedule> {
    let interval = nanos(load.interval());
    let start = now() + nanos(RUN_UP);
    Ok(Schedule {
        start,
        interval,
        // the interval is a whole number of nanoseconds, so the last one may be due a little early or late
        messages: u32::try_from((nanos(load.duration()) + interval / 2) / interval)?,
        senders: load.senders,
        measured_from: start + nanos(Duration::from_secs(load.warmup.into())),
    })
}

/// Waits for these seconds, counted from the first message, with a line for each, and makes the waves.
async fn watch(swarm: &Swarm, load: &Load, started: Instant, seconds: std::ops::Range<u32>) {
    let mut before = swarm.counts();
    for second in seconds {
        sleep_until(started + Duration::from_secs((second + 1).into())).await;
        let counts = swarm.counts();
        progress::print(&format!(
            "{:>4} of {} s: accepted {}, delivered {} ({} in this second)",
            second + 1,
            load.warmup + load.seconds,
            counts.accepted,
            counts.delivered,
            counts.delivered - before.delivered,
        ));
        before = counts;
        if load.reconnect > 0 && (second + 1) % load.wave == 0 {
            swarm.wave();
        }
    }
}

/// Waits until nothing more is delivered and every publish is answered, but not for ever. Returns whether the last look
/// found nothing more delivered: what has not come then is lost.
async fn falls_silent(swarm: &Swarm) -> bool {
    let deadline = Instant::now() + QUIET_LIMIT;
    let (mut before, mut silent) = (swarm.counts(), false);
    while Instant::now() < deadline {
        sleep(QUIET).await;
        let counts = swarm.counts();
        silent = counts.delivered == before.delivered;
        if silent && counts.unanswered() == 0 {
            return true;
        }
        before = counts;
    }
    progress::print(&format!("{QUIET_LIMIT:?} after the last message not all of them had come; no longer waited for"));
    silent
}

impl Snapshot {
    fn take(target: &Target, swarm: &Swarm) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            counts: swarm.counts(),
            servers: Cpu::of(&target.servers)?,
            relays: Cpu::of(&target.relays)?,
            generator: Cpu::of(&[process::id()])?,
        })
    }
}
