//! The report of the audit.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use hubbub_testbed::ledger::Breach;
use serde_json::{Value, json};

use crate::{kept::Comparison, trial::Outcome};

/// Cases that are shown of each way to break the promise, in a trial.
const SHOWN: usize = 5;

const HEAD: [&str; 19] = [
    "fault",
    "acked",
    "deliveries",
    "again",
    "unnamed",
    "lost",
    "twice",
    "order",
    "place",
    "stray",
    "resets",
    "ended",
    "failed",
    "gap s",
    "recovery s",
    "worst s",
    "rows",
    "missing",
    "in gaps",
];

/// The table, and then what is wrong.
pub(crate) fn print(outcomes: &[Outcome]) {
    println!("\n{}", line(&HEAD.map(str::to_owned)));
    for outcome in outcomes {
        println!("{}{}", line(&row(outcome)), if outcome.is_clean() { "" } else { "  <--" });
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_clean()) {
        explain(outcome);
    }
}

fn line(cells: &[String; 19]) -> String {
    let [name, rest @ ..] = cells;
    rest.iter().fold(format!("{name:<18}"), |line, cell| format!("{line}{cell:>11}"))
}

fn row(outcome: &Outcome) -> [String; 19] {
    let verdict = &outcome.verdict;
    let count = |breach| verdict.count(breach).to_string();
    let (median, worst) = recovery(outcome);
    let of_database = |count: fn(&Comparison) -> usize| {
        outcome.comparison.as_ref().map_or_else(|| "-".to_owned(), |comparison| count(comparison).to_string())
    };
    [
        outcome.name.clone(),
        verdict.acked.to_string(),
        verdict.deliveries.to_string(),
        verdict.returned.to_string(),
        verdict.unnamed.to_string(),
        count(Breach::Lost),
        count(Breach::Duplicated),
        count(Breach::Reordered),
        count(Breach::Displaced),
        count(Breach::Misdelivered),
        count(Breach::Reset),
        count(Breach::Ended),
        format!("{}+{}", verdict.failed, verdict.unsettled),
        seconds(Some(verdict.longest_gap)),
        seconds(median),
        seconds(worst),
        of_database(|comparison| comparison.messages),
        of_database(|comparison| comparison.missing),
        of_database(|comparison| comparison.in_gaps),
    ]
}

/// Median and maximum; None if a receiver never recovered.
fn recovery(outcome: &Outcome) -> (Option<Duration>, Option<Duration>) {
    let never = Duration::MAX;
    let mut all: Vec<_> = outcome.recoveries.iter().map(|recovery| recovery.unwrap_or(never)).collect();
    all.sort_unstable();
    let known = |recovery: Option<&Duration>| recovery.copied().filter(|recovery| *recovery < never);
    (known(all.get(all.len() / 2)), known(all.last()))
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.2}", time.as_secs_f64()))
}

fn explain(outcome: &Outcome) {
    println!("\n{}: repeat with `make audit ARGS=\"{}\"`", outcome.name, outcome.repeat);
    if let Some(logs) = &outcome.logs {
        println!("  logs in {}", logs.display());
    }
    for trouble in &outcome.troubles {
        println!("  {trouble}");
    }
    let mut shown: BTreeMap<Breach, usize> = BTreeMap::new();
    for (case, around) in &outcome.around {
        let shown = shown.entry(case.breach).or_default();
        *shown += 1;
        if *shown > SHOWN {
            continue;
        }
        let mark = case.mark.map_or_else(String::new, |mark| format!(" message {mark}"));
        println!(
            "  {:?}: receiver {}{mark} seq {} at {:.3} s, {}",
            case.breach,
            case.receiver,
            case.seq,
            case.at.as_secs_f64(),
            case.circumstances
        );
        for line in around {
            println!("      {line}");
        }
    }
    for (breach, more) in shown.into_iter().filter(|(_, shown)| *shown > SHOWN) {
        println!("  {breach:?}: {} more cases that were kept", more - SHOWN);
    }
}

/// The same for programs.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn write(path: &Path, seed: u64, outcomes: &[Outcome]) -> Result<()> {
    let trials: Vec<Value> = outcomes.iter().map(trial).collect();
    let report = json!({"seed": seed, "trials": trials});
    fs::write(path, format!("{report:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}

fn trial(outcome: &Outcome) -> Value {
    let verdict = &outcome.verdict;
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let (median, worst) = recovery(outcome);
    json!({
        "fault": outcome.name,
        "clean": outcome.is_clean(),
        "acked": verdict.acked,
        "deliveries": verdict.deliveries,
        "returned": verdict.returned,
        "unnamed": verdict.unnamed,
        "lost": verdict.count(Breach::Lost),
        "duplicated": verdict.count(Breach::Duplicated),
        "reordered": verdict.count(Breach::Reordered),
        "displaced": verdict.count(Breach::Displaced),
        "misdelivered": verdict.count(Breach::Misdelivered),
        "resets": verdict.count(Breach::Reset),
        "ended": verdict.count(Breach::Ended),
        "failed": verdict.failed,
        "unsettled": verdict.unsettled,
        "longest_gap_s": verdict.longest_gap.as_secs_f64(),
        "recovery_median_s": seconds(median),
        "recovery_max_s": seconds(worst),
        "rows": outcome.comparison.as_ref().map(|comparison| comparison.messages),
        "missing_rows": outcome.comparison.as_ref().map(|comparison| comparison.missing),
        "rows_in_gaps": outcome.comparison.as_ref().map(|comparison| comparison.in_gaps),
        "troubles": outcome.troubles,
        "repeat": outcome.repeat,
    })
}
