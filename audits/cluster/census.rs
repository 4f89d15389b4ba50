//! The connection counter, through random comings and goings of clients and instances.
//!
//! After each step every count must be right within 4 s: the last `count` frame of each client, and `GET /v1/stats` of each
//! instance. Until then no count may be above the larger of the old and the new truth, or below the smaller one; after that it
//! must stay right until the next step.

mod stage;
mod visitor;

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use hubbub_audits::outcome::{Outcome, median_and_max, row};
use stage::Stage;

/// The promise: how long the counter may be wrong.
const LIMIT: Duration = Duration::from_secs(4);
/// A step after which the counter is wrong for so long ends the audit.
const HOPELESS: Duration = Duration::from_secs(30);
/// Clients above which none come.
const FULL: usize = 80;
/// Most clients that come or go in one step.
const PARTY: usize = 12;
/// Longest rest after a step, in which the counter has to stay right.
const REST_MS: u64 = 700;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Steps to take.
    #[arg(long, default_value_t = 200)]
    steps: usize,

    /// Seed of the random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Connect,
    Leave,
    Cut,
    Kill,
    Start,
    KillAndStart,
    TerminateAndStart,
    /// Some of the others, one after the other without a rest.
    Several,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Connect,
        Self::Leave,
        Self::Cut,
        Self::Kill,
        Self::Start,
        Self::KillAndStart,
        Self::TerminateAndStart,
        Self::Several,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "clients connect",
            Self::Leave => "clients close",
            Self::Cut => "clients are cut off",
            Self::Kill => "SIGKILL",
            Self::Start => "an instance starts",
            Self::KillAndStart => "SIGKILL, started again at once",
            Self::TerminateAndStart => "SIGTERM, started again",
            Self::Several => "several of these at once",
        }
    }
}

/// Runs the audit.
pub(crate) async fn run(options: &Options) -> Outcome {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut stage = Stage::open().await;
    let mut times: BTreeMap<Step, Vec<Duration>> = BTreeMap::new();
    // On a Redis that has just been started, counts are `settling` for the length of a lease.
    let (_, unsettled) = stage.settled(Instant::now(), HOPELESS, HOPELESS).await;
    let mut broken = Vec::from_iter(unsettled);
    for number in 1..=options.steps {
        let step = choose(&stage, &mut random);
        let done = act(&mut stage, step, &mut random).await;
        let step_name = format!("step {number} ({}), {} clients", step.name(), stage.truth());
        let (took, late) = stage.settled(done, LIMIT, HOPELESS).await;
        times.entry(step).or_default().push(took);
        if took > LIMIT {
            broken.push(format!("{step_name}: right after {took:?} only: {}", late.unwrap_or_default()));
        }
        sleep(Duration::from_millis(random.random_range(0..=REST_MS))).await;
        broken.extend(stage.take_wrong().into_iter().map(|wrong| format!("{step_name}: {wrong}")));
        if took >= HOPELESS {
            broken.push(format!("{step_name}: given up"));
            break;
        }
    }
    let mut table = vec![row([&"step", &"times", &"right after (median)", &"(longest)"])];
    for (step, times) in times {
        let (median, max) = median_and_max(&times);
        table.push(row([&step.name(), &times.len(), &median, &max]));
    }
    Outcome { table, broken }
}

/// A step that can be taken now.
fn choose(stage: &Stage, random: &mut StdRng) -> Step {
    loop {
        let step = Step::ALL[random.random_range(0..Step::ALL.len())];
        let possible = match step {
            Step::Connect => stage.clients() + PARTY <= FULL,
            Step::Leave | Step::Cut => stage.clients() > stage.running().len(),
            Step::Start => stage.running().len() < stage::INSTANCES,
            // One instance has to stay, to be asked.
            Step::Kill | Step::KillAndStart | Step::TerminateAndStart => stage.running().len() > 1,
            Step::Several => true,
        };
        if possible {
            return step;
        }
    }
}

/// Takes the step. Returns from when on the counter has its time: what is swept is swept by the moment of the loss.
async fn act(stage: &mut Stage, step: Step, random: &mut StdRng) -> Instant {
    let running = stage.running();
    let place = running[random.random_range(0..running.len())];
    let (fullest, party) = (stage.fullest(), random.random_range(1..=PARTY));
    match step {
        Step::Connect => stage.connect(place, party).await,
        Step::Leave => stage.leave(fullest, party).await,
        Step::Cut => stage.cut(fullest, party),
        Step::Kill => stage.kill(place).await,
        Step::Start => stage.start_missing().await,
        Step::KillAndStart => {
            let killed = stage.kill(place).await;
            stage.start(place).await;
            killed
        }
        Step::TerminateAndStart => {
            stage.terminate(place).await;
            stage.start(place).await
        }
        Step::Several => several(stage, random).await,
    }
}

/// Two to four steps without a rest. Returns when the last of them was taken.
async fn several(stage: &mut Stage, random: &mut StdRng) -> Instant {
    let mut left = random.random_range(2..=4);
    let mut done = Instant::now();
    while left > 0 {
        let step = choose(stage, random);
        if step != Step::Several {
            done = done.max(Box::pin(act(stage, step, random)).await);
            left -= 1;
        }
    }
    done
}
