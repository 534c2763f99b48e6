//! `/proc/net/softnet_stat`: a line of hexadecimal counters for each CPU that is online.
//!
//! `softnet_seq_show` of the kernel. Columns came with time: 9 (collisions) always, 10 `received_rps` with 2.6.36, 11
//! `flow_limit_count` with 3.11, 12 the length of the backlog and 13 the number of the CPU with 5.10.

use crate::problem::{Parsed, Problems, excerpt};

/// The counters of one CPU.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Softnet {
    /// The CPU; before Linux 5.10 the place of the line.
    pub cpu: u32,
    /// Packets handled.
    pub processed: u32,
    /// Packets dropped for want of room in the backlog.
    pub dropped: u32,
    /// How often work was left when time or budget was used up.
    pub times_squeezed: u32,
    /// Collisions of CPUs that wanted to send on one device.
    pub collisions: Option<u32>,
    /// How often another CPU asked this one to handle packets.
    pub received_rps: Option<u32>,
    /// How often the flow limit was reached.
    pub flow_limit: Option<u32>,
    /// Packets that wait now.
    pub backlog: Option<u32>,
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<Vec<Softnet>> {
    let mut problems = Problems::default();
    let mut found = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match parse_line(index, line) {
            Some(softnet) => found.push(softnet),
            None => problems.at_index(
                index,
                format!("expected hexadecimal counters, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(found)
}

fn parse_line(index: usize, line: &str) -> Option<Softnet> {
    let columns: Vec<u32> = line
        .split_ascii_whitespace()
        .map(|word| u32::from_str_radix(word, 16).ok())
        .collect::<Option<_>>()?;
    let at = |place: usize| columns.get(place).copied();
    Some(Softnet {
        cpu: at(12).or_else(|| u32::try_from(index).ok())?,
        processed: at(0)?,
        dropped: at(1)?,
        times_squeezed: at(2)?,
        collisions: at(8),
        received_rps: at(9),
        flow_limit: at(10),
        backlog: at(11),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_named_by_its_column_and_before_that_by_its_line() {
        let new = "0000000a 1 2 0 0 0 0 0 3 4 5 6 00000007\n";
        let parsed = parse(new);
        assert_eq!((parsed.value[0].cpu, parsed.value[0].processed), (7, 10));
        assert_eq!(parsed.value[0].backlog, Some(6));
        let old = "a 1 2 0 0 0 0 0 3\nb 1 2 0 0 0 0 0 3\nzz\n1 2\n";
        let parsed = parse(old);
        assert_eq!((parsed.value[1].cpu, parsed.value[1].received_rps), (1, None));
        assert_eq!(parsed.problems.len(), 2);
    }
}
