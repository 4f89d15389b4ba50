//! What a measurement says, for people and for programs.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Value, json};

use super::{
    options::Load,
    run::Outcome,
    tally::{Counts, Times},
    target::Subject,
    usage::{Cpu, machine_load},
};

/// The figures that mean the same for both subjects begin so.
const COMPARED: &str = "server_";

/// One line of the report.
struct Figure {
    key: &'static str,
    label: &'static str,
    value: Option<f64>,
}

/// The figures of all rounds.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    load: &'a Load,
    outcomes: &'a [Outcome],
}

/// A line on the way.
#[expect(clippy::print_stderr, reason = "whoever started it wants to see it run")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// The result.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) fn show(text: &str) {
    print!("{text}");
}

impl<'a> Report<'a> {
    /// A report on these rounds.
    pub(crate) const fn new(load: &'a Load, outcomes: &'a [Outcome]) -> Self {
        Self { load, outcomes }
    }

    /// The medians, side by side.
    pub(crate) fn table(&self) -> String {
        let subjects = self.subjects();
        let mut out =
            format!("\n{}\nprofile {}, load of the machine {}\n\n", self.describe(), profile(), machine_load());
        let heads: String = subjects.iter().fold(String::new(), |mut heads, subject| {
            let _infallible = write!(heads, "{:>14}", subject.name());
            heads
        });
        let ratio = if subjects.len() > 1 { "         ratio (lowest to highest)" } else { "" };
        let _infallible = writeln!(out, "{:<58}{heads}{ratio}", "");
        for (index, figure) in self.outcomes.first().map(figures).unwrap_or_default().iter().enumerate() {
            let _infallible = write!(out, "{:<58}", figure.label);
            for subject in &subjects {
                let value = median(&self.values(*subject, index));
                let _infallible = write!(out, "{:>14}", value.map_or_else(|| "-".to_owned(), number));
            }
            let ratios = self.ratios(index);
            if let Some((lowest, median, highest)) = spread(&ratios).filter(|_| figure.key.starts_with(COMPARED)) {
                let _infallible = write!(out, "{median:>14.2} ({lowest:.2} to {highest:.2})");
            }
            out.push('\n');
        }
        for (what, often) in self.outcomes.iter().flat_map(|outcome| &outcome.tally.troubles) {
            let _infallible = writeln!(out, "{often} times: {what}");
        }
        out
    }

    /// Everything, as JSON.
    pub(crate) fn json(&self) -> String {
        let rounds: Vec<_> = self.outcomes.iter().map(round).collect();
        let report = json!({ "load": self.load, "profile": profile(), "rounds": rounds });
        format!("{report:#}\n")
    }

    fn describe(&self) -> String {
        let Load { clients, rooms, senders, rate, size, seconds, instances, redis, .. } = self.load;
        let relay = if *redis { "Redis" } else { "memory" };
        format!(
            "{clients} clients in {rooms} rooms, {senders} of them sending {rate} messages of {size} bytes a second, \
             for {seconds} s; instances: {instances}, through {relay}"
        )
    }

    fn subjects(&self) -> Vec<Subject> {
        let all = [Subject::Hubbub, Subject::Raw];
        all.into_iter().filter(|subject| self.outcomes.iter().any(|outcome| outcome.subject == *subject)).collect()
    }

    /// A figure in every round of a subject.
    fn values(&self, subject: Subject, index: usize) -> Vec<f64> {
        let outcomes = self.outcomes.iter().filter(|outcome| outcome.subject == subject);
        outcomes.filter_map(|outcome| figures(outcome).get(index)?.value).collect()
    }

    /// The server's over the bare one's, round by round.
    fn ratios(&self, index: usize) -> Vec<f64> {
        let pairs = self.values(Subject::Hubbub, index).into_iter().zip(self.values(Subject::Raw, index));
        pairs.filter(|(_, bare)| *bare > 0.0).map(|(served, bare)| served / bare).collect()
    }
}

fn round(outcome: &Outcome) -> Value {
    let figures: BTreeMap<_, _> = figures(outcome).into_iter().map(|figure| (figure.key, figure.value)).collect();
    json!({
        "subject": outcome.subject.name(),
        "machine_load": outcome.machine_load,
        "figures": figures,
        "counts": outcome.tally.counts,
        "troubles": outcome.tally.troubles,
    })
}

fn figures(outcome: &Outcome) -> Vec<Figure> {
    [connecting(outcome), throughput(outcome), latency(outcome), cpu(outcome), promises(outcome)]
        .into_iter()
        .flatten()
        .map(|(key, label, value)| Figure { key, label, value })
        .collect()
}

type Row = (&'static str, &'static str, Option<f64>);

