//! What the values of several options have in common.

use std::path::PathBuf;

use hubbub_lifecycle::{Secret, SecretSource};

/// Where a secret comes from: an option with the value, or one with a file.
pub(super) fn source(value: Option<&Secret>, file: Option<&PathBuf>) -> Option<SecretSource> {
    let file = file.cloned().map(SecretSource::File);
    file.or_else(|| value.cloned().map(SecretSource::Value))
}

/// A whole number above 0.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

/// Events per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}
