//! `/proc/net/stat/nf_conntrack`: a heading, then a line of hexadecimal counters for each CPU.
//!
//! `entries` is the same on every line; the rest is counted by each CPU and summed here. The columns differ by kernel
//! version, so the heading decides (`ct_cpu_seq_show` of the kernel).

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// Counters summed over all CPUs, by the heading of their column.
pub fn parse(text: &str) -> Parsed<BTreeMap<String, u64>> {
    let mut problems = Problems::default();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let names: Vec<&str> = lines
        .next()
        .map(|(_, heading)| heading.split_ascii_whitespace().collect())
        .unwrap_or_default();
    if names.is_empty() {
        problems.overall("no heading found");
    }
    for (index, line) in lines {
        let numbers: Option<Vec<u64>> = line
            .split_ascii_whitespace()
            .map(|word| u64::from_str_radix(word, 16).ok())
            .collect();
        match numbers.filter(|numbers| numbers.len() == names.len()) {
            Some(numbers) => {
                for (name, number) in names.iter().zip(numbers) {
                    let sum = sums.entry((*name).to_owned()).or_default();
                    *sum = sum.saturating_add(number);
                }
            }
            None => problems.at_index(
                index,
                format!(
                    "expected {} hexadecimal numbers, found \"{}\"",
                    names.len(),
                    excerpt(line)
                ),
            ),
        }
    }
    problems.with(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_summed_under_their_heading() {
        let parsed = parse("entries  found drop\n00000010 0000000a 1\n00000010 00000001 2\n1 2\n");
        assert_eq!(parsed.value.get("found"), Some(&11));
        assert_eq!(parsed.value.get("drop"), Some(&3));
        assert_eq!(parsed.problems[0].line, Some(4));
    }
}