fn connecting(outcome: &Outcome) -> Vec<Row> {
    let Counts { connected, turned_away, .. } = outcome.tally.counts;
    let connected = float(connected);
    let handshake = &outcome.tally.handshake;
    let kib = outcome.resident_kib.map(|(empty, full)| float(full.saturating_sub(empty)) / connected);
    vec![
        ("clients_connected", "clients connected", Some(connected)),
        ("clients_turned_away", "clients that could not connect", Some(float(turned_away))),
        ("connects_per_s", "connections a second, to the welcome", Some(connected / outcome.assembled.as_secs_f64())),
        ("handshake_p50_ms", "one handshake, ms: 50 %", handshake.quantile_ms(0.5)),
        ("handshake_p99_ms", "  99 %", handshake.quantile_ms(0.99)),
        ("resident_kib_per_connection", "resident memory of a connection, idle, KiB", kib),
        ("resident_kib", "  of the servers in all, KiB", outcome.resident_kib.map(|(_, full)| float(full))),
    ]
}

fn throughput(outcome: &Outcome) -> Vec<Row> {
    let seconds = outcome.window.length.as_secs_f64();
    let hubbub = outcome.subject == Subject::Hubbub;
    let accepted = float(outcome.window.accepted) / seconds;
    vec![
        ("accepted_per_s", "publishes accepted a second", hubbub.then_some(accepted)),
        ("delivered_per_s", "frames delivered a second", Some(float(outcome.window.delivered) / seconds)),
    ]
}

fn latency(outcome: &Outcome) -> Vec<Row> {
    let mut all = Times::default();
    outcome.tally.latency.iter().for_each(|second| all.merge(second));
    let lag = &outcome.tally.lag;
    vec![
        ("latency_p50_ms", "from due to delivered, ms: 50 %", all.quantile_ms(0.5)),
        ("latency_p90_ms", "  90 %", all.quantile_ms(0.9)),
        ("latency_p99_ms", "  99 %", all.quantile_ms(0.99)),
        ("latency_p999_ms", "  99.9 %", all.quantile_ms(0.999)),
        ("latency_max_ms", "  longest", all.quantile_ms(1.0)),
        ("lag_p50_ms", "from due to sent (the generator's own part), ms: 50 %", lag.quantile_ms(0.5)),
        ("lag_p99_ms", "  99 %", lag.quantile_ms(0.99)),
        ("lag_max_ms", "  longest", lag.quantile_ms(1.0)),
    ]
}

fn cpu(outcome: &Outcome) -> Vec<Row> {
    let window = &outcome.window;
    let each = |time: Duration| (window.delivered > 0).then(|| time.as_secs_f64() * 1e6 / float(window.delivered));
    let share = |cpu: Cpu| (cpu.user + cpu.system).as_secs_f64() / window.length.as_secs_f64() * 100.0;
    let whole = |cpu: Cpu| each(cpu.user + cpu.system);
    let (servers, relays, generator) = (window.servers, window.relays, window.generator);
    vec![
        ("server_us_per_delivery", "CPU of the servers for a delivered frame, µs", servers.and_then(whole)),
        ("server_user_us_per_delivery", "  user", servers.and_then(|cpu| each(cpu.user))),
        ("server_system_us_per_delivery", "  system", servers.and_then(|cpu| each(cpu.system))),
        ("server_percent", "  in all, % of a processor", servers.map(share)),
        ("redis_us_per_delivery", "CPU of Redis for a delivered frame, µs", relays.and_then(whole)),
        ("redis_percent", "  in all, % of a processor", relays.map(share)),
        ("generator_us_per_delivery", "CPU of the generator for a delivered frame, µs", whole(generator)),
        ("generator_percent", "  in all, % of a processor", Some(share(generator))),
    ]
}

fn promises(outcome: &Outcome) -> Vec<Row> {
    let counts = outcome.tally.counts;
    let answered = counts.accepted + counts.refused;
    let hubbub = outcome.subject == Subject::Hubbub;
    vec![
        ("lost", "frames lost", Some(float(outcome.lost))),
        ("duplicated", "frames delivered twice", Some(float(counts.duplicated))),
        ("reordered", "frames out of order", Some(float(counts.reordered))),
        ("stray", "frames of another room", Some(float(counts.stray))),
        ("refused", "publishes refused", hubbub.then_some(float(counts.refused))),
        ("unanswered", "publishes without an answer", hubbub.then_some(float(counts.sent.saturating_sub(answered)))),
        ("cut", "connections cut", Some(float(counts.cut))),
        ("resumed", "connections made again", Some(float(counts.resumed))),
        ("reset", "  of them without what was missed", Some(float(counts.reset))),
        ("replayed", "frames that came as a replay", Some(float(counts.replayed))),
    ]
}

const fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// A count as it is shown and divided.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// At least three digits of what is not whole.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        whole if value.fract() == 0.0 || whole >= 1000.0 => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn median(values: &[f64]) -> Option<f64> {
    spread(values).map(|(_, median, _)| median)
}

/// Lowest, median and highest.
pub(crate) fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle.checked_sub(1)?)? } else { upper };
    Some((*sorted.first()?, f64::midpoint(lower, upper), *sorted.last()?))
}
