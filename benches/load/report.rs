//! The report of a measurement, for people and for programs.

pub(crate) mod comparison;
pub(crate) mod figures;
pub(crate) mod numbers;

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use self::{
    figures::{Figure, figures},
    numbers::{median, range, shown, spread},
};
use super::{options::Load, rounds::Rounds, run::Outcome, subject::Subject, tally::Counts, usage::machine_load};

/// The figures that mean the same for all subjects begin so.
const COMPARED: &str = "server_";

/// The figures of all rounds.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    load: &'a Load,
    rounds: &'a Rounds,
}

/// The result.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) fn show(text: &str) {
    print!("{text}");
}

impl<'a> Report<'a> {
    /// A report on these rounds.
    pub(crate) const fn new(load: &'a Load, rounds: &'a Rounds) -> Self {
        Self { load, rounds }
    }

    /// The medians: of Hubbub and the bare server side by side, then of all in one table if there are peers.
    pub(crate) fn table(&self) -> String {
        let mut out =
            format!("\n{}\nprofile {}, load of the machine {}\n\n", self.describe(), profile(), machine_load());
        out.push_str(&self.details());
        if self.rounds.outcomes.iter().any(|outcome| outcome.turn.subject.is_compared()) {
            out.push_str(&comparison::table(self));
        }
        for (subject, why) in &self.rounds.failures {
            let _infallible = writeln!(out, "{} was not measured, or not to the end: {why}", subject.name());
        }
        for outcome in &self.rounds.outcomes {
            for (what, often) in &outcome.tally.troubles {
                let _infallible = writeln!(out, "{}, {often} times: {what}", outcome.turn.subject.name());
            }
        }
        out
    }

    /// Everything, as JSON.
    pub(crate) fn json(&self) -> String {
        let rounds: Vec<_> = self.rounds.outcomes.iter().map(|outcome| self.round(outcome)).collect();
        let failures: Vec<_> = self.rounds.failures.iter().map(|(subject, why)| json!([subject.name(), why])).collect();
        let report = json!({ "load": self.load, "profile": profile(), "rounds": rounds, "failures": failures });
        format!("{report:#}\n")
    }

    /// Whether Hubbub was measured, answered every publish, and delivered everything once and in order.
    ///
    /// # Errors
    ///
    /// It did not, or there is nothing to compare it with.
    pub(crate) fn promises_kept(&self) -> Result<()> {
        if let Some((subject, why)) = self.rounds.stopped_by() {
            bail!("{} failed: {why}", subject.name());
        }
        for outcome in self.rounds.outcomes.iter().filter(|outcome| outcome.turn.subject == Subject::Hubbub) {
            let Counts { duplicated, reordered, stray, .. } = outcome.tally.counts;
            let (round, lost, unanswered) = (outcome.turn.round, outcome.lost, outcome.tally.counts.unanswered());
            ensure!(
                lost + duplicated + reordered + stray + unanswered == 0,
                "in round {round} hubbub lost {lost} frames; {duplicated} came twice, {reordered} out of order, {stray} \
                 astray; {unanswered} publishes were not answered"
            );
        }
        Ok(())
    }

    fn details(&self) -> String {
        let subjects = [Subject::Hubbub, Subject::Raw].into_iter().filter(|subject| self.has(*subject));
        let subjects: Vec<_> = subjects.collect();
        let heads = subjects.iter().map(|subject| format!("{:>14}", subject.name())).collect::<Vec<_>>().concat();
        let ratio = if subjects.len() > 1 { "         ratio (lowest to highest)" } else { "" };
        let mut out = format!("{:<62}{heads}{ratio}\n", "");
        let first = self.rounds.outcomes.first();
        for Figure { key, label, .. } in first.map(|outcome| figures(outcome, self.load)).unwrap_or_default() {
            let _infallible = write!(out, "{label:<62}");
            for subject in &subjects {
                let value = median(&self.values(*subject, key));
                let _infallible = write!(out, "{:>14}", shown(value));
            }
            let ratios = self.ratios(key, Subject::Hubbub, Subject::Raw);
            if let Some(ratio) = spread(&ratios).filter(|_| key.starts_with(COMPARED)) {
                let _infallible = write!(out, "{:>14} ({})", format!("{:.2}", ratio.1), range(ratio));
            }
            out.push('\n');
        }
        out
    }

    fn describe(&self) -> String {
        let Load { clients, rooms, senders, rate, size, seconds, instances, redis, .. } = self.load;
        let relay = if *redis { "Redis" } else { "memory" };
        format!(
            "{clients} clients in {rooms} rooms, {senders} of them sending {rate} messages of {size} bytes a second, \
             for {seconds} s; instances: {instances}, through {relay}"
        )
    }

    fn round(&self, outcome: &Outcome) -> Value {
        let figures = figures(outcome, self.load);
        let figures: BTreeMap<_, _> = figures.into_iter().map(|figure| (figure.key, figure.value)).collect();
        json!({
            "subject": outcome.turn.subject.name(),
            "round": outcome.turn.round,
            "machine_load": outcome.machine_load,
            "figures": figures,
            "counts": outcome.tally.counts,
            "troubles": outcome.tally.troubles,
        })
    }

    fn has(&self, subject: Subject) -> bool {
        self.rounds.outcomes.iter().any(|outcome| outcome.turn.subject == subject)
    }

    /// A figure in every round of a subject that has it.
    fn by_round(&self, subject: Subject, key: &str) -> BTreeMap<u32, f64> {
        let outcomes = self.rounds.outcomes.iter().filter(|outcome| outcome.turn.subject == subject);
        let value = |outcome| figures(outcome, self.load).into_iter().find(|figure| figure.key == key)?.value;
        outcomes.filter_map(|outcome| Some((outcome.turn.round, value(outcome)?))).collect()
    }

    fn values(&self, subject: Subject, key: &str) -> Vec<f64> {
        self.by_round(subject, key).into_values().collect()
    }

    /// One subject's over another's, round by round.
    fn ratios(&self, key: &str, subject: Subject, over: Subject) -> Vec<f64> {
        let under = self.by_round(over, key);
        let rounds = self.by_round(subject, key).into_iter();
        rounds.filter_map(|(round, value)| Some(value / under.get(&round).filter(|under| **under > 0.0)?)).collect()
    }
}

const fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
