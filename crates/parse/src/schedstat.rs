//! `/proc/schedstat`: nine numbers of the scheduler for each CPU.
//!
//! Documentation/scheduler/sched-stats.rst; the last three are the time tasks ran and waited, in nanoseconds, and the
//! number of timeslices. Lines of scheduling domains are passed over.

use crate::problem::{Parsed, Problems, excerpt};

/// What is kept of one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Schedstat {
    /// The CPU.
    pub cpu: u32,
    /// Nanoseconds that tasks ran.
    pub running_ns: u64,
    /// Nanoseconds that tasks waited to run.
    pub waiting_ns: u64,
    /// Timeslices run.
    pub timeslices: u64,
}

/// Reads the lines of CPUs.
pub fn parse(text: &str) -> Parsed<Vec<Schedstat>> {
    let mut problems = Problems::default();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(rest) = line.strip_prefix("cpu") else {
            continue;
        };
        match parse_line(rest) {
            Some(schedstat) => found.push(schedstat),
            None => problems.at_index(
                index,
                format!("expected a CPU and nine numbers, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(found)
}

fn parse_line(rest: &str) -> Option<Schedstat> {
    let mut words = rest.split_ascii_whitespace();
    let cpu = words.next()?.parse().ok()?;
    let mut number = |skip: usize| words.nth(skip)?.parse::<u64>().ok();
    Some(Schedstat {
        cpu,
        running_ns: number(6)?,
        waiting_ns: number(0)?,
        timeslices: number(0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_three_numbers_of_each_cpu_are_read() {
        let parsed = parse("version 15\ncpu0 1 2 3 4 5 6 70 80 90\ndomain0 03 1 2\ncpu1 1 2 3\n");
        let cpu = parsed.value[0];
        assert_eq!((cpu.running_ns, cpu.waiting_ns, cpu.timeslices), (70, 80, 90));
        assert_eq!(parsed.problems[0].line, Some(4));
    }
}
