//! All subjects in one table, a line each.

use std::fmt::Write;

use super::{
    super::subject::Subject,
    Report,
    numbers::{median, range, shown, spread},
};

/// What the ratios are of.
const COST: &str = "server_us_per_delivery";

/// Key, head, and what to make of the rounds.
type Column = (&'static str, &'static str, fn(&[f64]) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("accepted_per_s", "publishes/s", median),
    ("delivered_per_s", "delivered/s", median),
    ("delivered_percent", "% of due", median),
    (COST, "CPU µs", median),
    ("redis_us_per_delivery", "Redis µs", median),
    ("latency_p50_ms", "p50 ms", median),
    ("latency_p99_ms", "p99 ms", median),
    ("resident_kib_per_connection", "KiB/conn", median),
    ("lost", "lost", total),
    ("late", "late", total),
    ("cut", "cut", total),
];

/// The medians, the losses of all rounds, and the ratios of the CPU for a delivery.
pub(super) fn table(report: &Report<'_>) -> String {
    let heads = COLUMNS.map(|(_, head, _)| format!("{head:>12}")).concat();
    let mut out = format!("\n{:<13}{heads}{:>23}{:>23}\n", "", "CPU over raw", "Hubbub's CPU over it");
    for subject in Subject::ALL.into_iter().filter(|subject| report.has(*subject)) {
        let _infallible = write!(out, "{:<13}", subject.name());
        for (key, _, of) in COLUMNS {
            let _infallible = write!(out, "{:>12}", shown(of(&report.values(subject, key))));
        }
        for (subject, over) in [(subject, Subject::Raw), (Subject::Hubbub, subject)] {
            let ratio = spread(&report.ratios(COST, subject, over)).filter(|_| subject != over);
            let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2} ({})", ratio.1, range(ratio)));
            let _infallible = write!(out, "{ratio:>23}");
        }
        out.push('\n');
    }
    out.push_str("Medians; lost, late and cut are of all rounds. CPU is the servers' for a delivered frame.\n\n");
    out
}

fn total(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum())
}
