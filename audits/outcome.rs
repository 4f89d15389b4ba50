//! What an audit found.

use std::time::Duration;

/// Broken promises that are shown one by one; of more, only the number.
const SHOWN: usize = 20;

/// A table to read, and the promises that were broken.
#[derive(Debug)]
pub struct Outcome {
    /// Rows of cells; the first is the head.
    pub table: Vec<Vec<String>>,
    /// One line each.
    pub broken: Vec<String>,
}

impl Outcome {
    /// Whether no promise was broken.
    pub fn is_kept(&self) -> bool {
        self.broken.is_empty()
    }

    /// Prints it in Markdown.
    #[expect(clippy::print_stdout, reason = "the outcome is what was asked for")]
    pub fn print(&self) {
        let columns = self.table.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| self.table.iter().filter_map(|row| row.get(column)).map(String::len).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
        for (n, row) in self.table.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} "));
            println!("|{}|", cells.collect::<Vec<_>>().join("|"));
            if n == 0 {
                let rules = widths.iter().map(|width| "-".repeat(width + 2));
                println!("|{}|", rules.collect::<Vec<_>>().join("|"));
            }
        }
        println!("\nbroken promises: {}", self.broken.len());
        self.broken.iter().take(SHOWN).for_each(|line| println!("* {line}"));
    }
}

/// Cells of a row.
pub fn row<const N: usize>(cells: [&dyn ToString; N]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

/// Whole milliseconds of the median and of the longest.
///
/// # Panics
///
/// There are no times.
#[expect(clippy::indexing_slicing, reason = "there are times")]
pub fn median_and_max(times: &[Duration]) -> (String, String) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let shown = |time: Duration| format!("{} ms", time.as_millis());
    (shown(sorted[sorted.len() / 2]), shown(sorted[sorted.len() - 1]))
}
