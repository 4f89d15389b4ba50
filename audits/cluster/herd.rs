//! Many clients that reconnect at once when their instance is killed.
//!
//! All of them are on one of three instances, while others publish through the two that will stay. The instance is killed;
//! the clients go to the other two with their cursors. They must be live again within 5 s, having missed, repeated and
//! swapped nothing; and what they missed must come from the rings: Redis is hardly asked.

mod load;
mod meter;

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use hubbub_client::{Backoff, Config, Violations};
use hubbub_lifecycle::metric::RESUMES;
use hubbub_protocol::{MessageId, RoomId, Seq};
use hubbub_testbed::{PATIENCE, Redis, Server, TestClient, Transcript, eventually, signal};
use tokio::time::{Instant, sleep};

use hubbub_audits::outcome::{Outcome, median_and_max, row};
use load::{Load, Published};
use meter::Work;

/// Reconnects soon: what is measured is the server.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(1) };
/// The promise: how long until the last client is live again.
const LIMIT: Duration = Duration::from_secs(5);
/// An instance asks the log so often although nothing seems missing.
const SYNCS_A_SECOND: f64 = 2.0;
/// Reads of the log that the return of a whole herd may cost beside these.
const EXTRA_READS: f64 = 36.0;
/// What of Redis' work is shown.
const COMMANDS: [&str; 5] = ["evalsha", "xrange", "xadd", "publish", "ping"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Clients of the instance that is killed.
    #[arg(long, default_value_t = 2000)]
    clients: usize,

    /// Rooms they are in, one each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=32))]
    rooms: u16,

    /// Messages a second, over all rooms.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,

    /// Seconds of load before the kill and after the return.
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Milliseconds for which another instance is stopped (SIGSTOP) before the kill, so that cursors are ahead of it.
    #[arg(long, default_value_t = 0)]
    standstill: u64,
}

/// Runs the audit.
pub(crate) async fn run(options: &Options) -> Outcome {
    // a descriptor for each client; what the limit does not allow fails loudly
    let _raised = rlimit::increase_nofile_limit(u64::MAX);
    let redis = Redis::start().await;
    let flags = ["--publish-rate", "10000", "--publish-burst", "10000"];
    let (mut victim, left, right) =
        tokio::join!(Server::on(&redis, &flags), Server::on(&redis, &flags), Server::on(&redis, &flags));
    let rooms: Vec<RoomId> = (0..options.rooms).map(|n| format!("room-{n}").parse().unwrap()).collect();
    let ways = [Server::addresses(&[&victim, &left, &right]), Server::addresses(&[&victim, &right, &left])];
    let herd = gather(options.clients, &ways, &rooms).await;

    let load = Load::start(&[left.address(), right.address()], &rooms, options.rate).await;
    let time = Duration::from_secs(options.seconds);
    let (steady, ()) = meter::during(&redis, sleep(time)).await;
    let standstill = Duration::from_millis(options.standstill);
    let (meanwhile, returned) = meter::during(&redis, lose(&mut victim, &right, standstill, &herd)).await;
    sleep(time).await;
    let published = load.stop().await;
    received_all(&herd, &published).await;

    let (ring, reset) = (resumes(&left, &right, "ring").await, resumes(&left, &right, "reset").await);
    let mut broken = Vec::new();
    for one in &herd {
        broken.extend(one.broken(&published[&one.room]).await);
    }
    judge(options, &herd, &published, Run { steady, meanwhile, returned, ring, reset, broken })
}

/// A client in one room, in a task.
struct Returning {
    room: RoomId,
    client: TestClient<Transcript>,
}

impl Returning {
    /// Goes from one address to the next.
    fn spawn(addresses: Vec<String>, room: RoomId) -> Self {
        let name = "Returning".parse().unwrap();
        let config = Config { backoff: BACKOFF, ..Config::new(addresses, name, vec![room.clone()]) };
        Self { room, client: TestClient::with(config) }
    }

    /// What it should have seen otherwise: `published` is everything that was published in its room, in order.
    async fn broken(&self, published: &[(Seq, MessageId)]) -> Option<String> {
        // What the client drops makes no event: it is in the transcript after a command.
        self.client.act(|_| ()).await;
        let Transcript { messages, resets, violations, .. } = &*self.client.transcript();
        let received: Vec<_> = messages.iter().map(|message| (message.seq, message.record.id.clone())).collect();
        if received == published && resets.is_empty() && *violations == Violations::default() {
            return None;
        }
        let ids = |messages: &[(Seq, MessageId)]| messages.iter().map(|(_, id)| id.clone()).collect::<BTreeSet<_>>();
        let (missed, again) =
            (ids(published).difference(&ids(&received)).count(), received.len() - ids(&received).len());
        let elsewhere = received.iter().filter(|message| published.binary_search(message).is_err()).count();
        let (room, resets) = (&self.room, resets.len());
        Some(format!(
            "a client of {room} missed {missed}, had {again} again and {elsewhere} in other places: {violations:?}, {resets} resets"
        ))
    }
}

