//! The figures of one measurement.

use std::time::Duration;

use super::{
    super::{
        options::Load,
        run::Outcome,
        subject::Subject,
        tally::{Counts, Times},
        usage::Cpu,
    },
    numbers::float,
};

/// One line of the report.
pub(super) struct Figure {
    /// Its name for programs.
    pub(super) key: &'static str,
    /// Its name for people.
    pub(super) label: &'static str,
    /// Absent where there is none.
    pub(super) value: Option<f64>,
}

/// All figures, in the order of the report; each outcome has the same.
pub(super) fn figures(outcome: &Outcome, load: &Load) -> Vec<Figure> {
    [connecting(outcome), throughput(outcome, load), latency(outcome), cpu(outcome, load), promises(outcome)]
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

fn throughput(outcome: &Outcome, load: &Load) -> Vec<Row> {
    let seconds = outcome.window.length.as_secs_f64();
    let publishes = outcome.turn.subject != Subject::Raw;
    let accepted = float(outcome.window.accepted) / seconds;
    let delivered = float(outcome.window.delivered) / seconds;
    let due = load.rate * f64::from(load.clients) / f64::from(load.rooms);
    vec![
        ("accepted_per_s", "publishes accepted a second", publishes.then_some(accepted)),
        ("delivered_per_s", "frames delivered a second", Some(delivered)),
        ("delivered_percent", "  of those due, %", (due > 0.0).then_some(delivered / due * 100.0)),
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

fn cpu(outcome: &Outcome, load: &Load) -> Vec<Row> {
    let window = &outcome.window;
    let each = |time: Duration| (window.delivered > 0).then(|| time.as_secs_f64() * 1e6 / float(window.delivered));
    let share = |cpu: Cpu| (cpu.user + cpu.system).as_secs_f64() / window.length.as_secs_f64() * 100.0;
    let whole = |cpu: Cpu| each(cpu.user + cpu.system);
    let (servers, relays, generator) = (window.servers, window.relays, window.generator);
    let clients_of_a_thread = f64::from(load.clients) / f64::from(load.rooms) / f64::from(load.threads);
    let reading = whole(generator).map(|micros| micros * clients_of_a_thread / 1000.0);
    vec![
        ("server_us_per_delivery", "CPU of the servers for a delivered frame, µs", servers.and_then(whole)),
        ("server_user_us_per_delivery", "  user", servers.and_then(|cpu| each(cpu.user))),
        ("server_system_us_per_delivery", "  system", servers.and_then(|cpu| each(cpu.system))),
        ("server_percent", "  in all, % of a processor", servers.map(share)),
        ("redis_us_per_delivery", "CPU of Redis for a delivered frame, µs", relays.and_then(whole)),
        ("redis_percent", "  in all, % of a processor", relays.map(share)),
        ("generator_us_per_delivery", "CPU of the generator for a delivered frame, µs", whole(generator)),
        ("generator_percent", "  in all, % of a processor", Some(share(generator))),
        ("reading_ms", "  for a message at all of its clients, within the latency, ms", reading),
    ]
}

fn promises(outcome: &Outcome) -> Vec<Row> {
    let counts = outcome.tally.counts;
    let hubbub = outcome.turn.subject == Subject::Hubbub;
    vec![
        ("lost", "frames lost", Some(float(outcome.lost))),
        ("late", "frames still to come when the waiting ended", Some(float(outcome.late))),
        ("duplicated", "frames delivered twice", Some(float(counts.duplicated))),
        ("reordered", "frames out of order", Some(float(counts.reordered))),
        ("stray", "frames of another room", Some(float(counts.stray))),
        ("refused", "publishes refused", hubbub.then_some(float(counts.refused))),
        ("unanswered", "publishes without an answer", hubbub.then_some(float(counts.unanswered()))),
        ("cut", "connections cut", Some(float(counts.cut))),
        ("resumed", "connections made again", Some(float(counts.resumed))),
        ("reset", "  of them without what was missed", Some(float(counts.reset))),
        ("replayed", "frames that came as a replay", Some(float(counts.replayed))),
    ]
}
