//! `/proc/pressure/*`: how long tasks were held up for want of CPU, memory, I/O or by interrupts.
//!
//! Documentation/accounting/psi.rst: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, then the same for `full`;
//! `total` is in microseconds.

use crate::problem::{Parsed, Problems, excerpt};

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pressure {
    /// Microseconds in which at least one task was held up.
    pub some_us: Option<u64>,
    /// Microseconds in which all tasks that could run were held up.
    pub full_us: Option<u64>,
}

/// Reads both lines, as far as they are there.
pub fn parse(text: &str) -> Parsed<Pressure> {
    let mut problems = Problems::default();
    let mut pressure = Pressure::default();
    for (index, line) in text.lines().enumerate() {
        let total = || -> Option<u64> { line.split_once("total=")?.1.trim().parse().ok() };
        match (line.split_ascii_whitespace().next(), total()) {
            (None, _) => {}
            (Some("some"), Some(total)) => pressure.some_us = Some(total),
            (Some("full"), Some(total)) => pressure.full_us = Some(total),
            _ => problems.at_index(
                index,
                format!("expected some or full with a total, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_and_older_kernels_have_no_full_for_cpus() {
        let parsed = parse("some avg10=0.10 avg60=0.00 avg300=0.00 total=123\n");
        assert_eq!((parsed.value.some_us, parsed.value.full_us), (Some(123), None));
        assert_eq!(parse("some avg10=0.10\nodd total=1\n").problems.len(), 2);
    }
}