/// So many clients, live at the first address of their ways, and spread over the rooms.
async fn gather(clients: usize, ways: &[Vec<String>], rooms: &[RoomId]) -> Vec<Returning> {
    let began = Instant::now();
    let room = |n: usize| rooms[n / ways.len() % rooms.len()].clone();
    let herd: Vec<Returning> = (0..clients).map(|n| Returning::spawn(ways[n % ways.len()].clone(), room(n))).collect();
    all_live_since(&herd, began).await;
    herd
}

/// Kills the instance after another one has been stopped (SIGSTOP) for some time. Returns how long after that each client
/// was live again.
async fn lose(victim: &mut Server, other: &Server, standstill: Duration, herd: &[Returning]) -> Vec<Duration> {
    if !standstill.is_zero() {
        signal(other.pid(), "STOP").await;
        sleep(standstill).await;
    }
    let killed = Instant::now();
    victim.kill().await;
    // has no effect if it was not stopped
    signal(other.pid(), "CONT").await;
    all_live_since(herd, killed).await
}

/// Cursors that these instances served from this source.
async fn resumes(left: &Server, right: &Server, source: &str) -> f64 {
    let labels = format!("source=\"{source}\"");
    left.metric(RESUMES, &labels).await + right.metric(RESUMES, &labels).await
}

/// What was measured beside the messages.
struct Run {
    steady: Work,
    meanwhile: Work,
    /// Time from the kill until each client was live again.
    returned: Vec<Duration>,
    ring: f64,
    reset: f64,
    /// What clients should have seen otherwise.
    broken: Vec<String>,
}

/// Waits until all are live on a connection made after `moment`. Returns how long after it each was.
async fn all_live_since(herd: &[Returning], moment: Instant) -> Vec<Duration> {
    let since = |one: &Returning| one.client.transcript().live_since?.checked_duration_since(moment);
    eventually(PATIENCE * 2, || async { herd.iter().map(since).collect() }).await.0
}

/// Waits until everyone has as many messages as were published in its room, or no more come.
async fn received_all(herd: &[Returning], published: &Published) {
    let lacks = |one: &Returning| one.client.transcript().messages.len() < published[&one.room].len();
    let mut before = usize::MAX;
    loop {
        let lacking = herd.iter().filter(|one| lacks(one)).count();
        if lacking == 0 || lacking == before {
            return;
        }
        before = lacking;
        sleep(LIMIT).await;
    }
}

fn judge(options: &Options, herd: &[Returning], published: &Published, run: Run) -> Outcome {
    let Run { steady, meanwhile, returned, ring, reset, mut broken } = run;
    let (median, max) = median_and_max(&returned);
    if returned.iter().any(|time| *time > LIMIT) {
        broken.push(format!("the last client was live again after {max}, not within {LIMIT:?}"));
    }
    if reset > 0.0 {
        broken.push(format!("{reset} cursors were reset"));
    }
    // two instances are left
    let extra = meanwhile.calls("xrange") - 2.0 * SYNCS_A_SECOND * meanwhile.lasted.as_secs_f64();
    if extra > EXTRA_READS {
        broken.push(format!("{extra:.0} reads of the log beside the periodic ones"));
    }
    let deliveries: usize = herd.iter().map(|one| one.client.transcript().messages.len()).sum();
    let messages: usize = published.values().map(Vec::len).sum();
    let mut table = vec![
        row([&"measure", &"value"]),
        row([&"clients, rooms, messages a second", &format!("{}, {}, {}", herd.len(), published.len(), options.rate)]),
        row([&"messages published, messages received", &format!("{messages}, {deliveries}")]),
        row([&"live again after the kill: median, last", &format!("{median}, {max}")]),
        row([&"cursors served from the ring, reset", &format!("{ring}, {reset}")]),
        row([&"reads of the log beside the periodic ones", &format!("{:.0}", extra.max(0.0))]),
    ];
    for command in COMMANDS {
        let (before, during) = (steady.a_second(command), meanwhile.a_second(command));
        let calls = meanwhile.calls(command);
        let cell = format!("{before:.0}, {during:.0} ({calls} in {:.1} s)", meanwhile.lasted.as_secs_f64());
        table.push(row([&format!("{command} a second: before, during the return"), &cell]));
    }
    Outcome { table, broken }
}
