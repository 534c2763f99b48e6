//! `/proc/net/arp`: a neighbour a line below a heading; the last column is the interface.

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// Entries of each interface.
pub fn parse(text: &str) -> Parsed<BTreeMap<String, u64>> {
    let mut problems = Problems::default();
    let mut entries: BTreeMap<String, u64> = BTreeMap::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .skip(1)
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [_, _, _, _, _, device] => *entries.entry(device.to_owned()).or_default() += 1,
            _ => problems.at_index(
                index,
                format!("expected six columns, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_counted_by_interface() {
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
                    192.0.2.1 0x1 0x2 aa:bb:cc:dd:ee:ff * eth0\n192.0.2.2 0x1 0x2 aa:bb:cc:dd:ee:ff * eth0\ncut 0x1\n";
        let parsed = parse(text);
        assert_eq!(parsed.value.get("eth0"), Some(&2));
        assert_eq!(parsed.problems[0].line, Some(4));
    }
}
