//! What is shown while the measurement runs.

/// Prints a line.
#[expect(clippy::print_stderr, reason = "a measurement takes minutes")]
pub(crate) fn print(line: &str) {
    eprintln!("{line}");
}
