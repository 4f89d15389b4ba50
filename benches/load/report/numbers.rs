//! Numbers as they are shown, and their medians.

/// A count as it is shown and divided.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
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

pub(crate) fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Lowest and highest.
pub(crate) fn range((lowest, _, highest): (f64, f64, f64)) -> String {
    format!("{lowest:.2} to {highest:.2}")
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
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
