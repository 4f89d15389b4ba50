//! One attack, from quiet to quiet.

use std::{
    env,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use hubbub_testbed::{Redis, Server, signal, unique, within};
use tokio::{
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Options,
    attack::Attack,
    crowd::{self, Account},
    health::{self, Answers},
    window,
};

/// The server's own default, which the testbed replaces otherwise.
const MAX_PER_ADDRESS: &str = "1000";
/// From the start of the attackers to the first person.
const HEAD_START: Duration = Duration::from_secs(2);
/// How long the instance may take to give everything back.
const RECOVERY: Duration = Duration::from_secs(20);
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// Descriptors that may differ between two quiet moments, for Redis and the like.
const SPARE_DESCRIPTORS: usize = 8;

/// What an instance uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) descriptors: usize,
    pub(crate) connections: f64,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) attack: Attack,
    /// What the attackers say that they did.
    pub(crate) attackers: String,
    pub(crate) quiet: Account,
    pub(crate) attacked: Account,
    pub(crate) public: Answers,
    pub(crate) admin: Answers,
    /// The age of the youngest cursor that could not be resumed from.
    pub(crate) window: Option<Duration>,
    pub(crate) before: Usage,
    pub(crate) peak_bytes: u64,
    pub(crate) after: Usage,
    pub(crate) exit: ExitStatus,
    /// Warnings of tasks that did not end.
    pub(crate) stuck: usize,
}

/// Starts an instance, measures it in quiet and under attack, and ends it.
pub(crate) async fn run(attack: Attack, redis: &Redis, options: &Options) -> Trial {
    progress(&format!("{}: quiet", attack.name()));
    let prefix = unique("perimeter");
    // the default rate for an address: servers of the testbed start without one
    let flags = [
        ["--prefix", &prefix],
        ["--max-per-address", MAX_PER_ADDRESS],
        ["--publish-rate-address", "500"],
        ["--drain-window", "500ms"],
    ]
    .concat();
    let mut server = Server::on(redis, &flags).await;
    let fresh = usage(&server).await;
    let quiet = crowd::visit(server.address(), options.people, Duration::from_secs(options.quiet)).await;
    let before = usage_like(&server, fresh).await;

    progress(&format!("{}: attack", attack.name()));
    let time = Duration::from_secs(options.seconds);
    let attackers = start_attackers(attack, server.address());
    sleep(HEAD_START).await;
    let over = CancellationToken::new();
    let visit = async {
        let account = crowd::visit(server.address(), options.people, time).await;
        over.cancel();
        account
    };
    // An instance without a health route on its admin listener answers there with its metrics.
    let path = if matches!(health::ask(server.admin(), "/health/ready").await, Ok(true)) {
        "/health/ready"
    } else {
        "/metrics"
    };
    let (attacked, public, admin, window, peak_bytes) = tokio::join!(
        visit,
        health::watch(server.address(), "/health/ready", over.clone()),
        health::watch(server.admin(), path, over.clone()),
        window::watch(server.address(), over.clone()),
        peak(&server, over.clone()),
    );
    let attackers = result_of(attackers).await;

    progress(&format!("{}: afterwards", attack.name()));
    let after = usage_like(&server, before).await;
    server.terminate().await;
    let exit = server.ended().await;
    let stuck = server.log().iter().filter(|line| line.contains("some tasks did not end in time")).count();
    Trial { attack, attackers, quiet, attacked, public, admin, window, before, peak_bytes, after, exit, stuck }
}

/// In a process of its own, of low priority.
fn start_attackers(attack: Attack, to: &str) -> Child {
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(env::current_exe().unwrap());
    command.args(["attack", &attack.name(), "--to", to]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

/// Ends them. Returns what they say that they did.
async fn result_of(attackers: Child) -> String {
    signal(attackers.id().unwrap(), "TERM").await;
    let output = within(attackers.wait_with_output()).await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn usage(server: &Server) -> Usage {
    Usage {
        bytes: server.resident_bytes(),
        descriptors: server.open_descriptors(),
        connections: server.metric("hubbub_connections", "").await,
    }
}

/// What the instance uses as soon as it has no more connections and descriptors than before, or at the end of the time that
/// it has to recover.
async fn usage_like(server: &Server, before: Usage) -> Usage {
    let began = Instant::now();
    loop {
        let now = usage(server).await;
        let is_like = now.descriptors <= before.descriptors + SPARE_DESCRIPTORS && now.connections < 1.0;
        if is_like || began.elapsed() > RECOVERY {
            return now;
        }
        sleep(SAMPLE).await;
    }
}

/// The most memory that it uses at a time.
async fn peak(server: &Server, over: CancellationToken) -> u64 {
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut peak = 0;
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        peak = peak.max(server.resident_bytes());
    }
    peak
}

#[expect(clippy::print_stderr, reason = "each trial takes more than a minute")]
fn progress(what: &str) {
    eprintln!("{what}");
}
