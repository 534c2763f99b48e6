//! `/proc/loadavg`: `0.20 0.18 0.12 1/80 11206`.
//!
//! proc(5): three load averages, runnable/existing scheduling entities, and the most recently made process id.

use crate::problem::{Parsed, Problems, excerpt};

/// One reading of `/proc/loadavg`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LoadAverage {
    /// Tasks running or waiting for the CPU or disk, averaged over 1 minute.
    pub one: f64,
    /// The same over 5 minutes.
    pub five: f64,
    /// The same over 15 minutes.
    pub fifteen: f64,
    /// Scheduling entities that can run now.
    pub runnable: Option<u64>,
    /// Scheduling entities that exist.
    pub total: Option<u64>,
    /// The most recently made process id.
    pub last_pid: Option<u64>,
}

/// Reads the line; absent when the three averages are not there.
pub fn parse(text: &str) -> Parsed<Option<LoadAverage>> {
    let mut problems = Problems::default();
    let mut words = text.split_ascii_whitespace();
    let mut average = || {
        words
            .next()
            .and_then(|word| word.parse::<f64>().ok())
            .filter(|value| value.is_finite())
    };
    let (Some(one), Some(five), Some(fifteen)) = (average(), average(), average()) else {
        problems.at_index(
            0,
            format!("expected three load averages, found \"{}\"", excerpt(text)),
        );
        return problems.with(None);
    };
    let entities = words.next().and_then(|word| word.split_once('/'));
    let (runnable, total) = match entities {
        Some((runnable, total)) => (runnable.parse().ok(), total.parse().ok()),
        None => (None, None),
    };
    let last_pid = words.next().and_then(|word| word.parse().ok());
    if runnable.is_none() || total.is_none() || last_pid.is_none() {
        problems.at_index(
            0,
            format!(
                "expected runnable/total and a process id, found \"{}\"",
                excerpt(text)
            ),
        );
    }
    problems.with(Some(LoadAverage {
        one,
        five,
        fifteen,
        runnable,
        total,
        last_pid,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_line_is_read() {
        let parsed = parse("2.42 0.75 0.26 1/277 1261\n");
        let load = parsed.value.unwrap();
        assert_eq!((load.one, load.five, load.fifteen), (2.42, 0.75, 0.26));
        assert_eq!(
            (load.runnable, load.total, load.last_pid),
            (Some(1), Some(277), Some(1261))
        );
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn a_cut_line_keeps_its_averages_and_says_so() {
        let parsed = parse("2.42 0.75 0.26 1/2");
        assert_eq!(parsed.value.unwrap().fifteen, 0.26);
        assert_eq!(parsed.problems.len(), 1);
    }

    #[test]
    fn nonsense_is_a_problem_and_no_load() {
        for text in ["", "a b c", "nan inf 1", "1.0 2.0"] {
            let parsed = parse(text);
            assert_eq!(parsed.value, None, "{text}");
            assert_eq!(parsed.problems.len(), 1, "{text}");
        }
    }
}
