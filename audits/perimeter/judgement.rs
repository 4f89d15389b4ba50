//! The bounds, and which of them were broken.

use std::time::Duration;

use hubbub_audits::outcome::{Outcome, row};

use crate::trial::{Trial, Usage};

/// How long a person may take to come in.
const ENTRY: Duration = Duration::from_secs(1);
/// How much longer than in quiet a message may take, at the 99th percentile.
const TIMES_QUIET: u32 = 5;
/// Nobody notices less, and the scheduler of a busy machine takes as much.
const UNNOTICED: Duration = Duration::from_millis(20);
/// How long a health check may take.
const HEALTH: Duration = Duration::from_secs(1);
/// The least age at which a cursor may be lost. An address may publish 500 messages a second, of 8 KiB at most: then the
/// 64 MiB of the log last for 16 s, and half of that has to be left.
const WINDOW: Duration = Duration::from_secs(8);
/// What the memory may grow by at most.
const PEAK_BYTES: u64 = 512 * MIB;
/// What the memory may have grown by afterwards: the log in memory, which is 64 MiB and its index, and what the allocator
/// keeps.
const LEFT_BYTES: u64 = 160 * MIB;
/// Descriptors that may be left afterwards.
const LEFT_DESCRIPTORS: usize = 8;
const MIB: u64 = 1024 * 1024;

/// A line for each trial.
pub(crate) fn of(trials: &[Trial]) -> Outcome {
    let head = row([
        &"attack",
        &"came in: p99, last",
        &"delivery p99: quiet, attacked",
        &"health: public, admin",
        &"window",
        &"MiB: before, peak, after",
        &"descriptors: before, after",
        &"attackers",
    ]);
    let table = std::iter::once(head).chain(trials.iter().map(line)).collect();
    Outcome { table, broken: trials.iter().flat_map(broken).collect() }
}

fn line(trial: &Trial) -> Vec<String> {
    let Trial { quiet, attacked, public, admin, window, before, peak_bytes, after, .. } = trial;
    let entered =
        format!("{} of {}, {}", shown(p99(&attacked.entered)), attacked.entered.len(), shown(last(&attacked.entered)));
    row([
        &trial.attack.name(),
        &entered,
        &format!("{}, {}", shown(p99(&quiet.delays)), shown(p99(&attacked.delays))),
        &format!("{}, {}", shown(public.slowest), shown(admin.slowest)),
        &window.map_or_else(|| "whole".to_owned(), shown),
        &format!("{}, {}, {}", before.bytes / MIB, peak_bytes / MIB, after.bytes / MIB),
        &format!("{}, {}", before.descriptors, after.descriptors),
        &trial.attackers,
    ])
}

/// What the trial shows to be wrong.
fn broken(trial: &Trial) -> Vec<String> {
    let (quiet, attacked) = (p99(&trial.quiet.delays), p99(&trial.attacked.delays));
    let entry = last(&trial.attacked.entered);
    let bound = (quiet * TIMES_QUIET).max(UNNOTICED);
    let missing = |account: &crate::crowd::Account| account.due.saturating_sub(account.delays.len());
    let mut wrong = Vec::new();
    let mut check =
        |holds: bool, what: String| wrong.extend((!holds).then(|| format!("{}: {what}", trial.attack.name())));
    check(trial.quiet.wrong.is_empty(), format!("in quiet: {:?}", trial.quiet.wrong.first()));
    check(trial.attacked.due > 0, "nobody said anything".to_owned());
    check(missing(&trial.quiet) == 0, format!("in quiet {} deliveries are missing", missing(&trial.quiet)));
    let all = trial.attacked.wrong.len();
    check(all == 0, format!("{all} times something like {:?}", trial.attacked.wrong.first()));
    check(missing(&trial.attacked) == 0, format!("{} deliveries are missing", missing(&trial.attacked)));
    check(entry <= ENTRY, format!("the last person came in after {}, not within {ENTRY:?}", shown(entry)));
    check(attacked <= bound, format!("delivery p99 is {}, not within {}", shown(attacked), shown(bound)));
    for (name, answers) in [("public", &trial.public), ("admin", &trial.admin)] {
        let (failed, asked, slowest) = (answers.failed, answers.asked, answers.slowest);
        check(failed == 0, format!("{failed} of {asked} {name} health checks failed"));
        check(slowest <= HEALTH, format!("the slowest {name} health check took {}", shown(slowest)));
    }
    let window = trial.window.unwrap_or(Duration::MAX);
    check(window >= WINDOW, format!("a cursor of {window:?} was lost, and {WINDOW:?} is promised"));
    let Usage { bytes, descriptors, connections } = trial.after;
    let (growth, left) =
        (trial.peak_bytes.saturating_sub(trial.before.bytes), bytes.saturating_sub(trial.before.bytes));
    check(growth <= PEAK_BYTES, format!("memory grew by {} MiB", growth / MIB));
    check(left <= LEFT_BYTES, format!("{} MiB more than before are left", left / MIB));
    let leaked = descriptors.saturating_sub(trial.before.descriptors);
    check(leaked <= LEFT_DESCRIPTORS, format!("{leaked} descriptors are left"));
    check(connections < 1.0, format!("{connections} connections are left"));
    check(
        trial.exit.success() && trial.stuck == 0,
        format!("it ended with {}, {} times with tasks left", trial.exit, trial.stuck),
    );
    wrong
}

/// The 99th percentile; zero of nothing.
fn p99(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * 99 / 100).or(sorted.last()).copied().unwrap_or_default()
}

fn last(times: &[Duration]) -> Duration {
    times.iter().max().copied().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
